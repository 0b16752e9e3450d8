import { type NatsAddress, showNatsAddress } from '../../config/natsAddress.ts';
import { observedFailure } from '../../errors/networkProblem.ts';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { type Reason, reasonOfStatus, reasons, type Server } from '../../errors/reasons.ts';
import { isWebPage } from '../onboarding/requestCertificate.ts';
import { type Finding, failedBy, passed, skipped } from './check.ts';

/** How a probe of the provisioning server was answered. */
export interface Answered {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
}

/** The names that the device has to resolve. @param lookUp addresses of a name; throws an OnboardingError */
export async function checkNames(
  hosts: readonly { host: string; server: Server }[],
  lookUp: (host: string, server: Server) => Promise<string[]>,
): Promise<Finding> {
  if (hosts.length === 0) return skipped('the configured addresses need no names');
  const seen = await Promise.allSettled(hosts.map(({ host, server }) => lookUp(host, server)));
  const shown = seen.map((found, index) => {
    if (found.status === 'rejected') throw found.reason;
    return `${hosts[index]?.host} is ${found.value.slice(0, 3).join(', ')}`;
  });
  return passed(shown.join('; '));
}

/** Answers to a GET that do not say that a POST would fare the same: the path takes POST only. */
const saysNothing: ReadonlySet<Reason> = new Set([
  'http-400',
  'http-404',
  'http-405',
  'http-409',
  'http-413',
  'http-415',
  'http-422',
  'http-4xx',
]);

/** A GET of a path that takes POST only: any answer shows that the server is there, and some that it is another. */
export function judgeAnswer(host: string, { status, contentType, location }: Answered): Finding {
  const reason =
    status >= 200 && status < 300 && isWebPage(contentType) ? 'captive-portal' : reasonOfStatus(status);
  if (reason === null || saysNothing.has(reason) || status === 501)
    return passed(`${host} answers (HTTP ${status} to a GET, which it need not serve)`);
  const { cause } = reasons[reason];
  const what = reason === 'redirected' ? `it redirects${targetOf(location, host)}` : cause;
  const detail = reason === 'captive-portal' ? what : `${what}, HTTP ${status}`;
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
  /** Connects with the stored identity and subscribes to the result; null where there is no identity yet. */
  readonly subscribe: ((address: NatsAddress) => Promise<void>) | null;
}

/** Every server of the address is asked at once; one that lets the device in is enough. */
export async function checkNats(
  addresses: readonly NatsAddress[] | null,
  tls: 'required' | 'optional',
  ports: NatsPorts,
): Promise<Finding> {
  if (addresses === null) return skipped('the provisioning server has not told the address yet');
  const findings = await Promise.all(
    addresses.map((address) => checkOne(address, tls, ports).catch(failedFinding)),
  );
  const good = findings.filter(({ verdict }) => verdict === 'pass');
  const [first] = good.length > 0 ? good : findings;
  if (first === undefined) return skipped('no address');
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
      `${server}, greets${tlsAvailable ? ' and wants TLS' : ''}; without a certificate no more can be tried`,
    );
  await subscribe(address);
  return passed(
    `${server}, lets this device in and lets it hear its result; whether it may publish shows when it asks`,
  );
}
