import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Authority } from './ca.ts';
import { readSigningRequest, type SigningRequest } from './csr.ts';
import { createJournal, type Journal } from './journal.ts';
import { type Answer, misbehave, type ProvisioningBehaviour } from './provisioningBehaviour.ts';

const mostBytes = 64 * 1024;
/** Nowhere a control character, nor half of a surrogate pair */
const deviceId = /^(?:[^\p{Cc}\p{Cs}]*\/)?([A-Za-z0-9_-]{1,64})\/registration_agent$/u;

/** A request as it arrived; what could not be read of it is absent. */
export interface ProvisioningRequest {
  /** milliseconds since the epoch */
  at: number;
  method: string;
  url: string;
  secure: boolean;
  headers: IncomingMessage['headers'];
  /** the address of this machine that the device talks to, and its own */
  localAddress: string;
  remoteAddress: string;
  body: string;
  /** the parsed body */
  json?: Record<string, unknown>;
  /** taken from the common name: what stands before `/registration_agent` */
  id?: string;
  /** the CSR's common name */
  csrSubject?: string;
  publicKeySha256?: string;
  /** why it was answered 400 or the like */
  refused?: string;
}

export interface ProvisioningOptions {
  authority: Authority;
  /** Certificate and key, PEM, of the HTTPS listener. */
  web: { chain: string; key: string };
  /** What devices are given as `fleetManagementNatsUrl`. */
  natsUrl: string;
  /** Lets the device in at the NATS server; awaited before the answer. */
  authorise?: (id: string, commonName: string) => Promise<void>;
  /** The bearer token that requests must carry; none by default. */
  token?: string;
  /** The address to listen on; 127.0.0.1 by default. */
  host?: string;
  /** Free ones by default. */
  ports?: { http: number; https: number };
  /** `fleetManagementNatsUrl` by the address of this machine that the device talks to; `natsUrl` by default. */
  natsUrlAt?: (address: string) => string;
  /** Called with a certificate, PEM, before the answer brings it; awaited. */
  onCertified?: (request: ProvisioningRequest, certificate: string) => Promise<void>;
  /** Called with each request that was answered without a certificate, or not at all. */
  onRefused?: (request: ProvisioningRequest, refusal: Refused) => void;
  /** How many requests are kept; all by default. */
  keep?: number;
}

export interface Refused {
  /** HTTP; undefined: nothing was answered */
  status: number | undefined;
  /** why; undefined where `behave` decided it */
  error?: string;
}

export interface Provisioning {
  httpUrl: string;
  httpsUrl: string;
  requests: ProvisioningRequest[];
  journal: Journal<ProvisioningRequest>;
  /** Settable at any time, asked once per well-formed request; `n` counts them from 1. Undefined: as it should be. */
  behave: (request: ProvisioningRequest, n: number) => ProvisioningBehaviour | undefined;
  natsUrl: string;
  token: string | undefined;
  /** Where requests are taken; settable */
  path: string;
  /** PEM of the authority that must have signed the client's certificate, over HTTPS; none by default, settable */
  claimAuthority: string | undefined;
  /** Ends all connections, also those left hanging on purpose. */
  stop(): Promise<void>;
}

