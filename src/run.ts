import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createActor, fromCallback, fromPromise } from 'xstate';
import { later, systemClock, watchForSteps } from './adapters/clock.ts';
import { openStateDirectory, refreshFile } from './adapters/files.ts';
import { postProvision } from './adapters/http.ts';
import { connectTimeoutMs, natsClient } from './adapters/jetstream.ts';
import type { Log } from './adapters/logger.ts';
import * as pki from './adapters/pki.ts';
import type { Config } from './config.ts';
import { catalogue } from './errors.ts';
import { type OnboardingEvent, onboarding, type StateName, type Told } from './machines/onboarding.ts';
import { deliverResult, prepareIdentity } from './services/deliver.ts';
import {
  currentState,
  isoTime,
  type Progress,
  type StateDirectory,
  updateState,
} from './services/deviceState.ts';
import { generateKey } from './services/generateKey.ts';
import { register } from './services/register.ts';
import { requestCertificate } from './services/requestCertificate.ts';
import { resume } from './services/resume.ts';

export interface RunOptions {
  readonly config: Config;
  readonly hostname: string;
  readonly version: string;
  /** When this program was built, milliseconds since 1970 */
  readonly builtAt: number;
  readonly once: boolean;
}

/** What is known of the device while it runs, for every line of the log. */
export interface Known {
  deviceId: string | null;
  state: StateName;
}

/**
 * Wires the adapters into the services and these into the machine, and runs it.
 *
 * @param known kept up to date for the log
 * @returns how the machine ended: `registered` or `failed` with `once`, else the signal that stopped it
 */
export function run(
  options: RunOptions,
  known: Known,
  log: Log,
): Promise<'registered' | 'failed' | NodeJS.Signals> {
  const directory = openStateDirectory(options.config.stateDir);
  const machine = provide(options, directory, log);
  const actor = createActor(machine);
  const started = systemClock.monotonic();
  return new Promise((resolve, reject) => {
    const end = (how: 'registered' | 'failed' | NodeJS.Signals) => {
      for (const signal of signals) process.removeListener(signal, end);
      actor.stop();
      resolve(how);
    };
    const signals = ['SIGTERM', 'SIGINT'] as const;
    for (const signal of signals) process.once(signal, end);
    let since = systemClock.now();
    let entered = started;
    let saved = '';
    actor.on('step.failed', (told) => logFailure(log, told));
    actor.subscribe({
      error: reject,
      next: ({ value, context }) => {
        const [state, step] = typeof value === 'string' ? [value] : (Object.entries(value)[0] ?? []);
        const to = state as StateName;
        const now = systemClock.monotonic();
        known.deviceId ??= deviceIdOf(directory);
        const from = known.state;
        const durationMs = now - entered;
        if (from !== to) {
          known.state = to;
          since = systemClock.now();
          entered = now;
        }
        const { attempt, failure, nextRetryAt } = context;
        const summary = JSON.stringify([to, since, attempt, nextRetryAt, failure]);
        if (known.deviceId !== null && summary !== saved) {
          saved = summary;
          const lastError = failure && {
            code: failure.code,
            message: failure.message,
            at: isoTime(failure.at),
          };
          const retryAt = nextRetryAt === null ? null : isoTime(nextRetryAt);
          saveProgress(directory, log, {
            state: to,
            since: isoTime(since),
            attempt,
            nextRetryAt: retryAt,
            lastError,
          });
        }
        if (from !== to) {
          log('info', 'state.changed', `${from} → ${to}`, { from, to, durationMs });
          if (to === 'registered') logRegistered(log, directory, now - started);
          if (to === 'failed' && failure) {
            const { code, message } = failure;
            log('error', 'device.failed', `${code}: ${message}`, { code, remedy: catalogue[code].remedy });
          }
        }
        if (options.once && to === 'failed') end('failed');
        if (options.once && to === 'registered' && step !== 'attempting') end('registered');
      },
    });
    actor.start();
  });
}

