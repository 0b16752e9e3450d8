import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../adapters/clock.ts';
import { directoryFacts } from '../adapters/disk/diskFacts.ts';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { refusalOfStateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { isLocked, ownerOf } from '../adapters/disk/lockStatus.ts';
import { readHardwareId } from '../adapters/hardware.ts';
import { hostDefaults } from '../adapters/host.ts';
import { trySubscription } from '../adapters/nats/client.ts';
import * as pki from '../adapters/pki.ts';
import { type HttpProbe, lookUp, peerCertificate, probeHttp, probeNats } from '../adapters/probe.ts';
import { authorization, provisioningUrl } from '../adapters/provisioningApi.ts';
import { type NatsAddress, parseNatsAddresses, showNatsAddress } from '../config/natsAddress.ts';
import { stateDirOf } from '../config/resolve.ts';
import type { Config } from '../config/schema.ts';
import { observedFailure } from '../errors/networkProblem.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import {
  type Check,
  type CheckId,
  checkIds,
  checkLines,
  type Finding,
  failed,
  failedBy,
  passed,
  skipped,
} from '../services/diagnostics/check.ts';
import { checkCertificate, checkDirectory, checkTime } from '../services/diagnostics/checkLocal.ts';
import { checkNames, checkNats, judgeAnswer } from '../services/diagnostics/checkNetwork.ts';
import type { Identity } from '../services/onboarding/register.ts';
import { type DeviceState, files, parseState } from '../services/state/deviceState.ts';
import { plainJson } from '../text/plainText.ts';
import { type CommonFlags, configure, exit, readSources, refusedStateDirectory } from './options.ts';

export interface Build {
  readonly version: string;
  /** Milliseconds since 1970 */
  readonly builtAt: number;
}

const lookUpMs = 5_000;
const greetingMs = 5_000;
const natsMs = 10_000;
const longestHttpMs = 10_000;

/** `onboardd check`: looks at everything that onboarding needs and changes nothing, here or elsewhere. */
export async function checkCommand(flags: CommonFlags & { json?: boolean }, build: Build): Promise<number> {
  const resolved = await configure(flags);
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const stored = readStored(folder);
  const checks = new Map<CheckId, Check>();
  const run = async (id: CheckId, look: () => Promise<Finding> | Finding) => {
    const started = performance.now();
    const finding = await Promise.resolve().then(look).catch(unforeseen);
    checks.set(id, { id, ...finding, durationMs: Math.round(performance.now() - started) });
  };

  const problems = 'problems' in resolved ? resolved.problems : null;
  const warnings = 'warnings' in resolved ? resolved.warnings : [];
  await run('configuration', () =>
    problems === null ? passed('complete and in range') : failed('CONFIG_INVALID', problems.join('; ')),
  );
  await run('state-directory', () => {
    const refusal = refusalOfStateDirectory(folder);
    if (refusal !== null) return failed('CONFIG_INVALID', refusedStateDirectory(folder, refusal));
    const readState = () => {
      readOwn(join(folder, files.key));
      return readOwn(join(folder, files.state));
    };
    return checkDirectory(
      folder,
      directoryFacts(folder),
      { owner: ownerOf(folder), running: isLocked(folder) },
      { state: readState, hardware: readHardwareId },
    );
  });
  const network = 'config' in resolved ? await checkServers(resolved.config, stored, build, run) : null;
  if (problems !== null)
    for (const id of ['name-resolution', 'provisioning-server', 'nats-server'] as const)
      await run(id, () => skipped('the configuration is invalid'));
  const now = systemClock.now();
  const server = network?.serverTime == null ? null : { time: network.serverTime, at: network.at };
  const { state, key, unknown } = stored;
  await run('clock', () => checkTime(now, build.builtAt, leafOf(state), server));
  const template = 'config' in resolved ? resolved.config.identity.commonName : null;
  await run('certificate', () =>
    unknown === null
      ? checkCertificate(pki, { state, key }, { now, serverTime: server?.time ?? null, template })
      : skipped(unknown),
  );

  const all = checkIds.flatMap((id) => checks.get(id) ?? []);
  const ok = all.every(({ verdict }) => verdict !== 'fail');
  process.stdout.write(
    flags.json
      ? `${plainJson({ ok, checks: all, warnings })}\n`
      : `${checkLines(all, warnings).join('\n')}\n`,
  );
  if (problems !== null) return exit.configuration;
  return ok ? exit.ok : exit.failed;
}

