import { type NatsAddress, showNatsAddress } from '../../config/natsAddress.ts';
import { observedFailure } from '../../errors/networkProblem.ts';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { type Reason, reasonOfStatus, reasons, type Server } from '../../errors/reasons.ts';
import { isWebPage } from '../onboarding/requestCertificate.ts';
import { type Finding, failedBy, passed, skipped } from './check.ts';

/** The answer to a probe of the provisioning server. */
export interface Answered {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
}

/** Resolves the host names that the device needs. @param lookUp addresses of a name; throws an OnboardingError */
export async function checkNames(
  hosts: readonly { host: string; server: Server }[],
  lookUp: (host: string, server: Server) => Promise<string[]>,
): Promise<Finding> {
  if (hosts.length === 0)
    return skipped('no name to look up: the configured addresses are IP addresses, or a proxy looks them up');
  const seen = await Promise.allSettled(hosts.map(({ host, server }) => lookUp(host, server)));
  const shown = seen.map((found, index) => {
    if (found.status === 'rejected') throw found.reason;
    return `${hosts[index]?.host} resolves to ${found.value.slice(0, 3).join(', ')}`;
  });
  return passed(shown.join('; '));
}

/** Answers to a GET that predict nothing about a POST: the path supports only POST. */
const inconclusive: ReadonlySet<Reason> = new Set([
  'http-400',
  'http-404',
  'http-405',
  'http-409',
  'http-413',
  'http-415',
  'http-422',
  'http-4xx',
]);

/** A GET of a path that supports only POST: any answer shows a server, and some show that it is the wrong one. */
export function judgeAnswer(host: string, { status, contentType, location }: Answered): Finding {
  const reason =
    status >= 200 && status < 300 && isWebPage(contentType) ? 'captive-portal' : reasonOfStatus(status);
  if (reason === null || inconclusive.has(reason) || status === 501)
    return passed(`${host} answers (HTTP ${status} to a GET, which it need not support)`);
  const { cause } = reasons[reason];
  const what = reason === 'redirected' ? `the server redirects${targetOf(location, host)}` : cause;
  const detail = reason === 'captive-portal' ? what : `${what} (HTTP ${status})`;
  return failedBy(observedFailure(reason, 'provisioning', `the provisioning server ${host}`, detail));
}

function targetOf(location: string | null, host: string): string {
  if (location === null || !URL.canParse(location, `http://${host}`)) return '';
  const target = new URL(location, `http://${host}`);
  return ` to ${target.protocol}//${target.host}`;
}

/** Both throw an OnboardingError with code and reason. */
export interface NatsPorts {
  readonly serverInfo: (
    address: NatsAddress,
  ) => Promise<{ version: string | null; tlsAvailable: boolean; jetstream: boolean }>;
  /** Connects with the stored identity and subscribes to the result; null without an identity. */
  readonly subscribe: ((address: NatsAddress) => Promise<void>) | null;
}

/** Tries all servers of the address at once; one that accepts the device is enough. */
export async function checkNats(
  addresses: readonly NatsAddress[] | null,
  tls: 'required' | 'optional',
  ports: NatsPorts,
): Promise<Finding> {
  if (addresses === null) return skipped('the NATS address is not known before provisioning');
  return (
    (await firstGood(addresses.map((address) => checkOne(address, tls, ports)))) ?? skipped('no NATS address')
  );
}

/**
 * Of several servers one that works is enough; the failures of the others are told with it.
 *
 * @returns null if there is no server
 */
export async function firstGood(looks: readonly Promise<Finding>[]): Promise<Finding | null> {
  const findings = await Promise.all(looks.map((look) => look.catch(failedFinding)));
  const good = findings.filter(({ verdict }) => verdict === 'pass');
  const [first] = good.length > 0 ? good : findings;
  if (first === undefined) return null;
  const others = findings.filter((finding) => finding.verdict === 'fail' && finding !== first);
  if (others.length === 0) return first;
  return { ...first, detail: `${first.detail}; also: ${others.map(({ detail }) => detail).join('; ')}` };
}

function failedFinding(error: unknown): Finding {
  if (!(error instanceof OnboardingError)) throw error;
  return failedBy(error);
}

async function checkOne(
  address: NatsAddress,
  tls: 'required' | 'optional',
  { serverInfo, subscribe }: NatsPorts,
): Promise<Finding> {
  const where = showNatsAddress(address);
  const { version, tlsAvailable, jetstream } = await serverInfo(address);
  if (!tlsAvailable && tls === 'required')
    throw observedFailure('no-tls', 'nats', `the NATS server ${where}`);
  const server = `${where}, nats-server ${version ?? 'of unknown version'}${jetstream ? ' with JetStream' : ''}`;
  if (subscribe === null)
    return passed(
      `${server}, answers${tlsAvailable ? ' and offers TLS' : ''}; more can be checked once the device has a certificate`,
    );
  await subscribe(address);
  return passed(
    `${server}, accepts this device and its subscription to the result; the right to publish cannot be checked`,
  );
}
