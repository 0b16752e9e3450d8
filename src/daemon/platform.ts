import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimer, systemClock, watchForSteps } from '../adapters/clock.ts';
import { refreshFile } from '../adapters/disk/durableFile.ts';
import { readHardwareId } from '../adapters/hardware.ts';
import { connectTimeoutMs, natsClient } from '../adapters/nats/client.ts';
import * as pki from '../adapters/pki.ts';
import { postProvision } from '../adapters/provisioningApi.ts';
import { reportBug } from '../adapters/stackTrace.ts';
import type { Config } from '../config/schema.ts';
import type { CertificateReader } from '../services/onboarding/acceptCertificate.ts';
import type { DeliverPorts } from '../services/onboarding/exportFiles.ts';
import type { RegisterPorts } from '../services/onboarding/register.ts';
import type { RequestCertificatePorts } from '../services/onboarding/requestCertificate.ts';
import type { KeyReader } from '../services/onboarding/resume.ts';
import type { DeviceState, Progress, StateDirectory } from '../services/state/deviceState.ts';
import type { HardwareId } from '../services/state/hardwareBinding.ts';

/** Everything outside the daemon that it uses: the adapters, or a simulation. */
export interface Platform {
  readonly directory: StateDirectory;
  readonly exportFile: DeliverPorts['exportFile'];
  readonly pki: CertificateReader & KeyReader & RequestCertificatePorts['pki'];
  /** @returns a new private key, PKCS#8 PEM */
  readonly newKey: () => Promise<string>;
  readonly post: RequestCertificatePorts['post'];
  readonly connect: RegisterPorts['connect'];
  /** How long `connect` may take, milliseconds */
  readonly connectTimeoutMs: number;
  /** Milliseconds since 1970 */
  readonly now: () => number;
  /** The identity of the hardware */
  readonly machine: () => HardwareId;
  /** Milliseconds of the monotonic clock */
  readonly monotonic: () => number;
  /** Uniform in [0, 1) */
  readonly random: () => number;
  /** A random UUID */
  readonly randomUUID: () => string;
  readonly setTimer: RegisterPorts['setTimer'];
  /** Calls back when the wall clock jumps. @returns a function that ends the watch */
  readonly watchForSteps: (since: number, onStep: () => void) => () => void;
  /** Notifies the service manager. @param isRegistered the device is registered and all files are exported */
  readonly announce?: (progress: Omit<Progress, 'history'>, isRegistered: boolean) => void;
  /** Shows the status to users without rights on the state directory. `state`: null if it cannot be read */
  readonly publish?: (state: DeviceState | null, progress: Progress) => void;
  /** Called with a failure that is a bug, besides the log: it has a stack. */
  readonly onBug?: (error: unknown) => void;
  /** The state machine's timers; the system's by default */
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
    pki,
    newKey: () => pki.generateKey(config.identity.keyType),
    post: (json, signal) => postProvision(server, json, signal),
    connect: natsClient(natsOptions(config)),
    connectTimeoutMs: connectTimeoutMs(config.nats.url),
    randomUUID,
    setTimer,
    watchForSteps,
    onBug: reportBug,
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
