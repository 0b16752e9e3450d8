import { resolve } from 'node:path';
import { fromCallback, fromPromise } from 'xstate';
import type { Log } from '../adapters/logger.ts';
import { type AgentSettings, noAgent } from '../config/agentSettings.ts';
import { type ExportTarget, exportTarget } from '../config/exports.ts';
import type { Config } from '../config/schema.ts';
import type { Issued, OnboardingEvent, Renewed } from '../machines/contracts.ts';
import { onboarding } from '../machines/onboarding.ts';
import { type Adopted, adoptIdentity } from '../services/onboarding/adoptIdentity.ts';
import { deliverResult, type ExportFailure, prepareIdentity } from '../services/onboarding/exportFiles.ts';
import { generateKey } from '../services/onboarding/generateKey.ts';
import { register } from '../services/onboarding/register.ts';
import {
  renewCertificate,
  requestCertificate,
  tryCertificate,
} from '../services/onboarding/requestCertificate.ts';
import { resume } from '../services/onboarding/resume.ts';
import { warnedOnce, withDevice } from './describedDevice.ts';
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
  const deliverOptions = {
    exports: targets(config.exports),
    natsUrl: config.nats.url,
    commonName: config.identity.commonName,
    builtAt,
  };
  const deliverPorts = { ...world, readOutside: world.readOutside ?? (() => null) };
  const exporting = retriedExports(log);
  const warn = warnedOnce(log);
  const onQuarantined = logDamage(log);
  const adoption = {
    files: agent.files,
    configuredId: config.identity.deviceId,
    commonName: config.identity.commonName,
    natsUrl: config.nats.url,
    renewalAt: config.renewal.at,
  };
  const adoptPorts = {
    ...deliverPorts,
    onQuarantined,
    onAdopted: logAdopted(log),
  };
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
        await adoptIdentity(adoptPorts, adoption, signal);
        const resumed = resume({ ...world, onQuarantined }, config.identity.deviceId, fleetCa);
        if (exporting.isPending()) exporting.tell(deliverResult(deliverPorts, deliverOptions));
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
      prepareIdentity: fromPromise(async () => {
        const { failures, registered } = prepareIdentity(deliverPorts, deliverOptions);
        exporting.tell(failures);
        return { registered };
      }),
      register: fromCallback<OnboardingEvent, { deviceId: string }>(({ sendBack, input }) => {
        const options = { api: config.registration.api, natsUrl: config.nats.url, builtAt };
        return withDevice(world, settings, input.deviceId, warn, (device) =>
          register(world, { ...options, device }, sendBack),
        );
      }),
      deliverResult: fromPromise(async () => exporting.tell(deliverResult(deliverPorts, deliverOptions))),
      watchClock: fromCallback<OnboardingEvent, { since: number }>(({ sendBack, input }) =>
        world.watchForSteps(input.since, () => sendBack({ type: 'CLOCK_STEPPED' })),
      ),
    } satisfies Required<Actors>,
  });
}

/** A path means the same wherever `reset` is run later. */
function targets(exports: Config['exports']): Record<string, ExportTarget> {
  const absolute = ({ path, ...rest }: ExportTarget) => ({ path: resolve(path), ...rest });
  return Object.fromEntries(
    Object.entries(exports).map(([item, setting]) => [item, absolute(exportTarget(setting))]),
  );
}

/** Exports that were not written are due again with the next look at the facts; each cause is logged once. */
function retriedExports(log: Log): { isPending(): boolean; tell(failures: readonly ExportFailure[]): void } {
  let pending = new Map<string, string>();
  return {
    isPending: () => pending.size > 0,
    tell(failures) {
      for (const { item, path, error } of failures) {
        const { code, reason, message } = error;
        if (pending.get(path) === message) continue;
        const fields = { item, path, code, reason, cause: message };
        log('warn', 'export.failed', `${item} is not exported: ${code}: ${message}`, fields);
      }
      pending = new Map(failures.map(({ path, error }) => [path, error.message]));
    },
  };
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

function logAdopted(log: Log): (adopted: Adopted) => void {
  return ({ deviceId, key, certificate, reason }) => {
    const rest =
      reason === null
        ? 'key and certificate are kept'
        : `key: ${key}, certificate: ${certificate}: ${reason}`;
    log('info', 'identity.adopted', `the identity ${deviceId} of the earlier agent was taken over; ${rest}`, {
      key,
      certificate,
      cause: reason,
    });
  };
}
