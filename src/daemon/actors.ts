import { resolve } from 'node:path';
import { fromCallback, fromPromise } from 'xstate';
import type { Config } from '../config/schema.ts';
import type { Issued, OnboardingEvent, Renewed } from '../machines/contracts.ts';
import { onboarding } from '../machines/onboarding.ts';
import { deliverResult, prepareIdentity } from '../services/onboarding/exportFiles.ts';
import { generateKey } from '../services/onboarding/generateKey.ts';
import { announcedBy, register } from '../services/onboarding/register.ts';
import {
  renewCertificate,
  requestCertificate,
  tryCertificate,
} from '../services/onboarding/requestCertificate.ts';
import { type ResumePorts, resume } from '../services/onboarding/resume.ts';
import type { Platform } from './platform.ts';

export interface Settings {
  readonly config: Config;
  readonly hostname: string;
  /** SHA-256 of the CAs that the answer may bring, hex (`fleetCaPins`); null: any */
  readonly fleetCa: readonly string[] | null;
  /** When this program was built, milliseconds since 1970 */
  readonly builtAt: number;
}

/**
 * The machine with the services as its actors, and the platform as their ports.
 *
 * @param reports see `ResumePorts`
 */
export function wire(
  platform: Platform,
  settings: Settings,
  reports: Pick<ResumePorts, 'onQuarantined' | 'onLeft'>,
) {
  const { config, hostname, fleetCa, builtAt } = settings;
  const { certificateOptions, deliverOptions } = optionsOf(settings);
  const machine = onboarding(
    {
      retry: config.retry,
      provisioningTimeoutMs: config.provisioning.timeoutMs,
      registrationTimeoutMs: config.registration.timeoutMs,
      connectTimeoutMs: platform.connectTimeoutMs,
    },
    platform,
  );
  const announcement = config.registration.onChange
    ? (deviceId: string) => announcedBy(deviceFields(config, deviceId, hostname))
    : null;
  type Actors = NonNullable<Parameters<typeof machine.provide>[0]['actors']>;
  return machine.provide({
    actors: {
      resume: fromPromise(async () =>
        resume({ ...platform, ...reports }, config.identity.deviceId, fleetCa, announcement),
      ),
      generateKey: fromPromise(({ signal }) => generateKey(platform, signal)),
      requestCertificate: fromPromise<Issued, { again: boolean }>(({ input, signal }) =>
        requestCertificate(platform, certificateOptions, input, signal),
      ),
      tryCertificate: fromPromise<Renewed, Issued>(({ input, signal }) =>
        tryCertificate(platform, input, signal),
      ),
      renewCertificate: fromPromise(({ signal }) => renewCertificate(platform, certificateOptions, signal)),
      prepareIdentity: fromPromise(async () => prepareIdentity(platform, deliverOptions)),
      register: fromCallback<OnboardingEvent, { deviceId: string }>(({ sendBack, input }) =>
        register(
          platform,
          {
            api: config.registration.api,
            natsUrl: config.nats.url,
            builtAt,
            device: deviceFields(config, input.deviceId, hostname),
          },
          sendBack,
        ),
      ),
      deliverResult: fromPromise(async () => deliverResult(platform, deliverOptions)),
      watchClock: fromCallback<OnboardingEvent, { since: number }>(({ sendBack, input }) =>
        platform.watchForSteps(input.since, () => sendBack({ type: 'CLOCK_STEPPED' })),
      ),
    } satisfies Required<Actors>,
  });
}

function optionsOf({ config, fleetCa, builtAt }: Settings) {
  const certificateOptions = {
    swarmId: config.provisioning.swarmId,
    commonName: config.identity.commonName,
    natsUrl: config.nats.url,
    renewalAt: config.renewal.at,
    authenticated: config.provisioning.url.startsWith('https:'),
    fleetCa,
    builtAt,
  };
  const deliverOptions = {
    exports: absolute(config.exports),
    natsUrl: config.nats.url,
    commonName: config.identity.commonName,
    builtAt,
  };
  return { certificateOptions, deliverOptions };
}

/** A path means the same wherever `reset` is run later. */
function absolute(exports: Config['exports']): Config['exports'] {
  return Object.fromEntries(Object.entries(exports).map(([item, path]) => [item, resolve(path)]));
}

/** The body's fields that come from the configuration (protocol.md, part 2). */
function deviceFields({ device }: Config, id: string, hostname: string): Record<string, string | null> {
  const fill = (text: string | null) =>
    text?.replaceAll('{id}', id).replaceAll('{hostname}', hostname) ?? null;
  return {
    deviceType: device.type,
    architecture: device.architecture,
    buildVersion: device.buildVersion,
    currentOwner: device.currentOwner,
    tailscaleID: fill(device.tailscaleID),
    alias: fill(device.alias),
  };
}
