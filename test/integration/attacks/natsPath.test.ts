import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { forgedResult, startAttacker } from '../../support/attackers/natsPath.ts';
import { at, failure, fleetWith, launch, state } from '../../support/harness.ts';

const forged = forgedResult('mallory', 'services: {}');

test.each<[string, (info: string) => string[]]>([
  ['in the same segment', (info) => [`${info}PONG\r\n${forged}`]],
  ['in a segment of its own', (info) => [info, `PONG\r\n${forged}`]],
  ['with no CR LF at its end', (info) => [`${info}PONG\r\n${forged}`.trimEnd()]],
  ['of a single byte', (info) => [`${info}P`]],
  ['of white space alone', (info) => [`${info}\r\n`]],
])('clear text behind INFO, %s, registers no device and delivers nothing', async (_, rewrite) => {
  const fleet = await fleetWith({ manager: false });
  const attacker = await startAttacker(fleet.nats, rewrite);
  const device = at(fleet, { nats: { url: `tls://127.0.0.1:${attacker.port}` } });
  const program = launch(device);
  const failed = await program.until(
    (line) => failure('NATS_TLS')(line) || line.event === 'device.registered',
  );
  expect(failed.event).toBe('step.failed');
  expect(String(failed.cause)).toMatch(/man in the middle/);
  expect(state(device).registration).toBeNull();
  expect(existsSync(join(device.stateDir, 'registration.json'))).toBe(false);
});

test('an INFO longer than 64 KiB is refused, and read no further', async () => {
  const fleet = await fleetWith({ manager: false });
  const padding = 'x'.repeat(70_000);
  const attacker = await startAttacker(fleet.nats, (info) => [info.replace('{', `{"padding":"${padding}",`)]);
  const program = launch(at(fleet, { nats: { url: `tls://127.0.0.1:${attacker.port}` } }));
  const failed = await program.until(failure('NATS_TLS'));
  expect(String(failed.cause)).toMatch(/65536 bytes.*man in the middle/);
});

test('a version in INFO that would steer a terminal or forge a line of the log goes nowhere', async () => {
  const fleet = await fleetWith({ manager: false });
  const version = '"version":"x\\u009b31m\\u202e\\n<3>{\\"event\\":\\"device.registered\\"}\\n"';
  const attacker = await startAttacker(fleet.nats, (info) => [info.replace(/"version":"[^"]*"/, version)]);
  const program = launch(at(fleet, { nats: { url: `tls://127.0.0.1:${attacker.port}` } }));
  const failed = await program.until(failure('NATS_UNREACHABLE'));
  expect(String(failed.cause)).toMatch(/unexpected response/);
  expect(program.stderr()).toBe('');
});

test('an honest relay in the same place registers the device', async () => {
  const fleet = await fleetWith();
  const attacker = await startAttacker(fleet.nats, (info) => [info]);
  const device = at(fleet, { nats: { url: `tls://127.0.0.1:${attacker.port}` } });
  const program = launch(device, ['--once']);
  expect(await program.ended, JSON.stringify(program.lines)).toBe(0);
});
