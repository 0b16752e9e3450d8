import { fromCallback, fromPromise } from 'xstate';
import type { Log } from '../adapters/logger.ts';
import { type AgentSettings, noAgent } from '../config/agentSettings.ts';
import type { Config } from '../config/schema.ts';
import type { Issued, OnboardingEvent, Renewed } from '../machines/contracts.ts';
import { onboarding } from '../machines/onboarding.ts';
import { generateKey } from '../services/onboarding/generateKey.ts';
import { register } from '../services/onboarding/register.ts';
import {
  renewCertificate,
  requestCertificate,
  tryCertificate,
} from '../services/onboarding/requestCertificate.ts';
import { resume } from '../services/onboarding/resume.ts';
import { adopter } from './adopter.ts';
import { warnedOnce, withDevice } from './describedDevice.ts';
import { exporter } from './exporter.ts';
import type { Platform } from './platform.ts';

export interface Settings {
  readonly config: Config;
  readonly hostname: string;
  /** SHA-256 of the CAs that the answer may bring, hex (`fleetCaPins`); null: any */
  readonly fleetCa: readonly string[] | null;
  /** The Go agent that ran on this device; none where absent */
  readonly agent?: AgentSettings;
  /** When this program was built, milliseconds since 1970 */
  readonly builtAt: number;
}

/** The machine with the services as its actors, and the world as theirs. */
export function wire(world: Platform, settings: Settings, log: Log) {
  const { config, fleetCa, builtAt, agent = noAgent } = settings;
  const certificateOptions = {
    swarmId: config.provisioning.swarmId,
    commonName: config.identity.commonName,
    natsUrl: config.nats.url,
    renewalAt: config.renewal.at,
    authenticated: config.provisioning.url.startsWith('https:'),
    fleetCa,
    builtAt,
    isAllowed: agent.requestsCertificates,
  };
  const onQuarantined = logDamage(log);
  const adopt = adopter(world, settings, onQuarantined, log);
  const exports = exporter(world, settings, log);
  const warn = warnedOnce(log);
  const machine = onboarding(
    {
      retry: config.retry,
      provisioningTimeoutMs: config.provisioning.timeoutMs,
      registrationTimeoutMs: config.registration.timeoutMs,
      connectTimeoutMs: world.connectTimeoutMs,
    },
    world,
  );
  type Actors = NonNullable<Parameters<typeof machine.provide>[0]['actors']>;
  return machine.provide({
    actors: {
      resume: fromPromise(async ({ signal }) => {
        await adopt(signal);
        const resumed = resume({ ...world, onQuarantined }, config.identity.deviceId, fleetCa);
        exports.retry();
        return resumed;
      }),
      generateKey: fromPromise(({ signal }) => generateKey(world, signal)),
      requestCertificate: fromPromise<Issued, { again: boolean }>(({ input, signal }) =>
        requestCertificate(world, certificateOptions, input, signal),
      ),
      tryCertificate: fromPromise<Renewed, Issued>(({ input, signal }) =>
        tryCertificate(world, input, signal),
      ),
      renewCertificate: fromPromise(({ signal }) => renewCertificate(world, certificateOptions, signal)),
      prepareIdentity: fromPromise(async () => exports.prepare()),
      register: fromCallback<OnboardingEvent, { deviceId: string }>(({ sendBack, input }) => {
        const options = { api: config.registration.api, natsUrl: config.nats.url, builtAt };
        return withDevice(world, settings, input.deviceId, warn, (device) =>
          register(world, { ...options, device }, sendBack),
        );
      }),
      deliverResult: fromPromise(async () => exports.deliver()),
      watchClock: fromCallback<OnboardingEvent, { since: number }>(({ sendBack, input }) =>
        world.watchForSteps(input.since, () => sendBack({ type: 'CLOCK_STEPPED' })),
      ),
    } satisfies Required<Actors>,
  });
}

function logDamage(log: Log): Parameters<typeof resume>[0]['onQuarantined'] {
  return ({ code, reason, class: errorClass, message }) =>
    log('warn', 'step.failed', message, {
      step: 'idle',
      code,
      reason,
      class: errorClass,
      attempt: 1,
      retryInMs: 0,
      cause: message,
    });
}
