import { expect, test } from 'vitest';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import { at, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';

test('a certificate for another key is refused and not kept', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({ certificate: { otherKey: true } });
  const device = at(fleet);
  const program = launch(device, ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some(failure('CERTIFICATE_KEY_MISMATCH'))).toBe(true);
  expect(state(device).provisioned).toBeNull();
});

test.each([
  ['expired', { notBefore: -7200_000, notAfter: -3600_000 }, 'CERTIFICATE_EXPIRED'],
  ['not yet valid', { notBefore: 3600_000, notAfter: 7200_000 }, 'CERTIFICATE_NOT_YET_VALID'],
])('a certificate that is %s is the certificate’s fault while the clocks agree', async (_, dates, code) => {
  const fleet = await fleetWith();
  const date = (ms: number) => new Date(Date.now() + ms);
  fleet.provisioning.behave = () => ({
    certificate: { notBefore: date(dates.notBefore), notAfter: date(dates.notAfter) },
  });
  const program = launch(at(fleet), ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some(failure(code))).toBe(true);
});

test('a certificate of another device or for servers is refused', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = () => ({
    certificate: { commonName: '/Finland~Solita/fleet/other/registration_agent' },
  });
  const program = launch(at(fleet), ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.some(failure('CERTIFICATE_WRONG_DEVICE'))).toBe(true);
});

test('a captive portal, a redirect, a hang-up and an overload are waited out, and Retry-After is honoured', async () => {
  const fleet = await fleetWith();
  const answers: ProvisioningBehaviour[] = [
    { body: '<html>log in</html>', headers: { 'content-type': 'text/html' } },
    { redirect: 'http://127.0.0.1:1/' },
    'reset',
    { status: 503, headers: { 'retry-after': '2' } },
  ];
  fleet.provisioning.behave = (_, n) => answers[n - 1];
  const program = await onboard(at(fleet));
  const codes = program.lines.filter((line) => line.event === 'step.failed').map((line) => line.code);
  expect(codes).toEqual([
    'PROVISIONING_ANSWER_INVALID',
    'PROVISIONING_ANSWER_INVALID',
    'PROVISIONING_UNREACHABLE',
    'PROVISIONING_REJECTED',
  ]);
  const [before, after] = fleet.provisioning.requests.slice(-2).map(({ at }) => Number(at));
  expect((after ?? 0) - (before ?? 0)).toBeGreaterThanOrEqual(2000);
});

test('an HTTP refusal rests in failed and is tried again', async () => {
  const fleet = await fleetWith();
  fleet.provisioning.behave = (_, n) => (n === 1 ? { status: 403 } : undefined);
  const program = launch(at(fleet));
  expect(await program.until((line) => line.event === 'device.failed')).toMatchObject({
    code: 'PROVISIONING_REJECTED',
  });
  await program.until((line) => line.event === 'device.registered');
});