interface Stored {
  /** Why nothing is known of the device; null where it is */
  readonly unknown: string | null;
  readonly state: DeviceState | null;
  readonly key: string | null;
}

/** What is on disk and can be read; whatever cannot is told by the check of the state directory. */
function readStored(folder: string): Stored {
  try {
    const text = readOwn(join(folder, files.state));
    const state = text === null ? null : parseState(text);
    return { unknown: null, state, key: readOwn(join(folder, files.key)) };
  } catch {
    return { unknown: 'the state cannot be read: see state-directory', state: null, key: null };
  }
}

function leafOf(state: DeviceState | null) {
  try {
    return state?.provisioned ? pki.parseCertificates(state.provisioned.certificate)[0] : undefined;
  } catch {
    return undefined;
  }
}

type Run = (id: CheckId, look: () => Promise<Finding> | Finding) => Promise<void>;

/** @returns the server's time, where it told one */
async function checkServers(
  config: Config,
  { state, key, unknown }: Stored,
  { version }: Build,
  run: Run,
): Promise<HttpProbe | null> {
  const url = provisioningUrl(config.provisioning.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const natsUrl = config.nats.url ?? state?.provisioned?.natsUrl ?? null;
  const addresses = natsUrl === null ? null : parseNatsAddresses(natsUrl);
  const names = [
    { host, server: 'provisioning' as const },
    ...(addresses ?? []).map((address) => ({ host: address.host, server: 'nats' as const })),
  ].filter(
    (entry, index, all) =>
      isIP(entry.host) === 0 && all.findIndex((other) => other.host === entry.host) === index,
  );
  let glance: HttpProbe | null = null;
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
      glance = await glanceAt(config, url, host, version);
      return judgeAnswer(url.host, glance);
    }),
    run('nats-server', () =>
      addresses === null && unknown !== null
        ? skipped(unknown)
        : checkNats(addresses, config.nats.tls, {
            serverInfo: (address) => probeNats(address, greetingMs),
            subscribe: identity && ((address) => subscribe(address, identity, config.nats.tls)),
          }),
    ),
  ]);
  return glance;
}

async function glanceAt(config: Config, url: URL, host: string, version: string): Promise<HttpProbe> {
  const { caFile, tokenFile, timeoutMs } = config.provisioning;
  const ca = caFile === null ? null : readFileSync(caFile, 'utf8');
  const headers = {
    accept: 'application/json',
    'user-agent': `onboardd/${version}`,
    ...authorization(tokenFile),
  };
  const shown = () => peerCertificate(host, Number(url.port || 443), 'https', greetingMs);
  return await withCertificate(() => probeHttp(url, ca, headers, Math.min(timeoutMs, longestHttpMs)), shown);
}

/** @throws {OnboardingError} NATS_*: the server does not let the device in, or not hear its result */
async function subscribe(
  address: NatsAddress,
  identity: Identity,
  tls: 'required' | 'optional',
): Promise<void> {
  const subject = `device_results.${identity.deviceId}.register`;
  const shown = () => peerCertificate(address.host, address.port, 'nats', greetingMs);
  const right = await withCertificate(
    () => trySubscription({ address, tls }, identity, subject, AbortSignal.timeout(natsMs)),
    shown,
  );
  if (right === 'allowed') return;
  const where = `the NATS server ${showNatsAddress(address)}`;
  throw observedFailure('permission-denied', 'nats', where, `it denies the subscription to ${subject}`);
}

/** Adds the server's certificate to a failure that is about it. @param shown the certificate in words */
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

/** What a check threw: a failure that the daemon would log, a disk that cannot be read, or a bug. */
function unforeseen(error: unknown): Finding {
  if (error instanceof OnboardingError) return failedBy(error);
  const isOfDisk = error instanceof Error && 'syscall' in error;
  return failed(isOfDisk ? 'STATE_UNWRITABLE' : 'INTERNAL', describe(error));
}
