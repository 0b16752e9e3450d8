import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimer, systemClock, watchForSteps } from '../adapters/clock.ts';
import type { discover } from '../adapters/discovery.ts';
import { sha256 } from '../adapters/disk/digest.ts';
import { stageExport } from '../adapters/disk/exportedFile.ts';
import { takeEarlyKey } from '../adapters/earlyKey.ts';
import type { CurrentIdentity } from '../adapters/est.ts';
import { readHardwareId, readMachineId, readSerial } from '../adapters/hardware.ts';
import { keyStoreOf } from '../adapters/keys/keyStore.ts';
import { sealedKeys, systemdSealer } from '../adapters/keys/sealedKeys.ts';
import type { TokenKeys } from '../adapters/keys/tokenKeys.ts';
import type { natsClient } from '../adapters/nats/client.ts';
import { connectTimeoutMs } from '../adapters/nats/connectTimeout.ts';
import * as pki from '../adapters/pki.ts';
import { postProvision } from '../adapters/provisioningApi.ts';
import { inTurn } from '../adapters/provisioningServers.ts';
import { readRegularFile } from '../adapters/regularFile.ts';
import { reportBug } from '../adapters/stackTrace.ts';
import { tailscaleId } from '../adapters/tailscale.ts';
import { provisioningUrls } from '../config/provisioningUrls.ts';
import { type ProxyVariables, parseProxy, proxyFor, showProxy } from '../config/proxy.ts';
import type { Config } from '../config/schema.ts';
import type { GeneratedKeyType } from '../config/tokenUri.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import type { CertificateReader, KeyReader } from '../services/onboarding/acceptCertificate.ts';
import type { AdoptPorts } from '../services/onboarding/adoptIdentity.ts';
import type { DeliverPorts } from '../services/onboarding/exportFiles.ts';
import { keyFor } from '../services/onboarding/keyRotation.ts';
import type { RegisterPorts } from '../services/onboarding/register.ts';
import type { RequestCertificatePorts } from '../services/onboarding/requestCertificate.ts';
import {
  currentState,
  type DeviceState,
  files,
  type Progress,
  type StateDirectory,
  updateState,
} from '../services/state/deviceState.ts';
import type { HardwareId } from '../services/state/hardwareBinding.ts';
import type { Moment } from './moments.ts';

/** Everything outside the daemon that it uses: the adapters, or a simulation. */
export interface Platform {
  readonly directory: StateDirectory;
  readonly stageExport: DeliverPorts['stageExport'];
  readonly sha256: DeliverPorts['sha256'];
  /** Reads a file that another program may have written. No files where absent */
  readonly readOutside?: AdoptPorts['readOutside'];
  readonly pki: CertificateReader & KeyReader & RequestCertificatePorts['pki'] & AdoptPorts['pki'];
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
  /** What templates of `device.*` may name; nothing by default */
  readonly facts?: () => { readonly serial: string | null; readonly machineId: string | null };
  /** The id of this device's Tailscale node; none by default */
  readonly tailscaleId?: () => Promise<string | null>;
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
  /** Shows the status, also to users without rights on the state directory. `state`: null if it cannot be read */
  readonly publish?: (state: DeviceState | null, progress: Progress) => void;
  /** What was published last of the device, by an earlier daemon too; null: nothing that can be read */
  readonly recall?: (state: DeviceState | null) => Progress | null;
  /** Called with a failure that is a bug, besides the log: it has a stack. */
  readonly onBug?: (error: unknown) => void;
  /** Called once a day, with the log's heartbeat */
  readonly onHeartbeat?: () => void;
  /** Tells whoever is to act on it; what was published before says the same. Never waits, never throws. */
  readonly onMoment?: (moment: Moment) => void;
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
  proxies,
}: {
  readonly config: Config;
  readonly version: string;
  readonly state: { readonly directory: StateDirectory };
  readonly proxies: ProxyVariables;
}): Platform {
  const nats = lazyNats(natsOptions(config));
  const keys = keyStoreOf(config.identity);
  const { seal } = config.identity;
  const sealed = sealedKeys(state.directory, seal !== 'off', systemdSealer(seal));
  const directory = keys === null ? sealed : keys.over(sealed);
  return {
    ...systemClock,
    machine: readHardwareId,
    facts: () => ({ serial: readSerial(), machineId: readMachineId() }),
    tailscaleId: () => tailscaleId(),
    directory,
    stageExport,
    sha256,
    readOutside,
    pki,
    newKey: () => newKey(config.identity.keyType, keys, directory),
    post: provisioning(config, { version, proxies }, directory, () => {
      nats.load();
      void pki.prepareTls();
    }),
    connect: nats.connect,
    connectTimeoutMs: connectTimeoutMs(config.nats.url),
    randomUUID,
    setTimer,
    watchForSteps,
    onBug: reportBug,
  };
}

