import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimer, systemClock, watchForSteps } from '../adapters/clock.ts';
import { sha256 } from '../adapters/disk/digest.ts';
import { refreshFile } from '../adapters/disk/durableFile.ts';
import { readHardwareId } from '../adapters/hardware.ts';
import { connectTimeoutMs, natsClient } from '../adapters/nats/client.ts';
import * as pki from '../adapters/pki.ts';
import { postProvision } from '../adapters/provisioningApi.ts';
import type { Config } from '../config/schema.ts';
import type { CertificateReader } from '../services/onboarding/acceptCertificate.ts';
import type { DeliverPorts } from '../services/onboarding/exportFiles.ts';
import type { RegisterPorts } from '../services/onboarding/register.ts';
import type { RequestCertificatePorts } from '../services/onboarding/requestCertificate.ts';
import type { KeyReader } from '../services/onboarding/resume.ts';
import type { DeviceState, Progress, StateDirectory } from '../services/state/deviceState.ts';
import type { HardwareId } from '../services/state/hardwareBinding.ts';
import type { Moment } from './moments.ts';

/** All that the daemon touches outside itself: the adapters, or simulated ones. */
export interface Platform {
  readonly directory: StateDirectory;
  readonly exportFile: DeliverPorts['exportFile'];
  readonly sha256: DeliverPorts['sha256'];
  readonly pki: CertificateReader & KeyReader & RequestCertificatePorts['pki'];
  /** @returns a new private key, PKCS#8 PEM */
  readonly newKey: () => Promise<string>;
  readonly post: RequestCertificatePorts['post'];
  readonly connect: RegisterPorts['connect'];
  /** How long `connect` may take, milliseconds */
  readonly connectTimeoutMs: number;
  /** Milliseconds since 1970 */
  readonly now: () => number;
  /** The machine that this is */
  readonly machine: () => HardwareId;
  /** Milliseconds that no clock step changes */
  readonly monotonic: () => number;
  /** Uniform in [0, 1) */
  readonly random: () => number;
  /** A random UUID */
  readonly randomUUID: () => string;
  readonly setTimer: RegisterPorts['setTimer'];
  /** Calls back when the wall clock jumps. @returns a function that ends the watch */
  readonly watchForSteps: (since: number, onStep: () => void) => () => void;
  /** Tells the service manager. `isRegistered`: and everything was delivered */
  readonly announce?: (progress: Omit<Progress, 'history'>, isRegistered: boolean) => void;
  /** Shows the status to users without rights on the state directory. `state`: null if it cannot be read */
  readonly publish?: (state: DeviceState | null, progress: Progress) => void;
  /** Tells whoever is to act on it; what was published before says the same. Never waits, never throws. */
  readonly onMoment?: (moment: Moment) => void;
  /** The state machine's timers; the system's where absent */
  readonly timers?: {
    setTimeout(call: (...args: unknown[]) => void, ms: number): unknown;
    clearTimeout(id: unknown): void;
  };
}

/** The adapters, wired for one device. */
export function createPlatform({
  config,
  version,
  state,
}: {
  readonly config: Config;
  readonly version: string;
  readonly state: { readonly directory: StateDirectory };
}): Platform {
  const ca = config.provisioning.caFile === null ? null : readFileSync(config.provisioning.caFile, 'utf8');
  const server = {
    url: config.provisioning.url,
    ca,
    tokenFile: config.provisioning.tokenFile,
    userAgent: `onboardd/${version}`,
  };
  return {
    ...systemClock,
    machine: readHardwareId,
    directory: state.directory,
    exportFile: refreshFile,
    sha256,
    pki,
    newKey: () => pki.generateKey(config.identity.keyType),
    post: (json, signal) => postProvision(server, json, signal),
    connect: natsClient(natsOptions(config)),
    connectTimeoutMs: connectTimeoutMs(config.nats.url),
    randomUUID,
    setTimer,
    watchForSteps,
  };
}

function natsOptions({ nats, registration }: Config): Parameters<typeof natsClient>[0] {
  return {
    tls: nats.tls,
    resultStream: registration.resultStream,
    random: systemClock.random,
    needsInbox: registration.api === 'request',
  };
}
