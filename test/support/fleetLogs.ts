import { catalogue, type ErrorCode } from '../../src/errors/catalogue.ts';
import type { StateName } from '../../src/events.ts';
import { chanceOf } from './chance.ts';

/** How the log of one made-up device ends. */
type Fate = 'registered' | 'failed' | 'csr' | 'registering';

const way: readonly StateName[] = ['idle', 'keygen', 'csr', 'provisioned', 'registering', 'registered'];
const medians: Readonly<Record<string, number>> = {
  idle: 20,
  keygen: 180,
  csr: 900,
  provisioned: 15,
  registering: 1400,
};
const begin = Date.UTC(2026, 10, 20, 6);

/**
 * Lines as `devices` of a fleet write them, the devices one after the other. The same seed makes the same lines.
 *
 * @param failures how many failed attempts a device has in the mean
 */
export function* fleetLines(devices: number, seed: number, failures = 2): Generator<string> {
  const random = chanceOf(seed, 'logs');
  for (let number = 0; number < devices; number++) {
    const deviceId = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join('');
    const draw = random();
    const fate: Fate =
      draw < 0.93 ? 'registered' : draw < 0.95 ? 'failed' : draw < 0.97 ? 'csr' : 'registering';
    yield* deviceLines(deviceId, fate, begin + random() * 3_600_000, random, failures);
  }
}

function* deviceLines(
  deviceId: string,
  fate: Fate,
  start: number,
  random: () => number,
  failures: number,
): Generator<string> {
  let at = start;
  let state = 'idle' as StateName;
  const line = (level: string, event: string, fields: Record<string, unknown>) =>
    JSON.stringify({
      message: `${event} of a made-up device`,
      timestamp: new Date(at).toISOString(),
      level,
      event,
      version: '0.1.0',
      runId: '0'.repeat(32),
      deviceId,
      state,
      ...fields,
    });
  const fail = (code: ErrorCode, attempt: number, retryInMs: number) =>
    line('warn', 'step.failed', {
      step: state,
      code,
      class: catalogue[code].class,
      attempt,
      retryInMs,
      reason: null,
      cause: `the server 10.0.0.1:4222: ${code.toLowerCase()}`,
    });
  const pass = function* (to: StateName, durationMs: number, waited: number) {
    at += durationMs;
    const from = state;
    state = to;
    yield line('info', 'state.changed', { from, to, durationMs: Math.round(durationMs + waited) });
  };
  yield line('info', 'daemon.started', { pid: 1 });
  for (const next of way.slice(1)) {
    let waited = 0;
    const spent = (medians[state] ?? 10) * Math.exp((random() + random() + random() - 1.5) * 1.6);
    if (state === 'csr' || state === 'registering') {
      const times = Math.floor(-Math.log(1 - random()) * failures * 0.5);
      for (let attempt = 1; attempt <= times; attempt++) {
        const wait = Math.min(300_000, 1000 * 2 ** (attempt - 1)) * random();
        at += 40;
        yield fail(
          state === 'csr' ? 'PROVISIONING_UNREACHABLE' : 'NATS_UNREACHABLE',
          attempt,
          Math.round(wait),
        );
        at += wait;
        waited += 40 + wait;
      }
    }
    if (state === fate) return;
    if (fate === 'failed' && state === 'registering') {
      yield fail('REGISTRATION_REJECTED', 1, 900_000);
      yield* pass('failed', spent, waited);
      yield line('error', 'device.failed', {
        code: 'REGISTRATION_REJECTED',
        remedy: catalogue.REGISTRATION_REJECTED.remedy,
      });
      return;
    }
    yield* pass(next, spent, waited);
  }
  yield line('info', 'device.registered', {
    alias: `Alpha${deviceId.slice(0, 6)}`,
    durationMs: Math.round(at - start),
  });
}