/** @throws {OnboardingError} STATE_CORRUPT: a key in hardware is lost, or the wrong token is there; STATE_UNWRITABLE */
async function newKey(
  keyType: Config['identity']['keyType'],
  keys: TokenKeys | null,
  directory: StateDirectory,
): Promise<string> {
  const { provisioned, keyInToken } = currentState(directory);
  const isLost = provisioned !== null && keyFor({ directory, pki }, provisioned.certificate) === null;
  if (isLost && (keyInToken || keys !== null)) throw keyMissing(keys !== null);
  // Durable before there is a key in the token, so that it is never forgotten.
  const isIn = keys !== null;
  if (isIn !== keyInToken) updateState(directory, () => ({ keyInToken: isIn }));
  if (keys !== null) return await keys.generate();
  const type = keyType as GeneratedKeyType;
  return await (takeEarlyKey(type) ?? pki.generateKey(type));
}

function keyMissing(hasToken: boolean): OnboardingError {
  const what = hasToken
    ? 'the token holds no key for the certificate of this device'
    : 'the key for the certificate of this device is in a token, and identity.keyType names none';
  return new OnboardingError('STATE_CORRUPT', `${what}; it gets no other by itself`, {
    reason: 'token-key-missing',
  });
}

/** The client's library is loaded while an answer is awaited, at the latest when it is needed. */
function lazyNats(options: Parameters<typeof natsClient>[0]) {
  let client: Promise<Platform['connect']> | null = null;
  const load = () => {
    client ??= import('../adapters/nats/client.ts').then((loaded) => loaded.natsClient(options));
    return client;
  };
  const connect: Platform['connect'] = async (identity, signal) => (await load())(identity, signal);
  return { connect, load: () => void load() };
}

/** Its library is loaded only by a device that looks for its server. */
const discoverLazily: typeof discover = async (...args) =>
  (await import('../adapters/discovery.ts')).discover(...args);

/** @param onSent called when a request is on its way */
function provisioning(
  config: Config,
  { version, proxies }: { readonly version: string; readonly proxies: ProxyVariables },
  directory: StateDirectory,
  onSent: () => void,
): Platform['post'] {
  const { caFile, path, tokenFile, clientCertFile, clientKeyFile, proxy } = config.provisioning;
  const server = {
    path,
    ca: caFile === null ? null : readFileSync(caFile, 'utf8'),
    clientCertFile,
    clientKeyFile,
    proxyFor: (url: URL) => proxyFor(url, proxy, proxies),
    tokenFile,
    onSent,
    userAgent: `onboardd/${version}`,
  };
  const request: typeof postProvision =
    config.provisioning.protocol === 'fleet'
      ? postProvision
      : async (to, json, signal) =>
          (await import('../adapters/est.ts')).enroll(to, json, livingIdentity(directory), signal);
  const [first, ...rest] = provisioningUrls(config);
  const isSingle = first !== undefined && rest.length === 0;
  const limitMs = shortlyBefore(config.provisioning.timeoutMs);
  return inTurn(first === undefined ? discoverLazily : [first, ...rest], async (url, json, signal) => {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
    const answer = await request({ ...server, url }, json, deadline);
    const asked = new URL(url);
    const { protocol, host } = asked;
    const via = protocol === 'http:' ? server.proxyFor(asked) : null;
    if (via !== null) return { ...answer, server: `${host} through the proxy ${showProxy(via)}` };
    return isSingle ? answer : { ...answer, server: host };
  });
}

/** The request ends by itself before the chart ends it: it knows which server and addresses were silent. */
function shortlyBefore(timeoutMs: number): number {
  return Math.max(1, timeoutMs - Math.min(100, Math.ceil(timeoutMs / 10)));
}

/** What the device may show to renew its certificate; null: it has none that lives and is for its key. */
function livingIdentity(directory: StateDirectory): CurrentIdentity | null {
  const { provisioned } = currentState(directory);
  const key = directory.read(files.key);
  if (provisioned === null || key === null) return null;
  const [leaf] = pki.parseCertificates(provisioned.certificate);
  const lives = leaf !== undefined && systemClock.now() <= leaf.notAfter.getTime();
  return lives && leaf.spkiSha256 === pki.spkiSha256Of(key) ? { cert: provisioned.certificate, key } : null;
}

/** @throws {OnboardingError} STATE_UNWRITABLE */
function readOutside(path: string): string | null {
  try {
    return readRegularFile(path);
  } catch (cause) {
    throw new OnboardingError('STATE_UNWRITABLE', `cannot read ${path}: ${describe(cause)}`, {
      cause,
      reason: 'agent-unreadable',
    });
  }
}

function natsOptions({ nats, registration }: Config): Parameters<typeof natsClient>[0] {
  return {
    tls: nats.tls,
    proxy: nats.proxy === null ? null : parseProxy(nats.proxy),
    resultStream: registration.resultStream,
    random: systemClock.random,
    needsInbox: registration.api === 'request',
  };
}
