import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../adapters/clock.ts';
import { discover } from '../adapters/discovery.ts';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { hostDefaults } from '../adapters/host.ts';
import { keyStoreOf } from '../adapters/keys/keyStore.ts';
import { isSealed, systemdSealer } from '../adapters/keys/sealedKeys.ts';
import type { TokenKeys } from '../adapters/keys/tokenKeys.ts';
import { type NatsWay, trySubscription } from '../adapters/nats/client.ts';
import type { Way } from '../adapters/net/httpRequest.ts';
import * as pki from '../adapters/pki.ts';
import { type HttpProbe, lookUp, peerCertificate, probeHttp, probeNats } from '../adapters/probe.ts';
import { authorization, provisioningUrl } from '../adapters/provisioningApi.ts';
import { type NatsAddress, parseNatsAddresses, showNatsAddress } from '../config/natsAddress.ts';
import { provisioningUrls } from '../config/provisioningUrls.ts';
import { bareHost, parseProxy, proxyFor, showProxy } from '../config/proxy.ts';
import { stateDirOf } from '../config/resolve.ts';
import { observedFailure } from '../errors/networkProblem.ts';
import { OnboardingError } from '../errors/onboardingError.ts';
import { type Check, type CheckId, checkIds, type Finding, skipped } from '../services/diagnostics/check.ts';
import { checkExports } from '../services/diagnostics/checkExports.ts';
import { checkKey } from '../services/diagnostics/checkKey.ts';
import { checkCertificate, checkTime } from '../services/diagnostics/checkLocal.ts';
import { checkNames, checkNats, firstGood, judgeAnswer } from '../services/diagnostics/checkNetwork.ts';
import { checkRegistration } from '../services/diagnostics/checkRegistration.ts';
import type { Identity } from '../services/onboarding/register.ts';
import { type DeviceState, files, parseState } from '../services/state/deviceState.ts';
import { plainJson } from '../text/plainText.ts';
import { checkLines } from './format/check.ts';
import { activityOf } from './format/status.ts';
import { terminalOf } from './format/terminal.ts';
import { lookAtConfiguration, lookAtDirectory, lookAtLock, unforeseen } from './localChecks.ts';
import {
  type Build,
  type CommonFlags,
  configure,
  exit,
  publishedStatusFile,
  readSources,
  type Usable,
} from './options.ts';
import { isUnreadable, readStatus } from './readStatus.ts';

const lookUpMs = 5_000;
const greetingMs = 5_000;
const natsMs = 10_000;
const longestHttpMs = 10_000;

/** `onboardd check`: looks at everything that onboarding needs; changes nothing, here or on a server. */
export async function checkCommand(flags: CommonFlags & { json?: boolean }, build: Build): Promise<number> {
  const { ok, checks, warnings, isConfigured } = await runChecks(flags, build);
  process.stdout.write(
    flags.json
      ? `${plainJson({ ok, checks, warnings })}\n`
      : `${checkLines(checks, warnings, terminalOf(process.stdout, process.env)).join('\n')}\n`,
  );
  if (!isConfigured) return exit.configuration;
  return ok ? exit.ok : exit.failed;
}

/** What `check` finds. */
export async function runChecks(flags: CommonFlags, build: Build) {
  const resolved = await configure(flags);
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const keys = 'config' in resolved ? keyStoreOf(resolved.config.identity) : null;
  const stored = lookInToken(readStored(folder), keys);
  const checks = new Map<CheckId, Check>();
  const run = async (id: CheckId, look: () => Promise<Finding> | Finding) => {
    const started = performance.now();
    const finding = await Promise.resolve().then(look).catch(unforeseen);
    checks.set(id, { id, ...finding, durationMs: Math.round(performance.now() - started) });
  };

  const problems = 'problems' in resolved ? resolved.problems : null;
  const warnings = 'warnings' in resolved ? resolved.warnings : [];
  await run('configuration', () => lookAtConfiguration(resolved));
  await run('state-directory', () => lookAtLock(lookAtDirectory(folder)));
  const { state, key, unknown, finding } = stored;
  if (finding !== null) await run('key', () => finding);
  const network = 'config' in resolved ? await checkServers(resolved, stored, build, run) : null;
  if (problems !== null)
    for (const id of ['name-resolution', 'provisioning-server', 'nats-server'] as const)
      await run(id, () => skipped('the configuration is invalid'));
  const now = systemClock.now();
  const server = network?.serverTime == null ? null : { time: network.serverTime, at: network.at };
  await run('clock', () => checkTime(now, build.builtAt, leafOf(state), server));
  const template = 'config' in resolved ? resolved.config.identity.commonName : null;
  await run('certificate', () =>
    unknown === null
      ? checkCertificate(pki, { state, key }, { now, serverTime: server?.time ?? null, template })
      : skipped(unknown),
  );

  const status = readStatus(folder, build.version, publishedStatusFile(flags));
  const exports = 'config' in resolved ? Object.keys(resolved.config.exports).length : 0;
  const written = isUnreadable(status) ? null : checkExports(status, exports);
  if (written !== null) await run('exports', () => written);
  await run('registration', () => {
    if (isUnreadable(status)) return skipped('the state cannot be read: see state-directory');
    return checkRegistration(status, activityOf(status, now));
  });

  const all = checkIds.flatMap((id) => checks.get(id) ?? []);
  const ok = all.every(({ verdict }) => verdict !== 'fail');
  return { ok, checks: all, warnings, isConfigured: problems === null };
}

