import { expect, test } from 'vitest';
import type { RightAnswer } from '../../../fleet/provisioningBehaviour.ts';
import { heartbeat, peakMemory } from '../../support/attackers/heartbeat.ts';
import { startHostileNats } from '../../support/attackers/hostileNats.ts';
import { type Chance, chanceOf, pick, scaleBetween, wholeBetween } from '../../support/chance.ts';
import { at, fleetWith, launch, state } from '../../support/harness.ts';

const seed = Number(process.env.ATTACK_SEED ?? 1);
const hasty = { initialMs: 1, maxMs: 20, factor: 2, failedAfterMs: 20 };
const attempts = 100;

/** Bytes of the NATS protocol and bytes that are none; none of them is a whole result. */
function noise(chance: Chance, sid: string): Buffer {
  const filler = pick(chance, ['\r\n', '{"status":', '"success"', '[', '/', '\u0000', '\u00ff', ' ', 'MSG ']);
  const body = filler.repeat(scaleBetween(chance, 1, 40_000));
  const size = pick(chance, [body.length, body.length + 1, 0, -1, 4_000_000_000, '9'.repeat(30)]);
  const first = pick(chance, [
    `MSG x ${sid} ${size}\r\n`,
    `MSG ${'x'.repeat(scaleBetween(chance, 1, 100_000))} ${sid} ${size}\r\n`,
    `HMSG x ${sid} ${wholeBetween(chance, 0, 99)} ${size}\r\n`,
    `INFO ${body.slice(0, 1000)}\r\n`,
    `-ERR '${body}'\r\n`,
    '+OK\r\n'.repeat(1000),
    'PING\r\n'.repeat(1000),
    '',
  ]);
  return Buffer.from(`${first}${body}\r\n`, 'latin1');
}

test.each([
  seed,
])("whatever a server of the fleet's own CA sends that is no result, the daemon lives and is not registered (seed %i)", {
  timeout: 120_000,
}, async () => {
  const fleet = await fleetWith({ manager: false });
  const chance = chanceOf(seed, 'NATS');
  const server = await startHostileNats(fleet.ca, (line, send) => {
    const [, sid] = /^SUB device_results\.\S+ (\d+)$/.exec(line) ?? [];
    if (sid !== undefined) send(noise(chance, sid));
  });
  const { env, stopped } = heartbeat(fleet.dir);
  const nats = { url: `tls://127.0.0.1:${server.port}` };
  const device = at(fleet, { nats, retry: hasty, registration: { timeoutMs: 300 } });
  const program = launch(device, [], env);
  await expect.poll(() => server.connections, { timeout: 90_000 }).toBeGreaterThan(attempts);
  expect(state(device).registration).toBeNull();
  expect(peakMemory(program)).toBeLessThan(300_000);
  await stopped(program);
  expect(program.lines.filter(({ code }) => code === 'INTERNAL')).toEqual([]);
});

/** The certificate with a bit of it changed, cut short, or with a piece of it twice. */
function mutated({ certificate }: RightAnswer, chance: Chance): string {
  const [, base64 = ''] = /-----BEGIN CERTIFICATE-----([^-]*)-----END/.exec(certificate) ?? [];
  const der = Buffer.from(base64, 'base64');
  const where = wholeBetween(chance, 0, der.length - 1);
  const pieces = pick(chance, [
    () => {
      der[where] = (der[where] ?? 0) ^ (1 << wholeBetween(chance, 0, 7));
      return [der];
    },
    () => [der.subarray(0, where)],
    () => [der.subarray(0, where + 1), der.subarray(where)],
  ])();
  return `-----BEGIN CERTIFICATE-----\n${Buffer.concat(pieces).toString('base64')}\n-----END CERTIFICATE-----\n`;
}

test.each([seed])('no damaged certificate is kept, and after a hundred of them the right one is (seed %i)', {
  timeout: 120_000,
}, async () => {
  const fleet = await fleetWith();
  const chance = chanceOf(seed, 'certificates');
  fleet.provisioning.behave = (_, n) =>
    n > attempts ? undefined : { answer: (right) => ({ certificate: mutated(right, chance) }) };
  // Every failure has its line: none is left out as a repetition.
  const device = at(fleet, { retry: hasty, log: { level: 'debug', format: 'json' } });
  const program = launch(device);
  await program.until((line) => line.event === 'device.registered');
  const refused = program.lines.filter(({ event, step }) => event === 'step.failed' && step === 'csr');
  expect(refused).toHaveLength(attempts);
  for (const { code } of refused) expect(code).toMatch(/^(CERTIFICATE_|PROVISIONING_ANSWER_INVALID)/);
  expect(fleet.manager.requests).toHaveLength(1);
});