function provide(options: RunOptions, directory: StateDirectory, log: Log) {
  const { config, builtAt, hostname } = options;
  const { now, random } = systemClock;
  const ca = config.provisioning.caFile === null ? null : readFileSync(config.provisioning.caFile, 'utf8');
  const server = {
    url: config.provisioning.url,
    ca,
    tokenFile: config.provisioning.tokenFile,
    userAgent: `onboardd/${options.version}`,
  };
  const connect = natsClient({
    tls: config.nats.tls,
    resultStream: config.registration.resultStream,
    random,
    needsInbox: config.registration.api === 'request',
  });
  const deliverOptions = {
    exports: config.exports,
    natsUrl: config.nats.url,
    commonName: config.identity.commonName,
    builtAt,
  };
  const deliverPorts = { directory, pki, now, exportFile: refreshFile };
  const newId = () => randomUUID();
  const machine = onboarding(
    {
      retry: config.retry,
      provisioningTimeoutMs: config.provisioning.timeoutMs,
      registrationTimeoutMs: config.registration.timeoutMs,
      connectTimeoutMs: connectTimeoutMs(config.nats.url),
    },
    { now, random },
  );
  type Actors = NonNullable<Parameters<typeof machine.provide>[0]['actors']>;
  return machine.provide({
    actors: {
      resume: fromPromise(async () =>
        resume(
          {
            directory,
            pki,
            now,
            newId,
            onDamage: (error) =>
              log('error', 'step.failed', error.message, {
                step: 'idle',
                code: error.code,
                class: error.class,
                attempt: 1,
                retryInMs: 0,
                cause: error.message,
              }),
          },
          config.identity.deviceId,
        ),
      ),
      generateKey: fromPromise(({ signal }) =>
        generateKey({ directory, newKey: () => pki.generateKey(config.identity.keyType) }, signal),
      ),
      requestCertificate: fromPromise(({ signal }) =>
        requestCertificate(
          { directory, pki, now, random, post: (json, abort) => postProvision(server, json, abort) },
          {
            swarmId: config.provisioning.swarmId,
            commonName: config.identity.commonName,
            natsUrl: config.nats.url,
            renewalAt: config.renewal.at,
            builtAt,
          },
          signal,
        ),
      ),
      prepareIdentity: fromPromise(async () => prepareIdentity(deliverPorts, deliverOptions)),
      register: fromCallback<OnboardingEvent>(({ sendBack }) =>
        register(
          { directory, connect, now, newId, later },
          {
            api: config.registration.api,
            natsUrl: config.nats.url,
            device: deviceFields(config, currentState(directory).deviceId, hostname),
            leafOf: (chain) => pki.parseCertificates(chain)[0]?.pem ?? chain,
          },
          sendBack,
        ),
      ),
      deliverResult: fromPromise(async () => deliverResult(deliverPorts, deliverOptions)),
      watchClock: fromCallback<OnboardingEvent, { since: number }>(({ sendBack, input }) =>
        watchForSteps(input.since, () => sendBack({ type: 'CLOCK_STEPPED' })),
      ),
    } satisfies Required<Actors>,
  });
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

function logFailure(log: Log, told: Told): void {
  const { step, code, attempt, retryInMs, cause } = told;
  const next =
    retryInMs === null ? 'no further try by itself' : `next try in ${(retryInMs / 1000).toFixed(1)} s`;
  const { type: _, ...fields } = told;
  log('warn', 'step.failed', `${step}, attempt ${attempt}: ${code}: ${cause}; ${next}`, fields);
}

function logRegistered(log: Log, directory: StateDirectory, durationMs: number): void {
  const alias = aliasOf(directory);
  log('info', 'device.registered', `registered${alias === null ? '' : ` as ${alias}`}`, {
    alias,
    durationMs,
  });
}

function aliasOf(directory: StateDirectory): string | null {
  try {
    return currentState(directory).registration?.alias ?? null;
  } catch {
    return null;
  }
}

function deviceIdOf(directory: StateDirectory): string | null {
  try {
    return currentState(directory).deviceId;
  } catch {
    return null;
  }
}

/** Bookkeeping for `status`: where it cannot be written, the device goes on. */
function saveProgress(directory: StateDirectory, log: Log, progress: Progress): void {
  try {
    updateState(directory, () => ({ progress }));
  } catch (error) {
    log('debug', 'progress.unsaved', String(error));
  }
}