interface Stored {
  /** Why the state cannot be read; null if it can */
  readonly unknown: string | null;
  readonly state: DeviceState | null;
  readonly key: string | null;
  /** Of a key that is not simply in its file; null: there is nothing to say of it */
  readonly finding: Finding | null;
}

const lostState = 'the state cannot be read: see state-directory';

/** What is on disk and can be read. The check of the state directory reports the rest. */
function readStored(folder: string): Stored {
  let found: { state: DeviceState | null; text: string | null };
  try {
    const text = readOwn(join(folder, files.state));
    found = { state: text === null ? null : parseState(text), text: readOwn(join(folder, files.key)) };
  } catch {
    return { unknown: lostState, state: null, key: null, finding: null };
  }
  const { state, text } = found;
  try {
    return { unknown: null, state, key: unsealed(text), finding: null };
  } catch (error) {
    return { unknown: 'the key cannot be opened: see key', state, key: null, finding: unforeseen(error) };
  }
}

/** With the key in its token, where it lies there. @param keys null: keys lie in files */
function lookInToken(stored: Stored, keys: TokenKeys | null): Stored {
  if (keys === null) return stored;
  try {
    const inToken = keys.find(files.key);
    if (inToken === null && stored.finding !== null) return stored;
    const place = inToken !== null ? 'token' : stored.key !== null ? 'file' : null;
    const finding = checkKey(stored.state, place);
    const isLost = finding.verdict === 'fail';
    const unknown = isLost ? 'the key is lost: see key' : stored.finding !== null ? null : stored.unknown;
    return { ...stored, unknown, key: inToken ?? stored.key, finding };
  } catch (error) {
    return { ...stored, unknown: 'the key cannot be used: see key', key: null, finding: unforeseen(error) };
  }
}

function unsealed(text: string | null): string | null {
  return text !== null && isSealed(text) ? systemdSealer('host').unseal(files.key, text) : text;
}

function leafOf(state: DeviceState | null) {
  try {
    return state?.provisioned ? pki.parseCertificates(state.provisioned.certificate)[0] : undefined;
  } catch {
    return undefined;
  }
}

type Run = (id: CheckId, look: () => Promise<Finding> | Finding) => Promise<void>;

