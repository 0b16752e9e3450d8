import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { heartbeat } from '../../support/attackers/heartbeat.ts';
import { at, failure, fleetWith, launch, state } from '../../support/harness.ts';

const success = '{"status":"success","payload":{"alias":"a"},"alias":"a"';

test.each([
  ['an alias of 3.5 MB', JSON.stringify({ status: 'success', alias: 'x'.repeat(3_500_000) })],
  [
    'a field nested 100,000 levels deep',
    `${success},"configuration":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  ],
  ['objects nested 100,000 levels deep', `${success},"x":${'{"x":'.repeat(100_000)}1${'}'.repeat(100_001)}`],
])('a result with %s, from a stream, registers no device and fills no log', async (_, raw) => {
  const fleet = await fleetWith({ nats: { maxPayload: 4 * 1024 * 1024 } });
  fleet.manager.behave = () => ({ raw });
  const { env, stopped } = heartbeat(fleet.dir);
  const device = at(fleet, { registration: { timeoutMs: 1000 } });
  const program = launch(device, [], env);
  await program.until(failure('REGISTRATION_ANSWER_INVALID'));
  // The next attempt finds it in the stream.
  await program.until((line) => line.event === 'step.failed' && Number(line.attempt) >= 2);
  await stopped(program);
  expect(program.lines.some(failure('STATE_CORRUPT'))).toBe(false);
  expect(state(device).registration).toBeNull();
  expect(existsSync(join(device.stateDir, 'registration.json'))).toBe(false);
});
