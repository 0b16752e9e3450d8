import { expect, test } from 'vitest';
import type { Log } from '../../src/adapters/logger.ts';
import { type LogContext, startDaemon } from '../../src/daemon/daemon.ts';
import { summarised } from '../../src/daemon/repeatedLines.ts';
import type { ErrorCode } from '../../src/errors/catalogue.ts';
import { OnboardingError } from '../../src/errors/onboardingError.ts';
import type { Reason } from '../../src/errors/reasons.ts';
import { files, newState, type StateDirectory } from '../../src/services/state/deviceState.ts';
import { chanceOf } from '../support/chance.ts';
import { memoryDirectory } from '../support/memoryDirectory.ts';
import { usualConfig } from './life.ts';
import { createLoop } from './loop.ts';
import * as pki from './pki.ts';

const start = Date.UTC(2026, 10, 23);
const day = 86_400_000;
const deviceId = 'device-1';

/** A device with a key and, if it says so, a certificate. */
function disk(hasCertificate: boolean): StateDirectory {
  const issue = (subject: string, key: string, authority: boolean) =>
    pki.certificatePem({
      ...{ subject, key, issuer: 'root', authority, serial: 1 },
      ...{ notBefore: start - day, notAfter: start + 365 * day },
    });
  const provisioned = {
    certificate: issue(`/Finland~Solita/fleet/${deviceId}/registration_agent`, 'own', false),
    caCertificate: issue('root', 'root', true),
    natsUrl: 'tls://nats:4222',
    renewAt: new Date(start + 200 * day).toISOString(),
    opened: true,
  };
  const state = { ...newState(deviceId), provisioned: hasCertificate ? provisioned : null };
  const stored = new Map<string, string>([
    [files.state, JSON.stringify(state)],
    [files.key, pki.keyPem('own')],
  ]);
  return memoryDirectory(stored);
}

/** What a daemon logs on a day on which whatever it asks for fails. */
async function dayOf(next: () => OnboardingError, hasCertificate: boolean) {
  const loop = createLoop(start);
  const chance = chanceOf(1, 'outage');
  const fail = async () => {
    throw next();
  };
  const after = (ms: number, call: () => void) => loop.at(loop.now() + ms, call);
  const lines: { event: string; repeated?: number }[] = [];
  let all = 0;
  const brief = summarised(
    (_, event, __, fields) => lines.push({ event, ...fields }),
    () => loop.now() - start,
  );
  const log: Log = (...line) => {
    all++;
    brief(...line);
  };
  const known: LogContext = { deviceId: null, state: 'idle' };
  const daemon = startDaemon(
    {
      directory: disk(hasCertificate),
      pki,
      sha256: (text) => text,
      stageExport: () => null,
      newKey: async () => pki.keyPem('own'),
      post: fail,
      connect: fail,
      connectTimeoutMs: 35_000,
      machine: () => ({ hardware: 'a', installation: null }),
      now: loop.now,
      monotonic: () => loop.now() - start,
      random: chance,
      randomUUID: () => 'f-f',
      setTimer: after,
      watchForSteps: () => () => undefined,
      timers: {
        setTimeout: (call, ms) => after(ms, call),
        clearTimeout: (cancel) => (cancel as (() => void) | undefined)?.(),
      },
    },
    { config: usualConfig, hostname: '', fleetCa: null, builtAt: 0 },
    known,
    log,
  );
  await loop.run(
    start + day + 1_800_000,
    () => false,
    () => undefined,
  );
  daemon.stop();
  return { lines, all };
}

const failing = (...all: [ErrorCode, Reason | null][]) => {
  let count = 0;
  return () => {
    const [code, reason] = all[count++ % all.length] as (typeof all)[number];
    return new OnboardingError(code, 'it fails', { reason });
  };
};

test.each<[string, () => OnboardingError, boolean]>([
  ['the provisioning server is down', failing(['PROVISIONING_UNREACHABLE', 'refused']), false],
  [
    'the network comes and goes',
    failing(
      ['PROVISIONING_UNREACHABLE', 'dns'],
      ['PROVISIONING_TIMEOUT', 'timeout'],
      ['PROVISIONING_UNREACHABLE', 'no-route'],
    ),
    false,
  ],
  [
    'the provisioning server refuses the device',
    () =>
      new OnboardingError('PROVISIONING_REJECTED', 'HTTP 401', { class: 'permanent', reason: 'http-401' }),
    false,
  ],
  ['NATS is down', failing(['NATS_UNREACHABLE', 'refused']), true],
  ['NATS does not know the device', failing(['NATS_DENIED', 'not-authorized']), true],
  ['NATS refuses the certificate', failing(['NATS_TLS', 'client-certificate-refused']), true],
])('a day on which %s leaves at most 100 lines, and one heartbeat', async (_, next, hasCertificate) => {
  const { lines, all } = await dayOf(next, hasCertificate);
  expect(lines.length).toBeLessThanOrEqual(100);
  const notAfter = hasCertificate ? new Date(start + 365 * day).toISOString() : null;
  expect(lines.filter(({ event }) => event === 'daemon.heartbeat')).toEqual([
    { event: 'daemon.heartbeat', since: expect.stringMatching(/Z$/), notAfter },
  ]);
  const failures = lines.filter(({ event }) => event === 'step.failed');
  expect(failures.length).toBeGreaterThan(20);
  expect(all).toBeGreaterThan(150);
});