/** @returns the answer of the provisioning server; null if there is none */
async function checkServers(
  usable: Usable,
  { state, key, unknown }: Stored,
  { version }: Build,
  run: Run,
): Promise<HttpProbe | null> {
  const { config } = usable;
  const { servers, missing } = await provisioningServers(usable);
  const way: NatsWay = {
    tls: config.nats.tls,
    proxy: config.nats.proxy ? parseProxy(config.nats.proxy) : null,
  };
  const natsUrl = config.nats.url ?? state?.provisioned?.natsUrl ?? null;
  const addresses = natsUrl === null ? null : parseNatsAddresses(natsUrl);
  const natsHosts = way.proxy === null ? (addresses ?? []).map(({ host }) => host) : [bareHost(way.proxy)];
  const names = [
    ...servers.map(({ url, proxy }) => ({ host: bareHost(proxy ?? url), server: 'provisioning' as const })),
    ...natsHosts.map((host) => ({ host, server: 'nats' as const })),
  ].filter(
    (entry, index, all) =>
      isIP(entry.host) === 0 && all.findIndex((other) => other.host === entry.host) === index,
  );
  const glances: (HttpProbe | null)[] = [];
  const provisioned = state?.provisioned ?? null;
  const identity: Identity | null =
    state && provisioned && key !== null
      ? {
          deviceId: state.deviceId,
          key,
          certificate: provisioned.certificate,
          caCertificate: provisioned.caCertificate,
          natsUrl: natsUrl ?? '',
        }
      : null;
  await Promise.all([
    run('name-resolution', () => checkNames(names, (name, server) => lookUp(name, server, lookUpMs))),
    run('provisioning-server', async () => {
      const findings = servers.map(async (server, index) => {
        const look = async () => {
          const glance = await glanceAt(usable, server, version);
          glances[index] = glance;
          return judgeAnswer(server.url.host, glance);
        };
        return throughProxy(await look().catch(unforeseen), server.proxy);
      });
      return (await firstGood(findings)) ?? missing ?? skipped('no server is configured');
    }),
    run('nats-server', async () => {
      if (addresses === null && unknown !== null) return skipped(unknown);
      const finding = await checkNats(addresses, config.nats.tls, {
        serverInfo: (address) => probeNats(address, way.proxy, greetingMs),
        subscribe: identity && ((address) => subscribe(address, identity, way)),
      });
      return throughProxy(finding, addresses === null ? null : way.proxy);
    }),
  ]);
  return glances.find((glance) => glance?.serverTime != null) ?? glances.find(Boolean) ?? null;
}

interface Target {
  readonly url: URL;
  readonly proxy: URL | null;
}

/** The servers that are configured, else those that announce themselves; `missing`: why there are none. */
async function provisioningServers({
  config,
  proxies,
}: Usable): Promise<{ servers: Target[]; missing: Finding | null }> {
  const { proxy, protocol } = config.provisioning;
  const path = protocol === 'est' ? '/.well-known/est/cacerts' : config.provisioning.path;
  const configured = provisioningUrls(config);
  try {
    const bases = configured.length > 0 ? configured : await discover(AbortSignal.timeout(longestHttpMs));
    const servers = bases.map((base) => {
      const url = provisioningUrl(base, path);
      return { url, proxy: proxyFor(url, proxy, proxies) };
    });
    return { servers, missing: null };
  } catch (error) {
    return { servers: [], missing: unforeseen(error) };
  }
}

/** A finding about a server says which proxy is in use. */
function throughProxy(finding: Finding, proxy: URL | null): Finding {
  if (proxy === null || finding.verdict === 'skip' || finding.detail.includes(showProxy(proxy)))
    return finding;
  return { ...finding, detail: `${finding.detail}; through the proxy ${showProxy(proxy)}` };
}

async function glanceAt({ config }: Usable, { url, proxy }: Target, version: string): Promise<HttpProbe> {
  const { caFile, tokenFile, clientCertFile, clientKeyFile, timeoutMs } = config.provisioning;
  const way: Way = {
    ca: caFile === null ? null : readFileSync(caFile, 'utf8'),
    clientCertFile,
    clientKeyFile,
    proxyFor: () => proxy,
  };
  const headers = {
    accept: 'application/json',
    'user-agent': `onboardd/${version}`,
    ...authorization(tokenFile),
  };
  const target = { host: bareHost(url), port: Number(url.port || 443) };
  const shown = () => peerCertificate(target, 'provisioning', proxy, greetingMs);
  return await withCertificate(() => probeHttp(url, way, headers, Math.min(timeoutMs, longestHttpMs)), shown);
}

/** @throws {OnboardingError} NATS_*: the server refuses the device, or the subscription to its result */
async function subscribe(address: NatsAddress, identity: Identity, way: NatsWay): Promise<void> {
  const subject = `device_results.${identity.deviceId}.register`;
  const shown = () => peerCertificate(address, 'nats', way.proxy, greetingMs);
  const right = await withCertificate(
    () => trySubscription({ address, ...way }, identity, subject, AbortSignal.timeout(natsMs)),
    shown,
  );
  if (right === 'allowed') return;
  const where = `the NATS server ${showNatsAddress(address)}`;
  throw observedFailure('permission-denied', 'nats', where, `subscription to ${subject} denied`);
}

/** Adds the server's certificate to a TLS failure. @param shown the certificate in words */
async function withCertificate<T>(look: () => Promise<T>, shown: () => Promise<string | null>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof OnboardingError) || !error.reason?.startsWith('tls-')) throw error;
    const certificate = await shown();
    if (certificate === null) throw error;
    const { code, message, reason } = error;
    throw new OnboardingError(code, `${message}; ${certificate}`, { cause: error, reason });
  }
}