/** The provisioning server of protocol.md, part 1, over HTTP and HTTPS, by default on free ports of 127.0.0.1. */
export async function startProvisioning(options: ProvisioningOptions): Promise<Provisioning> {
  const journal = createJournal<ProvisioningRequest>('provisioning requests', options.keep);
  const { authority, authorise, host = '127.0.0.1', ports = { http: 0, https: 0 } } = options;
  const { onCertified, onRefused = () => undefined } = options;
  const shownHost = ['0.0.0.0', '::'].includes(host) ? '127.0.0.1' : host;
  const plainHost = shownHost.includes(':') ? `[${shownHost}]` : shownHost;
  const http = createHttpServer(listener(false));
  const https = createHttpsServer(
    { cert: options.web.chain, key: options.web.key, requestCert: true, rejectUnauthorized: false },
    listener(true),
  );
  let wellFormed = 0;

  const server: Provisioning = {
    httpUrl: `http://${plainHost}:${await listen(http, host, ports.http)}`,
    httpsUrl: `https://${plainHost}:${await listen(https, host, ports.https)}`,
    requests: journal.entries,
    journal,
    behave: () => undefined,
    natsUrl: options.natsUrl,
    token: options.token,
    path: '/api/devices/provision',
    claimAuthority: undefined,
    async stop() {
      await Promise.all([close(http), close(https)]);
    },
  };

  function listener(secure: boolean) {
    return (request: IncomingMessage, response: ServerResponse) => {
      handle(request, response, secure).catch((error: unknown) => {
        if (!response.headersSent) response.statusCode = 500;
        response.end(JSON.stringify({ error: String(error) }));
      });
    };
  }

  async function handle(incoming: IncomingMessage, response: ServerResponse, secure: boolean): Promise<void> {
    const { method = '', url = '', headers } = incoming;
    const { localAddress = '', remoteAddress = '' } = incoming.socket;
    const entry: ProvisioningRequest = {
      ...{ at: Date.now(), method, url, secure, headers, body: '' },
      ...{ localAddress: plainAddress(localAddress), remoteAddress: plainAddress(remoteAddress) },
    };
    try {
      entry.body = await bodyOf(incoming);
    } catch {
      return; // The client went away before it had said all.
    }
    const claim = secure ? (incoming.socket as TLSSocket).getPeerX509Certificate() : undefined;
    const csr = await read(entry, server, claim);
    journal.add(entry);
    if (!('commonName' in csr)) {
      response.writeHead(csr.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: csr.error }));
      onRefused(entry, csr);
      return;
    }
    wellFormed += 1;
    const behaviour = server.behave(entry, wellFormed);
    let isCertified = false;
    await misbehave(response, behaviour, async () => {
      const right = await answer(entry, csr, behaviour);
      isCertified = true;
      return right;
    });
    const status = response.headersSent ? response.statusCode : undefined;
    if (!isCertified) onRefused(entry, { status });
  }

  async function answer(
    entry: ProvisioningRequest,
    request: SigningRequest,
    behaviour: ProvisioningBehaviour | undefined,
  ): Promise<Answer> {
    const { certificate = {}, answer: overrides } = typeof behaviour === 'object' ? behaviour : {};
    const { otherKey, otherAuthority, ...details } = certificate;
    const issuer = otherAuthority ?? authority;
    const publicKey = otherKey ? keyLike(request.publicKey) : request.publicKey;
    const { chain } = await issuer.issueClient({ request, publicKey, ...details });
    await onCertified?.(entry, chain);
    await authorise?.(entry.id ?? '', certificate.commonName ?? request.commonName);
    const right = {
      caCertificate: authority.pem,
      certificate: chain,
      fleetManagementNatsUrl: options.natsUrlAt?.(entry.localAddress) ?? server.natsUrl,
    };
    return { ...right, ...(typeof overrides === 'function' ? overrides(right) : overrides) };
  }

  return server;
}

interface Refusal {
  status: number;
  error: string;
}

/** Checks the request and completes its entry with what could be read of it. */
async function read(
  entry: ProvisioningRequest,
  { path, token, claimAuthority }: Provisioning,
  claim: X509Certificate | undefined,
): Promise<SigningRequest | Refusal> {
  const refuse = (status: number, error: string): Refusal => {
    entry.refused = error;
    return { status, error };
  };
  if (entry.url !== path) return refuse(404, `there is only ${path}`);
  if (entry.method !== 'POST') return refuse(405, 'only POST');
  if (token !== undefined && entry.headers.authorization !== `Bearer ${token}`)
    return refuse(401, 'no valid token');
  if (claimAuthority !== undefined && !claim?.verify(new X509Certificate(claimAuthority).publicKey))
    return refuse(403, 'no claim certificate');
  if (!/^application\/json\s*(;|$)/i.test(entry.headers['content-type'] ?? ''))
    return refuse(400, 'not JSON');
  if (entry.body.length > mostBytes) return refuse(413, 'too large');
  try {
    const json: unknown = JSON.parse(entry.body);
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      return refuse(400, 'no JSON object');
    entry.json = json as Record<string, unknown>;
    const { csr, swarm_id: swarm } = entry.json;
    if (typeof csr !== 'string') return refuse(400, 'csr is missing');
    if (swarm !== undefined && (typeof swarm !== 'string' || swarm === ''))
      return refuse(400, 'swarm_id is no text');
    const request = await readSigningRequest(csr);
    entry.csrSubject = request.commonName;
    entry.publicKeySha256 = request.publicKeySha256;
    entry.id = deviceIdOf(request.commonName);
    if (entry.id === '') return refuse(400, 'the common name is not that of a registration agent');
    return request;
  } catch (error) {
    return refuse(400, error instanceof Error ? error.message : String(error));
  }
}

/** What stands before `/registration_agent` in a common name; empty if it is not that of a device, or no plain text. */
export function deviceIdOf(commonName: string): string {
  return deviceId.exec(commonName)?.[1] ?? '';
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    bytes += (chunk as Buffer).length;
    if (bytes <= mostBytes + 1) chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Another public key of the same type, such as a mix-up at the server would certify. */
function keyLike(key: KeyObject): KeyObject {
  const { modulusLength = 2048, namedCurve = 'P-256' } = key.asymmetricKeyDetails ?? {};
  return key.asymmetricKeyType === 'rsa'
    ? generateKeyPairSync('rsa', { modulusLength }).publicKey
    : generateKeyPairSync('ec', { namedCurve }).publicKey;
}

/** An IPv4 address without the prefix that it has on a socket for both families. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:/, '');
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
