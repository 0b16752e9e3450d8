import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import * as realPki from '../../../../src/adapters/pki.ts';
import {
  acceptCertificate,
  type Certificate,
  type CertificateVerifier,
  type Expectation,
  isFleetCa,
} from '../../../../src/services/onboarding/acceptCertificate.ts';
import type { OpensslCertificate, OpensslRequest } from '../../../fleet/opensslCa.ts';
import * as pki from '../../../simulation/pki.ts';
import { certificateMaker } from '../../../support/certificateMaker.ts';

const now = Date.UTC(2026, 10, 23);
const day = 86_400_000;
const subject = '/fleet/d1/agent';
const fields = { key: 'k1', issuer: 'root', authority: false, serial: 1, subject };
const root = { key: 'root', issuer: 'root', authority: true, serial: 0, subject: 'root' };
const caCertificate = pki.certificatePem({ ...root, notBefore: 0, notAfter: now + 9999 * day });
const nothingPinned = { trusted: null, fleetCa: null, renews: null };
const { signal } = new AbortController();

/** What becomes of a certificate, by the code; null: accepted. */
async function codeOf(life: { notBefore: number; notAfter: number }, here: number, server: number | null) {
  const certificate = pki.certificatePem({ ...fields, ...life });
  const expected = {
    key: pki.keyPem('k1'),
    spkiSha256: 'k1',
    deviceId: 'd1',
    commonName: subject,
    ...nothingPinned,
  };
  const times = { now: here, serverTime: server };
  try {
    await acceptCertificate(pki, { certificate, caCertificate }, { ...expected, ...times }, signal);
    return null;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const valid = { notBefore: now - day, notAfter: now + day };
const expired = { notBefore: now - 20 * day, notAfter: now - day };
test.each<[string, typeof valid, number, number | null, string | null]>([
  ['valid by both clocks', valid, now, now, null],
  ['valid by both, though the clocks disagree', valid, now - 3_600_000, now, null],
  ['valid by the server’s clock alone', valid, now - 5 * day, now, 'CLOCK_WRONG'],
  ['expired, and made valid by a clock that is behind', expired, now - 5 * day, now, 'CLOCK_WRONG'],
  ['expired by both', expired, now, now, 'CERTIFICATE_EXPIRED'],
  ['expired, and the server tells no time', expired, now, null, 'CERTIFICATE_EXPIRED'],
])('a certificate %s', async (_, life, here, server, code) => {
  expect(await codeOf(life, here, server)).toBe(code);
});

const folder = mkdtempSync(join(tmpdir(), 'onboardd-acceptance-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const ca = certificateMaker(folder);
const id = '9000f4db6a8645c7a5445cb56ac3ce22';
const fullName = `/Finland~Solita/fleet/${id}/registration_agent`;

const ecKeys = ['P-256', 'P-384', 'P-521'] as const;
for (const type of ecKeys) ca.key(type, type);
ca.key('device', 'rsa-2048');
ca.key('root', 'rsa-2048');
for (const name of ['middle', 'lower', 'other', 'bomb']) ca.key(name, 'P-256');
ca.key('weak', 'rsa-1024');
ca.key('huge', 'rsa-16384');
ca.key('unsound', 'rsa-exponent-1');
ca.key('koblitz', 'secp256k1');
ca.key('edwards', 'ed25519');
const csr = await realPki.certificateRequest(ca.keyPem('device'), fullName);

const authority = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
const client = ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=clientAuth'];
const constraint = 'nameConstraints=critical,permitted;DNS:fleet.example';
const any = 'basicConstraints=CA:FALSE';

type Made = OpensslCertificate;
const makeRoot = (more: OpensslRequest = {}) =>
  ca.issue({ subject: '/O=fleet/CN=root', key: 'root', extensions: authority, days: 3650, ...more });
const makeCa = (issuer: Made | null, name: string, more: OpensslRequest = {}) =>
  ca.issue({ subject: `/CN=${name}`, key: name, issuer, extensions: authority, days: 3650, ...more });
/** Of the fleet's long common name, which openssl(1) takes from a request alone. */
const makeLeaf = (issuer: Made, more: OpensslRequest = {}) =>
  ca.issue({ csr, key: 'device', issuer, extensions: client, ...more });
const named = (issuer: Made, commonName: string, more: OpensslRequest = {}) => {
  const subject = `/CN=${commonName.replaceAll('/', '\\/')}`;
  return ca.issue({ subject, key: 'device', issuer, extensions: client, ...more });
};
const pems = (...certificates: Made[]) => certificates.map(({ pem }) => pem).join('');

const main = makeRoot();
const middle = makeCa(main, 'middle');
const lower = makeCa(middle, 'lower');
const stranger = makeCa(null, 'other');
const sound = makeLeaf(main);
const fingerprintOf = ({ pem }: Made) => realPki.parseCertificates(pem)[0]?.fingerprint ?? '';

interface Given extends Partial<Omit<Expectation, 'trusted'>> {
  readonly certificate: string;
  readonly caCertificate: string;
  /** Name of the device's key */
  readonly key?: string;
  readonly trusted?: Made | string;
  readonly laterMs?: number;
}

async function accept(
  { certificate, caCertificate, key = 'device', trusted, laterMs = 0, ...more }: Given,
  verifier: CertificateVerifier = realPki,
) {
  const keyPem = ca.keyPem(key);
  const expected: Expectation = {
    ...{ key: keyPem, spkiSha256: realPki.spkiSha256Of(keyPem), deviceId: id, commonName: fullName },
    ...{ now: Date.now() + laterMs, serverTime: null, ...nothingPinned },
    ...{ ...more, trusted: typeof trusted === 'object' ? trusted.pem : (trusted ?? null) },
  };
  return acceptCertificate(verifier, { certificate, caCertificate }, expected, signal);
}

async function verdictOn(given: Given): Promise<string> {
  try {
    await accept(given);
    return 'accepted';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

const of = (leaf: Made, ...rest: Made[]) => ({
  under: (...anchors: Made[]): Given => ({
    certificate: pems(leaf, ...rest),
    caCertificate: pems(...anchors),
  }),
});
const withNames = (names: string) => ({ extensions: [...client, `subjectAltName=${names}`] });

const accepted = 'accepted';
const untrusted = 'CERTIFICATE_UNTRUSTED';
const wrong = 'CERTIFICATE_WRONG_DEVICE';
const invalid = 'PROVISIONING_ANSWER_INVALID';
type Row = [sentence: string, verdict: string, given: () => Given];

/** A root and a leaf of its, each with something of its own. */
const pair =
  (leaf: OpensslRequest, anchor: OpensslRequest = {}) =>
  () => {
    const made = Object.keys(anchor).length === 0 ? main : makeRoot(anchor);
    return of(makeLeaf(made, leaf)).under(made);
  };
const throughCa =
  (more: OpensslRequest, anchor: OpensslRequest = {}) =>
  () => {
    const top = makeRoot(anchor);
    const between = makeCa(top, 'middle', more);
    return of(makeLeaf(between), between).under(top);
  };

const keys: Row[] = [
  ['a leaf with an RSA key and a name of 73 characters', accepted, () => of(sound).under(main)],
  ...ecKeys.map(
    (type): Row => [
      `a leaf with a ${type} key`,
      accepted,
      () => ({ ...of(named(main, id, { key: type })).under(main), key: type }),
    ],
  ),
  ...ecKeys.map(
    (type): Row => [
      `a root with a ${type} key`,
      accepted,
      () => {
        const digest = { 'P-256': 'sha256', 'P-384': 'sha384', 'P-521': 'sha512' }[type];
        const top = makeCa(null, type, { digest });
        return of(makeLeaf(top, { digest })).under(top);
      },
    ],
  ),
  ['a root with an RSA key of 1024 bits', untrusted, pair({}, { key: 'weak' })],
  ['an intermediate with an RSA key of 1024 bits', untrusted, throughCa({ key: 'weak' })],
  [
    'a leaf with an RSA key of 1024 bits',
    untrusted,
    () => ({ ...of(named(main, id, { key: 'weak' })).under(main), key: 'weak' }),
  ],
  ['a root with a key on the curve secp256k1', untrusted, pair({}, { key: 'koblitz' })],
  ['a root with an Ed25519 key', accepted, pair({ digest: null }, { key: 'edwards', digest: null })],
];

const signatures: Row[] = [
  ['a leaf signed with SHA-384', accepted, pair({ digest: 'sha384' })],
  ['a leaf signed with SHA-512', accepted, pair({ digest: 'sha512' })],
  [
    'a leaf signed with RSA-PSS and SHA-256',
    accepted,
    pair({ options: ['rsa_padding_mode:pss', 'rsa_pss_saltlen:32'] }),
  ],
  [
    'a leaf signed with RSA-PSS and a salt of another length than the digest',
    untrusted,
    pair({ options: ['rsa_padding_mode:pss', 'rsa_pss_saltlen:20'] }),
  ],
  [
    'a leaf signed with RSA-PSS and another digest for the mask',
    untrusted,
    pair({ options: ['rsa_padding_mode:pss', 'rsa_mgf1_md:sha1', 'rsa_pss_saltlen:32'] }),
  ],
  [
    'a leaf signed with RSA-PSS and SHA-1',
    untrusted,
    pair({ digest: 'sha1', options: ['rsa_padding_mode:pss', 'rsa_pss_saltlen:20'] }),
  ],
  ['a leaf signed with SHA-1', untrusted, pair({ digest: 'sha1' })],
  ['a leaf signed with MD5', untrusted, pair({ digest: 'md5' })],
  ['an intermediate signed with SHA-1', untrusted, throughCa({ digest: 'sha1' })],
  ['a root whose own signature is of SHA-1', accepted, pair({}, { digest: 'sha1' })],
  [
    'a leaf that another CA of the same name signed',
    untrusted,
    () => of(makeLeaf(makeRoot({ key: 'other' }))).under(main),
  ],
];

const paths: Row[] = [
  ['a chain of two', accepted, () => of(makeLeaf(middle), middle).under(main)],
  ['a chain of three', accepted, () => of(makeLeaf(lower), lower, middle).under(main)],
  ['a chain of three in the wrong order', accepted, () => of(makeLeaf(lower), middle, lower).under(main)],
  ['a chain that begins with its CAs', accepted, () => of(lower, middle, makeLeaf(lower)).under(main)],
  ['a chain that ends with its root', accepted, () => of(makeLeaf(middle), middle, main).under(main)],
  ['a chain of three that lacks one', untrusted, () => of(makeLeaf(lower), lower).under(main)],
  ['an intermediate alone as the CA', accepted, () => of(makeLeaf(middle)).under(middle)],
  ['the CA of another fleet', untrusted, () => of(sound).under(stranger)],
  [
    'an intermediate that two roots signed, of which one is known',
    accepted,
    () => of(makeLeaf(middle), makeCa(stranger, 'middle'), middle).under(main),
  ],
  [
    'two paths, of which the first breaks its root’s path length',
    accepted,
    () => {
      const strict = makeCa(null, 'other', { extensions: ['basicConstraints=CA:TRUE,pathlen:0'] });
      return of(makeLeaf(middle), makeCa(strict, 'middle'), middle).under(strict, main);
    },
  ],
  [
    'two paths, of which the first breaks name constraints, as OpenSSL alone sees',
    accepted,
    () => {
      const extensions = [...authority, constraint];
      const strict = makeCa(null, 'other', { extensions });
      const leaf = makeLeaf(middle, withNames(`DNS:${id}.elsewhere.example`));
      return of(leaf, makeCa(strict, 'middle'), middle).under(strict, main);
    },
  ],
];

const authorities: Row[] = [
  ['a root without a key usage', accepted, pair({}, { extensions: ['basicConstraints=CA:TRUE'] })],
  ['an intermediate without a key usage', accepted, throughCa({ extensions: ['basicConstraints=CA:TRUE'] })],
  ['a root that is no CA', untrusted, pair({}, { extensions: [any] })],
  [
    'a root of version 3 without basic constraints',
    untrusted,
    pair({}, { extensions: ['subjectKeyIdentifier=hash'] }),
  ],
  ['an intermediate that is no CA', untrusted, throughCa({ extensions: [any] })],
  [
    'an intermediate without basic constraints',
    untrusted,
    throughCa({ extensions: ['keyUsage=keyCertSign'] }),
  ],
  [
    'a root whose key usage lacks keyCertSign',
    untrusted,
    pair({}, { extensions: ['basicConstraints=CA:TRUE', 'keyUsage=digitalSignature'] }),
  ],
  [
    'an intermediate whose key usage lacks keyCertSign',
    untrusted,
    throughCa({ extensions: ['basicConstraints=CA:TRUE', 'keyUsage=cRLSign'] }),
  ],
  [
    'an intermediate for TLS servers alone',
    untrusted,
    throughCa({ extensions: [...authority, 'extendedKeyUsage=serverAuth'] }),
  ],
  [
    'a root for TLS servers alone',
    untrusted,
    pair({}, { extensions: [...authority, 'extendedKeyUsage=serverAuth'] }),
  ],
  [
    'an intermediate for TLS clients alone',
    accepted,
    throughCa({ extensions: [...authority, 'extendedKeyUsage=clientAuth'] }),
  ],
  ['a root of version 1, as the first', accepted, pair({}, { extensions: [] })],
  ['an intermediate of version 1', untrusted, throughCa({ extensions: [] })],
  [
    'a CA of version 1 that another signed',
    untrusted,
    () => {
      const old = makeCa(main, 'middle', { extensions: [] });
      return of(makeLeaf(old)).under(old);
    },
  ],
  [
    'a path length of one with one CA below',
    accepted,
    throughCa({}, { extensions: ['basicConstraints=CA:TRUE,pathlen:1'] }),
  ],
  [
    'a path length of none with one CA below',
    untrusted,
    throughCa({}, { extensions: ['basicConstraints=CA:TRUE,pathlen:0'] }),
  ],
  [
    'a path length of none with a CA’s new certificate for itself below',
    accepted,
    () => {
      const top = makeRoot({ extensions: ['basicConstraints=CA:TRUE,pathlen:0'] });
      const next = makeRoot({ issuer: top, key: 'middle' });
      return of(makeLeaf(next), next).under(top);
    },
  ],
  [
    'an unknown critical extension in the root',
    untrusted,
    pair({}, { extensions: [...authority, '1.2.3.4=critical,ASN1:NULL'] }),
  ],
  [
    'an unknown critical extension in an intermediate',
    untrusted,
    throughCa({ extensions: [...authority, '1.2.3.4=critical,ASN1:NULL'] }),
  ],
];

const leaves: Row[] = [
  ['a leaf of version 1', accepted, () => of(named(main, id, { extensions: [] })).under(main)],
  ['a leaf for anything, without usages', accepted, pair({ extensions: [any] })],
  [
    'a leaf for TLS clients and servers',
    accepted,
    pair({ extensions: ['extendedKeyUsage=serverAuth,clientAuth'] }),
  ],
  ['a leaf for TLS servers alone', wrong, pair({ extensions: ['extendedKeyUsage=serverAuth'] })],
  [
    'a leaf for any extended usage, which OpenSSL does not take for a client’s',
    wrong,
    pair({ extensions: ['extendedKeyUsage=anyExtendedKeyUsage'] }),
  ],
  [
    'a leaf whose key usage lacks digitalSignature',
    wrong,
    pair({ extensions: ['keyUsage=keyEncipherment,keyAgreement'] }),
  ],
  ['a leaf that is a CA', wrong, pair({ extensions: ['basicConstraints=CA:TRUE'] })],
  [
    'a leaf with an unknown critical extension',
    untrusted,
    pair({ extensions: [...client, '1.2.3.4=critical,ASN1:NULL'] }),
  ],
  [
    'a leaf with an unknown extension that is not critical',
    accepted,
    pair({ extensions: [...client, '1.2.3.4=ASN1:NULL'] }),
  ],
  [
    'the device’s own leaf as its CA',
    untrusted,
    () => {
      const self = ca.issue({
        csr,
        key: 'device',
        extensions: [...authority, 'extendedKeyUsage=clientAuth'],
      });
      return of(self).under(self);
    },
  ],
  ['a leaf that is its own CA beside the true one', untrusted, () => of(sound).under(main, sound)],
  ['a leaf for another key', 'CERTIFICATE_KEY_MISMATCH', () => ({ ...of(sound).under(main), key: 'P-256' })],
];

const constrained = () => makeRoot({ extensions: [...authority, constraint] });
const leafOf = (top: Made, host: string, more: OpensslRequest = {}) =>
  of(named(top, id, { ...withNames(`DNS:${host}`), ...more })).under(top);
const names: Row[] = [
  [
    'a host name within the root’s name constraints',
    accepted,
    () => leafOf(constrained(), `${id}.fleet.example`),
  ],
  [
    'a host name outside the root’s name constraints',
    untrusted,
    () => leafOf(constrained(), `${id}.evil.example`),
  ],
  [
    'a host name outside them, in a leaf that starts in 30 s',
    untrusted,
    () => leafOf(constrained(), `${id}.evil.example`, { startsInMs: 30_000 }),
  ],
  ['the id as its whole name', accepted, () => of(named(main, id)).under(main)],
  ['the newer short name', accepted, () => of(named(main, `${id}/registration_agent`)).under(main)],
  [
    'the name that was asked for, cut behind the id',
    accepted,
    () => of(named(main, `/Finland~Solita/fleet/${id}`)).under(main),
  ],
  ['a name in a PrintableString', accepted, () => of(named(main, id, { printable: true })).under(main)],
  ['the id as one word of its name', wrong, () => of(named(main, `keeper of ${id}`)).under(main)],
  ['the id as one segment of another name', wrong, () => of(named(main, `other/${id}/admin`)).under(main)],
  [
    'another device’s name',
    wrong,
    () => of(named(main, `${id.replace('9', '8')}/registration_agent`)).under(main),
  ],
  [
    'the id in an e-mail address',
    wrong,
    () => of(named(main, 'device', withNames(`email:${id}@fleet.example`))).under(main),
  ],
  [
    'the id as the first label of a host name',
    accepted,
    () => of(named(main, 'device', withNames(`DNS:${id}.fleet.example`))).under(main),
  ],
  [
    'no subject, and the id as the first label of a host name',
    accepted,
    () => {
      const extensions = [...client, `subjectAltName=critical,DNS:${id}.fleet.example`];
      return of(ca.issue({ subject: '/', key: 'device', issuer: main, extensions })).under(main);
    },
  ],
  [
    'the id as another label of a host name',
    wrong,
    () => of(named(main, 'device', withNames(`DNS:admin.${id}.example`))).under(main),
  ],
  [
    'the id at the end of a URI',
    accepted,
    () => of(named(main, 'device', withNames(`URI:spiffe://fleet.example/device/${id}`))).under(main),
  ],
  [
    'the id amid a URI',
    wrong,
    () => of(named(main, 'device', withNames(`URI:spiffe://fleet.example/${id}/admin`))).under(main),
  ],
];

/** A certificate of these days from now. */
const issued = (from: number, to: number) => ({
  notBefore: new Date(Date.now() + from * day),
  notAfter: new Date(Date.now() + to * day),
});
const dates: Row[] = [
  ['a leaf that starts in 30 s', accepted, () => of(named(main, id, { startsInMs: 30_000 })).under(main)],
  [
    'a leaf that starts in 30 s, of version 3 and for servers',
    wrong,
    () =>
      of(named(main, id, { startsInMs: 30_000, extensions: ['extendedKeyUsage=serverAuth'] })).under(main),
  ],
  [
    'a leaf that starts in an hour',
    'CERTIFICATE_NOT_YET_VALID',
    () => of(named(main, id, { startsInMs: 3_600_000 })).under(main),
  ],
  ['a leaf that has expired', 'CERTIFICATE_EXPIRED', () => ({ ...of(sound).under(main), laterMs: 40 * day })],
  [
    'an intermediate that has expired',
    'CERTIFICATE_EXPIRED',
    () => ({ ...throughCa({ days: 3 })(), laterMs: 4 * day }),
  ],
  ['a leaf of 99 years', accepted, pair({ days: 36_135 })],
  ['a leaf of 1,000 years', wrong, pair({ days: 365_250 })],
  ['a renewal that ends later', accepted, () => ({ ...of(sound).under(main), renews: issued(0, 1) })],
  [
    'a renewal that was issued later and ends earlier, as from a CA that shortens its lives',
    accepted,
    () => ({ ...of(sound).under(main), renews: issued(-300, 300) }),
  ],
  [
    'a renewal that was issued earlier and ends earlier',
    'CERTIFICATE_EXPIRED',
    () => ({ ...of(sound).under(main), renews: issued(1, 300) }),
  ],
  [
    'a renewal that is the old certificate',
    'CERTIFICATE_EXPIRED',
    () => ({ ...of(sound).under(main), renews: realPki.parseCertificates(sound.pem)[0] ?? null }),
  ],
];

const version1 = () => makeRoot({ extensions: [] });
const pins: Row[] = [
  ['the CA that is trusted', accepted, () => ({ ...of(sound).under(main), trusted: main })],
  [
    'the CA that is trusted, issued again for the same key',
    accepted,
    () => ({ ...of(sound).under(makeRoot({ days: 7300 })), trusted: main }),
  ],
  [
    'an intermediate that is trusted alone, issued again by its root with other dates',
    accepted,
    () => ({ ...of(makeLeaf(middle)).under(makeCa(main, 'middle', { days: 7300 })), trusted: middle }),
  ],
  [
    'an intermediate that is trusted alone, issued again without its path length',
    untrusted,
    () => ({
      ...of(makeLeaf(middle)).under(makeCa(main, 'middle')),
      trusted: makeCa(main, 'middle', {
        extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign'],
      }),
    }),
  ],
  ['another CA than is trusted', untrusted, () => ({ ...of(sound).under(main), trusted: stranger })],
  [
    'another CA beside the trusted one',
    untrusted,
    () => ({ ...of(sound).under(main, stranger), trusted: main }),
  ],
  [
    'another CA of the trusted one’s name',
    untrusted,
    () => ({ ...of(sound).under(main), trusted: makeRoot({ key: 'other' }) }),
  ],
  [
    'a CA that the trusted one signed',
    accepted,
    () => ({ ...of(makeLeaf(middle)).under(middle), trusted: main }),
  ],
  [
    'a CA that a trusted root of version 1 signed',
    accepted,
    () => {
      const old = version1();
      const next = makeCa(old, 'middle');
      return { ...of(makeLeaf(next)).under(next), trusted: old };
    },
  ],
  [
    'a CA that the trusted one signed with SHA-1',
    untrusted,
    () => {
      const next = makeCa(main, 'middle', { digest: 'sha1' });
      return { ...of(makeLeaf(next)).under(next), trusted: main };
    },
  ],
  [
    'a CA that the trusted one signed and may not',
    untrusted,
    () => {
      const strict = makeRoot({ extensions: ['basicConstraints=CA:TRUE,pathlen:0'] });
      return { ...of(makeLeaf(middle)).under(middle), trusted: strict };
    },
  ],
  [
    'a leaf of the trusted CA’s in place of a CA',
    untrusted,
    () => {
      const neighbour = named(main, 'neighbour', { key: 'other' });
      return { ...of(makeLeaf(neighbour)).under(neighbour), trusted: main };
    },
  ],
  [
    'a root of version 1 that is trusted',
    accepted,
    () => {
      const old = version1();
      return { ...of(makeLeaf(old)).under(old), trusted: old };
    },
  ],
  [
    'a root of version 1 in place of the trusted CA',
    untrusted,
    () => {
      const old = version1();
      return { ...of(makeLeaf(old)).under(old), trusted: stranger };
    },
  ],
  [
    'a certificate of version 1 that the trusted CA signed, as the next CA',
    untrusted,
    () => {
      const old = makeCa(main, 'middle', { extensions: [] });
      return { ...of(makeLeaf(old)).under(old), trusted: main };
    },
  ],
  [
    'the CA that is pinned, whatever is trusted',
    accepted,
    () => ({ ...of(sound).under(main), fleetCa: [fingerprintOf(main)], trusted: stranger }),
  ],
  [
    'the CA that is trusted and not pinned',
    untrusted,
    () => ({ ...of(sound).under(main), fleetCa: [fingerprintOf(stranger)], trusted: main }),
  ],
  [
    'another CA beside the pinned one',
    untrusted,
    () => ({ ...of(sound).under(main, stranger), fleetCa: [fingerprintOf(main)] }),
  ],
];

const texts: Row[] = [
  ['nine certificates in one field', invalid, () => of(sound).under(...Array<Made>(9).fill(main))],
  ['eight copies of one CA', accepted, () => of(sound).under(...Array<Made>(8).fill(main))],
  [
    'a text of megabytes',
    invalid,
    () => ({ ...of(sound).under(main), certificate: sound.pem + ' '.repeat(2 ** 21) }),
  ],
  [
    'a certificate of 20 kB',
    invalid,
    pair({ extensions: [...client, `1.2.3.4=ASN1:UTF8:${'x'.repeat(20_000)}`] }),
  ],
  [
    'a certificate that was cut',
    invalid,
    () => ({ ...of(sound).under(main), certificate: sound.pem.replace(/\n.{64}\n/, '\n') }),
  ],
];

test.each([
  ...keys,
  ...signatures,
  ...paths,
  ...authorities,
  ...leaves,
  ...names,
  ...dates,
  ...pins,
  ...texts,
])('%s: %s', async (_, verdict, given) => {
  expect(await verdictOn(given())).toBe(verdict);
});

const chain = pems(makeLeaf(middle), middle);
test.each([
  ['without a line break between the blocks', (pem: string) => pem.replaceAll('-----\n-----', '----------')],
  ['with a block that begins in mid-line', (pem: string) => `CA: ${pem}`],
  ['without a final newline', (pem: string) => pem.trimEnd()],
  ['with CRLF', (pem: string) => pem.replaceAll('\n', '\r\n')],
  [
    'with text around the blocks',
    (pem: string) => `Bag Attributes\n\n${pem.replace(/(?<=-)\n-/, '\nsubject=/CN=x\n-')}end`,
  ],
  ['on one line each', (pem: string) => pem.replace(/(?<=[^-])\n(?=[^-])/g, '')],
  ['with every block twice', (pem: string) => pem.repeat(2)],
  ['as it should be', (pem: string) => pem],
])('PEM %s is kept in its canonical form', async (_, distort) => {
  const given = { certificate: distort(chain), caCertificate: distort(main.pem) };
  expect(await accept(given)).toMatchObject({ certificate: chain, caCertificate: main.pem });
});

test('certificates of one name cost at most 32 signature checks', async () => {
  const shared = { subject: '/CN=bomb', extensions: authority };
  const top = ca.issue({ ...shared, key: 'bomb' });
  const signers = Array.from({ length: 7 }, () => ca.issue({ ...shared, key: 'bomb', issuer: top }));
  const strangers = Array.from({ length: 8 }, () => ca.issue({ ...shared, key: 'other' }));
  const { counting, checks } = countSignatureChecks();
  const bomb = of(makeLeaf(top), ...signers).under(...strangers);
  await expect(accept(bomb, counting)).rejects.toMatchObject({
    code: invalid,
    message: expect.stringContaining('32 signature checks'),
  });
  expect(checks()).toBe(32);
});

test.each([
  ['huge', /RSA key of 16384 bits/],
  ['unsound', /unsound public exponent/],
])('a CA key that is %s is refused before it is used', async (name, reason) => {
  const request = { subject: '/CN=middle', key: 'middle', issuer: main, extensions: authority };
  const costly = ca.issue(request, name);
  const { counting, checks } = countSignatureChecks();
  await expect(accept(of(makeLeaf(middle)).under(costly), counting)).rejects.toThrow(reason);
  expect(checks()).toBe(0);
  await expect(accept(of(makeLeaf(middle), costly).under(main), counting)).rejects.toThrow(reason);
  expect(checks()).toBe(0);
});

function countSignatureChecks() {
  let checks = 0;
  const isSignedBy: typeof realPki.isSignedBy = (certificate, issuer) => {
    checks++;
    return realPki.isSignedBy(certificate, issuer);
  };
  return { counting: { ...realPki, isSignedBy }, checks: () => checks };
}

test('the device’s own certificate comes first, wherever it stands in the answer', async () => {
  const leaf = makeLeaf(lower);
  const { certificate } = await accept(of(lower, middle, leaf).under(main));
  expect(certificate).toBe((await accept(of(leaf, lower, middle).under(main))).certificate);
});

test('a subject of thousands of characters does not fill the log', async () => {
  const units = Array.from({ length: 100 }, (_, index) => `/OU=${String(index).padStart(60, 'u')}`).join('');
  const leaf = ca.issue({ subject: `${units}/CN=x`, key: 'device', issuer: main, extensions: client });
  const error = await accept(of(leaf).under(main)).catch((reason: Error) => reason);
  expect(error).toMatchObject({ code: wrong });
  expect((error as Error).message.length).toBeLessThan(500);
});

test('a CA that is not pinned is named by its fingerprint', async () => {
  const given = { ...of(sound).under(main), fleetCa: [fingerprintOf(stranger)] };
  await expect(accept(given)).rejects.toThrow(fingerprintOf(main));
});

test('a certificate that a renewal brings again is called a replay', async () => {
  const given = { ...of(sound).under(main), renews: realPki.parseCertificates(sound.pem)[0] ?? null };
  await expect(accept(given)).rejects.toThrow(/replays an old certificate/);
});

test.each<[string, () => Made[], RegExp]>([
  [
    'a key usage of servers',
    () => [makeLeaf(main, { extensions: ['extendedKeyUsage=serverAuth'] }), main],
    /INVALID_PURPOSE/,
  ],
  ['an intermediate that is no CA', () => chainThrough({ extensions: [any] }), /INVALID_(CA|PURPOSE)/],
  [
    'a path length',
    () => chainThrough({}, { extensions: ['basicConstraints=CA:TRUE,pathlen:0'] }),
    /PATH_LENGTH/,
  ],
  ['a signature with SHA-1', () => chainThrough({ digest: 'sha1' }), /ca md too weak|no code of its own/],
  [
    'an intermediate with a short key',
    () => chainThrough({ key: 'weak' }),
    /key too small|no code of its own/,
  ],
  [
    'name constraints',
    () => {
      const strict = makeRoot({ extensions: [...authority, constraint] });
      return [named(strict, id, withNames('DNS:evil.example')), strict];
    },
    /name constraints/,
  ],
])('OpenSSL itself refuses %s', async (_, path, reason) => {
  const certificates = realPki.parseCertificates(pems(...path()));
  expect(await realPki.verifyAsTlsClient(certificates, ca.keyPem('device'), signal)).toMatch(reason);
});

function chainThrough(more: OpensslRequest, anchor: OpensslRequest = {}): Made[] {
  const top = makeRoot(anchor);
  const between = makeCa(top, 'middle', more);
  return [makeLeaf(between), between, top];
}

test('OpenSSL itself refuses a key that is not the certificate’s', async () => {
  const path = realPki.parseCertificates(pems(sound, main));
  expect(await realPki.verifyAsTlsClient(path, ca.keyPem('device'), signal)).toBeNull();
  expect(await realPki.verifyAsTlsClient(path, ca.keyPem('P-256'), signal)).not.toBeNull();
});

test('a verification that is aborted ends with the reason and leaves no timer behind', async () => {
  const path = realPki.parseCertificates(pems(sound, main));
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const abort = new AbortController();
  const verifying = realPki.verifyAsTlsClient(path, ca.keyPem('device'), abort.signal);
  abort.abort(new Error('enough'));
  await expect(verifying).rejects.toThrow('enough');
  await expect(realPki.verifyAsTlsClient(path, ca.keyPem('device'), abort.signal)).rejects.toThrow('enough');
  expect(timers()).toBeLessThanOrEqual(before);
});

test('a verification without a verdict is tried again', async () => {
  const silent = { ...realPki, verifyAsTlsClient: () => Promise.reject(new Error('no verdict')) };
  await expect(accept(of(sound).under(main), silent)).rejects.toMatchObject({
    code: untrusted,
    class: 'transient',
  });
});

const serverTime = (offsetMs: number): Partial<Given> => ({ serverTime: Date.now() + offsetMs });
test.each<[string, () => Given, RegExp]>([
  ['a leaf for another key', () => ({ ...of(sound).under(main), key: 'P-256' }), /another key/],
  ['a leaf that is its own CA', () => of(sound).under(main, sound), /CN=.* own key/],
  ['a short key', pair({}, { key: 'weak' }), /CN=root.* RSA key of 1024 bits/],
  ['a root that is no CA', pair({}, { extensions: [any] }), /CN=root.* basic constraints/],
  [
    'a root that may not sign',
    pair({}, { extensions: ['basicConstraints=CA:TRUE', 'keyUsage=digitalSignature'] }),
    /CN=root.* key usage/,
  ],
  ['a signature with SHA-1', pair({ digest: 'sha1' }), /SHA-1/],
  [
    'an unknown critical extension',
    pair({}, { extensions: [...authority, '1.2.3.4=critical,ASN1:NULL'] }),
    /CN=root.* 1\.2\.3\.4/,
  ],
  [
    'a CA for servers',
    throughCa({ extensions: [...authority, 'extendedKeyUsage=serverAuth'] }),
    /CN=middle.* extended key usage/,
  ],
  [
    'a path that is too long',
    throughCa({}, { extensions: ['basicConstraints=CA:TRUE,pathlen:0'] }),
    /CN=root.* 0 CAs .* 1$/,
  ],
  ['a CA of another fleet', () => of(sound).under(stranger), /registration_agent.* chain to CN=other$/],
  [
    'a chain through what is no CA',
    throughCa({ extensions: [any] }),
    /chain to .*CN=root.*; CN=middle.* basic constraints/,
  ],
  [
    'what only OpenSSL refuses',
    () => leafOf(constrained(), `${id}.evil.example`),
    /OpenSSL .*name constraints/,
  ],
  ['a leaf that is a CA', pair({ extensions: ['basicConstraints=CA:TRUE'] }), /is a CA/],
  ['a leaf that may not sign', pair({ extensions: ['keyUsage=keyAgreement'] }), /key usage/],
  ['a leaf for servers', pair({ extensions: ['extendedKeyUsage=serverAuth'] }), /TLS client/],
  ['a leaf for too long', pair({ days: 365_250 }), /100 years/],
  ['a leaf of another name', () => of(named(main, 'x')).under(main), /CN=x .*CN=\/Finland~Solita\/fleet/],
  [
    'a replay',
    () => {
      const renews = { notBefore: new Date(), notAfter: new Date(8.64e15) };
      return { ...of(sound).under(main), renews };
    },
    /replays .* \d{4}-\d\d-\S+Z.* \+275760-09-13/,
  ],
  [
    'an expired leaf',
    () => ({ ...of(sound).under(main), laterMs: 40 * day }),
    /valid from \d{4}-\S+Z to \d{4}-\S+Z$/,
  ],
  [
    'a clock that is behind',
    () => ({ ...of(sound).under(main), laterMs: -9 * day, ...serverTime(0) }),
    /clock says \d{4}-\S+Z, 9 d behind the server's/,
  ],
  [
    'a clock that is ahead',
    () => ({ ...of(sound).under(main), laterMs: 40 * day, ...serverTime(0) }),
    /, 40 d ahead of the server's/,
  ],
  [
    'another CA than is trusted',
    () => ({ ...of(sound).under(main), trusted: stranger }),
    /another CA, .*root/,
  ],
  ['a CA of the state that is unreadable', () => ({ ...of(sound).under(main), trusted: 'x' }), /CA .* state/],
  [
    'an unreadable certificate',
    () => ({ ...of(sound).under(main), certificate: 'x' }),
    /certificate is not a readable certificate: ./,
  ],
  [
    'an unreadable CA',
    () => ({ ...of(sound).under(main), caCertificate: 'x' }),
    /caCertificate is not a readable certificate: ./,
  ],
])('the refusal of %s says why', async (_, given, reason) => {
  await expect(accept(given())).rejects.toThrow(reason);
});

test('a CA is of the fleet if the configuration names each of its certificates, or none at all', () => {
  const both = pems(main, stranger);
  expect(isFleetCa(realPki, both, null)).toBe(true);
  expect(isFleetCa(realPki, both, [fingerprintOf(main), fingerprintOf(stranger)])).toBe(true);
  expect(isFleetCa(realPki, both, [fingerprintOf(main)])).toBe(false);
  expect(isFleetCa(realPki, 'x', [fingerprintOf(main)])).toBe(false);
});

test('clocks that differ by a minute agree, and a certificate may start within that minute', async () => {
  const at = (notBefore: number, here: number, server: number | null) =>
    codeOf({ notBefore, notAfter: now + day }, here, server);
  expect(await at(now + 60_000, now, null)).toBeNull();
  expect(await at(now + 60_001, now, null)).toBe('CERTIFICATE_NOT_YET_VALID');
  expect(await at(now + 60_001, now, now + 60_000)).toBe('CERTIFICATE_NOT_YET_VALID');
  expect(await at(now + 60_001, now, now + 60_001)).toBe('CLOCK_WRONG');
  expect(await codeOf({ notBefore: 0, notAfter: now }, now, null)).toBeNull();
  expect(await codeOf({ notBefore: 0, notAfter: now - 1 }, now, null)).toBe('CERTIFICATE_EXPIRED');
});

test('OpenSSL judges at most four paths', async () => {
  let verdicts = 0;
  const refusing = {
    ...realPki,
    verifyAsTlsClient: () => {
      verdicts++;
      return Promise.resolve('refused');
    },
  };
  const others = Array.from({ length: 5 }, () => makeCa(main, 'middle'));
  await expect(accept(of(makeLeaf(middle), ...others).under(main), refusing)).rejects.toThrow('refused');
  expect(verdicts).toBe(4);
});

test('a verification that is aborted ends the acceptance with the reason', async () => {
  const abort = new AbortController();
  const aborting = {
    ...realPki,
    verifyAsTlsClient: () => {
      abort.abort(new Error('enough'));
      return Promise.reject(new Error('no verdict'));
    },
  };
  const expected: Expectation = {
    ...{ key: ca.keyPem('device'), spkiSha256: realPki.spkiSha256Of(ca.keyPem('device')) },
    ...{ deviceId: id, commonName: fullName, now: Date.now(), serverTime: null, ...nothingPinned },
  };
  const answer = { certificate: sound.pem, caCertificate: main.pem };
  await expect(acceptCertificate(aborting, answer, expected, abort.signal)).rejects.toThrow('enough');
});

/** Facts of certificates without cryptography: `signedBy` names fingerprints. */
interface Facts extends Certificate {
  readonly signedBy: readonly string[];
}
const plainCertificate = (fingerprint: string, changes: Partial<Facts> = {}): Facts => ({
  ...{ pem: '', fingerprint, serial: '1', subject: fingerprint, subjectName: 'root', issuerName: 'root' },
  ...{ commonNames: [], dnsNames: [], uris: [], version: 3 },
  ...{ notBefore: new Date(now - day), notAfter: new Date(now + day) },
  ...{ spkiSha256: 'root key', keyFault: null, signatureFault: null },
  ...{ basicConstraints: { isAuthority: true, pathLength: null }, keyUsage: null, isForClients: true },
  ...{ extensionsSha256: 'e', unknownCriticalExtensions: [], signedBy: [] },
  ...changes,
});
const pinned = plainCertificate('pinned', { signedBy: ['pinned'] });
const successor = { subjectName: 'next', issuerName: 'root', spkiSha256: 'next key', signedBy: ['pinned'] };

/** Whether an answer with this CA is accepted, if `pinned` is. */
async function verdictOnCa(anchor: Facts, known: Facts | null = pinned, leafChanges: Partial<Facts> = {}) {
  const leafFacts = plainCertificate('leaf', {
    ...{ subjectName: 'leaf', issuerName: anchor.subjectName, spkiSha256: 'device key' },
    ...{ commonNames: ['fleet/d1'], basicConstraints: null, signedBy: [anchor.fingerprint] },
    ...leafChanges,
  });
  const certificates: Record<string, Facts | null> = { leaf: leafFacts, anchor, pinned: known };
  const verifier: CertificateVerifier = {
    parseCertificates: (pem) => [certificates[pem] as Facts],
    isSignedBy: (certificate, { fingerprint }) => (certificate as Facts).signedBy.includes(fingerprint),
    verifyAsTlsClient: async () => null,
  };
  const expected = {
    ...{ key: '', spkiSha256: 'device key', deviceId: 'd1', commonName: 'fleet/d1' },
    ...{ now, serverTime: null, ...nothingPinned, trusted: known && 'pinned' },
  };
  const answer = { certificate: 'leaf', caCertificate: 'anchor' };
  return acceptCertificate(verifier, answer, expected, signal).then(
    () => accepted,
    ({ code }: { code: string }) => code,
  );
}

test.each<[string, Partial<Facts>, string]>([
  ['issued anew for the same key and name', {}, accepted],
  ['of another name', { subjectName: 'other' }, 'CERTIFICATE_UNTRUSTED'],
  ['of another issuer', { issuerName: 'other' }, 'CERTIFICATE_UNTRUSTED'],
  ['of another version', { version: 1, signedBy: ['anchor'] }, 'CERTIFICATE_UNTRUSTED'],
  ['with other extensions', { extensionsSha256: 'f' }, 'CERTIFICATE_UNTRUSTED'],
  [
    'with other extensions, signed by the pinned one',
    { extensionsSha256: 'f', signedBy: ['pinned'] },
    accepted,
  ],
  ['with a weak signature', { signatureFault: 'SHA-1' }, 'CERTIFICATE_UNTRUSTED'],
  ['that the pinned one signed', successor, accepted],
  ['that nobody signed', { ...successor, signedBy: [] }, 'CERTIFICATE_UNTRUSTED'],
  [
    'of version 1 that the pinned one signed',
    { ...successor, version: 1, issuerName: 'next', signedBy: ['anchor', 'pinned'] },
    'CERTIFICATE_UNTRUSTED',
  ],
  [
    'with an unknown critical extension that the pinned one signed',
    { ...successor, unknownCriticalExtensions: ['1.2.3'] },
    'CERTIFICATE_UNTRUSTED',
  ],
  [
    'with a weak signature of the pinned one',
    { ...successor, signatureFault: 'MD5' },
    'CERTIFICATE_UNTRUSTED',
  ],
])('in place of the pinned CA, a CA %s: %#', async (_, changes, verdict) => {
  expect(await verdictOnCa(plainCertificate('anchor', changes))).toBe(verdict);
});

test('the pinned CA itself is accepted, whatever its own signature is', async () => {
  const weak = { ...pinned, signatureFault: 'SHA-1' };
  expect(await verdictOnCa(weak, weak)).toBe(accepted);
});

test('a certificate of version 1 is a CA only if it signed itself', async () => {
  const old = (signedBy: string[]) => plainCertificate('anchor', { version: 1, signedBy });
  expect(await verdictOnCa(old(['anchor']), null)).toBe(accepted);
  expect(await verdictOnCa(old([]), null)).toBe('CERTIFICATE_UNTRUSTED');
});

test.each([
  // A hundred years of 365.25 days, dated back by an hour.
  [36_525 * day + 3_600_000, accepted],
  [36_600 * day, accepted],
  [36_600 * day + 1000, 'CERTIFICATE_WRONG_DEVICE'],
])('a life of %i ms is %s', async (lifeMs, verdict) => {
  const notBefore = new Date(now);
  const life = { notBefore, notAfter: new Date(now + lifeMs) };
  expect(await verdictOnCa(pinned, pinned, life)).toBe(verdict);
});

test.each<[Partial<Facts>, string]>([
  [{ commonNames: ['fleet/d1'] }, accepted],
  [{ commonNames: ['d1'] }, accepted],
  [{ commonNames: ['d1/registration_agent'] }, accepted],
  [{ commonNames: ['other', 'd1'] }, accepted],
  [{ commonNames: ['fleet'] }, 'CERTIFICATE_WRONG_DEVICE'],
  [{ commonNames: [''] }, 'CERTIFICATE_WRONG_DEVICE'],
  [{ commonNames: [], uris: ['spiffe://fleet/d1'] }, accepted],
  [{ commonNames: [], uris: ['not a URI', 'spiffe://fleet/d1/registration_agent'] }, accepted],
  [{ commonNames: [], uris: ['not a URI'] }, 'CERTIFICATE_WRONG_DEVICE'],
  [{ commonNames: [], uris: ['spiffe://fleet/d1/x'] }, 'CERTIFICATE_WRONG_DEVICE'],
  [{ commonNames: [], dnsNames: ['D1.fleet'] }, accepted],
  [{ commonNames: [], dnsNames: ['xd1.fleet'] }, 'CERTIFICATE_WRONG_DEVICE'],
])('the names %j of a certificate for fleet/d1: %s', async (names, verdict) => {
  expect(await verdictOnCa(pinned, pinned, names)).toBe(verdict);
});
