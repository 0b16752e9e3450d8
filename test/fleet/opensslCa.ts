import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type OpensslKey =
  | 'rsa-1024'
  | 'rsa-2048'
  | 'P-256'
  | 'P-384'
  | 'P-521'
  | 'secp256k1'
  | 'ed25519'
  /** Public keys alone: one takes minutes to make, the other is none that openssl(1) makes. */
  | 'rsa-16384'
  | 'rsa-exponent-1';

export interface OpensslCertificate {
  readonly pem: string;
  readonly file: string;
  readonly keyFile: string;
}

export interface OpensslRequest {
  /** As `-subj` takes it; or a PEM of a CSR, whose subject and key are then used */
  subject?: string;
  csr?: string;
  /** Name of the key, made by `key()` */
  key?: string;
  /** null: self-signed */
  issuer?: OpensslCertificate | null;
  /** Lines of an extension section; none: a version 1 certificate */
  extensions?: string[];
  /** null: the key type's own */
  digest?: string | null;
  /** `-sigopt` */
  options?: string[];
  days?: number;
  /** Begins so many milliseconds from now, instead of now */
  startsInMs?: number;
  printable?: boolean;
}

/** Keys and certificates as anybody makes them with openssl(1), sound or not. All files lie in `folder`. */
export function opensslCa(folder: string) {
  const at = (name: string) => join(folder, name);
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  for (const [name, mask] of [
    ['utf8.cnf', 'utf8only'],
    ['printable.cnf', 'default'],
  ] as const) {
    const ca = [
      '[ca]',
      `new_certs_dir=${folder}`,
      `database=${at('index.txt')}`,
      'rand_serial=yes',
      'unique_subject=no',
    ];
    const policy = ['policy=policy', 'preserve=yes', '[policy]', 'commonName=supplied'];
    const request = ['[req]', 'distinguished_name=dn', `string_mask=${mask}`, '[dn]'];
    writeFileSync(at(name), `${[...request, ...ca, ...policy].join('\n')}\n`);
  }
  writeFileSync(at('index.txt'), '');
  const [, major = '3', minor = '0'] = /OpenSSL (\d+)\.(\d+)/.exec(run('version').toString()) ?? [];
  // From 3.4 on version 1 has to be asked for.
  const version1 = Number(major) > 3 || Number(minor) >= 4 ? ['-x509v1'] : [];
  let count = 0;

  function key(name: string, type: OpensslKey): string {
    const [family = '', size = ''] = type.split('-');
    const options = {
      rsa: ['-algorithm', 'RSA', '-pkeyopt', `rsa_keygen_bits:${size}`],
      P: ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${type}`],
      secp256k1: ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${type}`],
      ed25519: ['-algorithm', 'ED25519'],
    }[family];
    if (type === 'rsa-16384' || type === 'rsa-exponent-1') {
      const n = Buffer.alloc(type === 'rsa-16384' ? 2048 : 256, 0xa5).toString('base64url');
      const e = type === 'rsa-16384' ? 'AQAB' : 'AQ';
      const publicKey = createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
      writeFileSync(at(`${name}.pub`), publicKey.export({ type: 'spki', format: 'pem' }));
    } else run('genpkey', ...(options ?? []), '-out', at(`${name}.key`));
    return name;
  }

  /** @param publicKey name of another key that takes the place of the request's */
  function issue(
    {
      subject = '/CN=CA',
      csr,
      key = '',
      issuer = null,
      extensions = [],
      digest = 'sha256',
      options = [],
      days = 30,
      startsInMs,
      printable = false,
    }: OpensslRequest,
    publicKey?: string,
  ): OpensslCertificate {
    const id = `c${++count}`;
    const [file, request, section] = [at(`${id}.pem`), at(`${id}.csr`), at(`${id}.ext`)];
    const keyFile = at(`${key}.key`);
    const config = ['-config', at(printable ? 'printable.cnf' : 'utf8.cnf')];
    const padding = options.flatMap((option) => ['-sigopt', option]);
    const flags = [...(digest === null ? [] : [`-${digest}`]), ...padding];
    const signer = issuer ? ['-CA', issuer.file, '-CAkey', issuer.keyFile] : [];
    if (extensions.length === 0 && csr === undefined) {
      run(
        ...['req', '-x509', ...version1, ...config, '-key', keyFile, '-subj', subject],
        ...[...signer, ...flags, '-days', String(days), '-out', file],
      );
    } else {
      if (csr === undefined)
        run('req', '-new', ...config, '-key', keyFile, '-subj', subject, '-out', request);
      else writeFileSync(request, csr);
      writeFileSync(section, `[x]\n${extensions.join('\n')}\n`);
      const ext = extensions.length === 0 ? [] : ['-extfile', section, '-extensions', 'x'];
      const files = ['-in', request, '-out', file];
      if (startsInMs === undefined) {
        const forced = publicKey === undefined ? [] : ['-force_pubkey', at(`${publicKey}.pub`)];
        const by = issuer ? [...signer, '-set_serial', String(1000 + count)] : ['-signkey', keyFile];
        run('x509', '-req', ...files, '-days', String(days), ...ext, ...forced, ...flags, ...by);
      } else {
        const time = (ms: number) => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
        const start = Date.now() + startsInMs;
        const dates = ['-startdate', time(start), '-enddate', time(start + days * 86_400_000)];
        const by = ['-cert', issuer?.file ?? '', '-keyfile', issuer?.keyFile ?? ''];
        const quiet = ['-name', 'ca', '-batch', '-notext', '-md', digest ?? 'default'];
        run('ca', ...config, ...quiet, ...files, ...dates, ...ext, ...by);
      }
    }
    return { pem: readFileSync(file, 'utf8'), file, keyFile };
  }

  return { key, issue, keyPem: (name: string) => readFileSync(at(`${name}.key`), 'utf8') };
}
