import { type NatsAddress, showNatsAddress } from '../../config/natsAddress.ts';
import type { NetworkProblem } from '../../errors/networkProblem.ts';
import { type Finding, passed, skipped, troubled } from './check.ts';

/** How a probe of the provisioning server was answered. */
export interface Answered {
  readonly status: number;
  readonly contentType: string | null;
  readonly location: string | null;
}

/** The names that the device has to resolve. @param lookUp addresses of a name */
export async function checkNames(
  hosts: readonly { host: string; server: 'provisioning' | 'nats' }[],
  lookUp: (host: string) => Promise<string[] | NetworkProblem>,
): Promise<Finding> {
  if (hosts.length === 0) return skipped('the configured addresses need no names');
  const seen = await Promise.all(hosts.map(async (entry) => ({ ...entry, found: await lookUp(entry.host) })));
  for (const { server, found } of seen) if ('problem' in found) return troubled(server, found);
  return passed(
    seen.map(({ host, found }) => `${host} is ${(found as string[]).slice(0, 3).join(', ')}`).join('; '),
  );
}

/** A GET of a path that takes POST alone: any answer shows that the server is there, and some that it is another. */
export function judgeAnswer(host: string, { status, contentType, location }: Answered): Finding {
  const trouble = (problem: NetworkProblem['problem'], detail: string) =>
    troubled('provisioning', { problem, detail: `${host}: ${detail}` });
  if (status === 401 || status === 403)
    return trouble('http-denied', `it refuses this device, HTTP ${status}`);
  if (status === 407 || status === 511)
    return trouble('portal', `a proxy or portal asks for a login, HTTP ${status}`);
  if (status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501))
    return trouble('http-busy', `it answers HTTP ${status}`);
  if (status >= 300 && status < 400) {
    const target =
      location !== null && URL.canParse(location, `http://${host}`)
        ? new URL(location, `http://${host}`)
        : null;
    return trouble(
      'http-redirect',
      `it redirects${target ? ` to ${target.protocol}//${target.host}` : ''}, HTTP ${status}`,
    );
  }
  if (status >= 200 && status < 300 && /html/i.test(contentType ?? ''))
    return trouble('portal', 'it answers with a web page');
  return passed(`${host} answers (HTTP ${status} to a GET, which it need not serve)`);
}

export interface NatsPorts {
  readonly greeting: (
    address: NatsAddress,
  ) => Promise<NetworkProblem | { version: string | null; tlsAvailable: boolean; jetstream: boolean }>;
  /** Connects with the stored identity and subscribes to the result; null where there is no identity yet. */
  readonly subscribe: ((address: NatsAddress) => Promise<NetworkProblem | null>) | null;
}

/** Every server of the address is asked at once; one that lets the device in is enough. */
export async function checkNats(
  addresses: readonly NatsAddress[] | null,
  tls: 'required' | 'optional',
  ports: NatsPorts,
): Promise<Finding> {
  if (addresses === null) return skipped('the provisioning server has not told the address yet');
  const findings = await Promise.all(addresses.map((address) => checkOne(address, tls, ports)));
  const good = findings.filter(({ verdict }) => verdict === 'pass');
  const [first] = good.length > 0 ? good : findings;
  if (first === undefined) return skipped('no address');
  const others = findings.filter((finding) => finding.verdict === 'fail' && finding !== first);
  if (others.length === 0) return first;
  return { ...first, detail: `${first.detail}; also: ${others.map(({ detail }) => detail).join('; ')}` };
}

async function checkOne(
  address: NatsAddress,
  tls: 'required' | 'optional',
  { greeting, subscribe }: NatsPorts,
): Promise<Finding> {
  const where = showNatsAddress(address);
  const greeted = await greeting(address);
  if ('problem' in greeted) return troubled('nats', greeted);
  const { version, tlsAvailable, jetstream } = greeted;
  if (!tlsAvailable && tls === 'required')
    return troubled('nats', { problem: 'not-secure', detail: `${where}: it offers no TLS` });
  const server = `${where}, nats-server ${version ?? 'of unknown version'}${jetstream ? ' with JetStream' : ''}`;
  if (subscribe === null)
    return passed(
      `${server}, greets${tlsAvailable ? ' and wants TLS' : ''}; without a certificate no more can be tried`,
    );
  const trouble = await subscribe(address);
  if (trouble !== null) return troubled('nats', trouble);
  return passed(
    `${server}, lets this device in and lets it hear its result; whether it may publish shows when it asks`,
  );
}
