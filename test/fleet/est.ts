import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';

export interface EstServer {
  /** `https://127.0.0.1:port` */
  readonly url: string;
  /** PEM of the CA, which also signed the server's own certificate */
  readonly pem: string;
  readonly caFile: string;
  /** A server's certificate of the same CA */
  readonly web: { readonly chain: string; readonly key: string };
  /** The operations that were asked for, in order; `shown`: whether the client proved a certificate of this CA */
  readonly requests: {
    readonly operation: string;
    readonly shown: boolean;
    readonly authorization: string | null;
  }[];
  /** How long certificates live, seconds; settable */
  lifeSeconds: number;
  /** Answers this in place of a certificate; settable */
  instead: { status: number; headers?: Record<string, string>; body?: string } | undefined;
  stop(): Promise<void>;
}

/** An EST server (RFC 7030) whose CA is openssl(1): `cacerts`, `simpleenroll`, `simplereenroll`. */
export async function startEst(onIssued: (commonName: string) => Promise<void>): Promise<EstServer> {
  const dir = mkdtempSync(join(tmpdir(), 'est-'));
  const at = (name: string) => join(dir, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  writeFileSync(at('ca.cnf'), caConfig(dir));
  writeFileSync(at('index.txt'), '');
  openssl(
    'req',
    '-x509',
    ...ec,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '10',
    '-subj',
    '/CN=EST root',
  );
  openssl('req', ...ec, '-keyout', 'web.key', '-out', 'web.csr', '-subj', '/CN=localhost');
  const sign = (section: string, csr: string, out: string, seconds: number) => {
    const date = (ms: number) => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
    const dates = ['-startdate', date(Date.now() - 60_000), '-enddate', date(Date.now() + seconds * 1000)];
    openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      'ca.cnf',
      '-extensions',
      section,
      ...dates,
      '-in',
      csr,
      '-out',
      out,
    );
  };
  sign('server', 'web.csr', 'web.crt', 86_400);
  const packed = (file: string) =>
    openssl('crl2pkcs7', '-nocrl', '-certfile', file, '-outform', 'DER').toString('base64');
  const pem = readFileSync(at('ca.crt'), 'utf8');
  const web = { chain: readFileSync(at('web.crt'), 'utf8'), key: readFileSync(at('web.key'), 'utf8') };

  async function answer(
    incoming: IncomingMessage,
  ): Promise<{ status: number; headers?: object; body?: string }> {
    const operation = incoming.url?.replace('/.well-known/est/', '') ?? '';
    const peer = (incoming.socket as TLSSocket).getPeerX509Certificate();
    const shown = peer?.verify(new X509Certificate(pem).publicKey) ?? false;
    est.requests.push({ operation, shown, authorization: incoming.headers.authorization ?? null });
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const headers = { 'content-type': 'application/pkcs7-mime', 'content-transfer-encoding': 'base64' };
    if (operation === 'cacerts') return { status: 200, headers, body: packed('ca.crt') };
    if (incoming.headers['content-type'] !== 'application/pkcs10') return { status: 415 };
    if (operation === 'simplereenroll' && !shown) return { status: 403 };
    if (est.instead !== undefined) return est.instead;
    writeFileSync(at('device.der'), Buffer.from(Buffer.concat(chunks).toString(), 'base64'));
    openssl('req', '-inform', 'DER', '-in', 'device.der', '-verify', '-noout');
    openssl('req', '-inform', 'DER', '-in', 'device.der', '-out', 'device.csr');
    sign('device', 'device.csr', 'device.crt', est.lifeSeconds);
    const subject = new X509Certificate(readFileSync(at('device.crt'))).subject;
    await onIssued(subject.replace(/^CN=/, ''));
    return { status: 200, headers, body: packed('device.crt') };
  }

  const options = { cert: web.chain, key: web.key, requestCert: true, rejectUnauthorized: false };
  const server = createServer(options, (incoming, outgoing) => {
    answer(incoming).then(
      ({ status, headers = {}, body = '' }) => outgoing.writeHead(status, headers as never).end(body),
      (error: unknown) => outgoing.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const est: EstServer = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pem,
    caFile: at('ca.crt'),
    web,
    requests: [],
    lifeSeconds: 86_400,
    instead: undefined,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      rmSync(dir, { recursive: true });
    },
  };
  return est;
}

function caConfig(dir: string): string {
  return `[ca]
default_ca=own
[own]
new_certs_dir=${dir}
database=${join(dir, 'index.txt')}
certificate=${join(dir, 'ca.crt')}
private_key=${join(dir, 'ca.key')}
rand_serial=yes
unique_subject=no
default_md=sha256
policy=policy
preserve=yes
[policy]
commonName=supplied
[server]
basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1
authorityKeyIdentifier=keyid
[device]
basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
authorityKeyIdentifier=keyid
`;
}
