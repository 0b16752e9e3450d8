import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Attribute } from 'pkcs11js';
import type { GeneratedKeyType, TokenSetting } from '../config/tokenUri.ts';
import { type Fault, resultOf, TokenFault } from './fault.ts';
import {
  attribute,
  curves,
  type Pair,
  type PublicKey,
  pairById,
  pairOf,
  privateKeys,
  privateKeysOf,
  publicKeys,
  readPublicKey,
  unfinishedKeys,
} from './objects.ts';
import { flag, pinOf, type Session, sessionsOf } from './session.ts';

/**
 * The optional part for keys in hardware: bundled by itself, with pkcs11js beside it, and loaded only by a device whose
 * `identity.keyType` is a `pkcs11:` URI. Its errors are `TokenFault`s; nothing of the program is loaded twice for it.
 */
export type { Fault };

/** A key that its token never gives away. */
export interface TokenKey {
  /** CKA_ID, hex: it stays, whatever the label */
  readonly id: string;
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Buffer;
  readonly curve: PublicKey['curve'];
}

/** One token. Every method throws a `TokenFault`. */
export interface Token {
  /** Its serial number */
  serial(): string;
  /** @returns null if it holds no whole pair of this label */
  find(label: string): TokenKey | null;
  /** Whether it holds anything of this label, be it half a pair */
  holds(label: string): boolean;
  /** Makes a pair that cannot be exported, with a random id. */
  generate(label: string, type: GeneratedKeyType): Promise<TokenKey>;
  relabel(id: string, label: string): void;
  /** Destroys what there is of this label. */
  destroy(label: string): void;
  /** @returns the signature over data, with SHA-512: of RSA PKCS#1 v1.5, of ECDSA r and s side by side */
  sign(id: string, data: Buffer): Promise<Buffer>;
  /** For `tls.createSecureContext()`. The identifier holds the PIN. */
  tls(id: string): { readonly privateKeyEngine: string; readonly privateKeyIdentifier: string };
}

/** Makes no call yet. */
export function openToken(setting: TokenSetting): Token {
  const sessions = sessionsOf(setting);
  const { use, useOwn } = sessions;
  const probed = new Set<string>();
  return {
    serial: () => use(({ token }) => token.serialNumber.trim()),
    find: (label) => use((session) => found(session, pairOf(session, label))),
    holds: (label) => use((session) => objectsOf(session, label).length > 0),
    generate: (label, type) => useOwn((session) => generate(session, label, type)),
    relabel: (id, label) => use((session) => relabel(session, Buffer.from(id, 'hex'), label)),
    destroy: (label) =>
      use((session) => {
        for (const object of objectsOf(session, label)) session.api.C_DestroyObject(session.handle, object);
      }),
    sign: (id, data) => useOwn((session) => sign(session, Buffer.from(id, 'hex'), data)),
    tls(id) {
      // Logged in, and the key there: OpenSSL would not say which of it is not so.
      use((session) => pairById(session, Buffer.from(id, 'hex')));
      sessions.share();
      const identity = engineOf(setting, id);
      if (!probed.has(id)) probe(identity);
      probed.add(id);
      return identity;
    },
  };
}

function found(session: Session, pair: Pair | null): TokenKey | null {
  return pair && { id: pair.id.toString('hex'), ...readPublicKey(session, pair.publicKey) };
}

/**
 * The private key of each pair before the public one: half a pair is no key, and is tidied up by its label. A public key
 * of this label whose private key has another one is of that other key: a kill stopped `relabel` between the halves.
 */
function objectsOf(session: Session, label: string): Buffer[] {
  const own = privateKeys(session, label);
  const ids = own.map((key) => attribute(session, key, 'CKA_ID')).filter(({ length }) => length > 0);
  const others = ids.flatMap((id) => publicKeys(session, { type: flag('CKA_ID'), value: id }));
  const halves = publicKeys(session, { type: flag('CKA_LABEL'), value: label }).filter((half) => {
    const id = attribute(session, half, 'CKA_ID');
    return id.length === 0 || privateKeysOf(session, id).length === 0;
  });
  return [...own, ...others, ...halves];
}

/** The private key's label counts, and comes last. */
function relabel(session: Session, id: Buffer, label: string): void {
  const { publicKey, privateKey } = pairById(session, id);
  const { api, handle } = session;
  for (const object of [publicKey, privateKey])
    api.C_SetAttributeValue(handle, object, [{ type: flag('CKA_LABEL'), value: label }]);
}

/** As far as the token lets it: what stays there is in nobody's way. */
function destroyUnfinished(session: Session): void {
  try {
    for (const object of unfinishedKeys(session)) session.api.C_DestroyObject(session.handle, object);
  } catch (error) {
    if (resultOf(error) === '') throw error;
  }
}

async function generate(session: Session, label: string, type: GeneratedKeyType): Promise<TokenKey> {
  const { api, handle } = session;
  destroyUnfinished(session);
  const id = randomBytes(16);
  const [family, size] = type.split('-');
  const common: Attribute[] = [
    { type: flag('CKA_TOKEN'), value: true },
    { type: flag('CKA_ID'), value: id },
    { type: flag('CKA_LABEL'), value: label },
  ];
  const isRsa = family === 'rsa';
  const shape: Attribute[] = isRsa
    ? [
        { type: flag('CKA_MODULUS_BITS'), value: Number(size) },
        { type: flag('CKA_PUBLIC_EXPONENT'), value: Buffer.from([1, 0, 1]) },
      ]
    : [{ type: flag('CKA_EC_PARAMS'), value: parametersOf(size === 'p256' ? 'P-256' : 'P-384') }];
  const made = await api.C_GenerateKeyPairAsync(
    handle,
    { mechanism: flag(isRsa ? 'CKM_RSA_PKCS_KEY_PAIR_GEN' : 'CKM_EC_KEY_PAIR_GEN') },
    [...common, ...shape, { type: flag('CKA_VERIFY'), value: true }],
    [
      ...common,
      { type: flag('CKA_PRIVATE'), value: true },
      { type: flag('CKA_SENSITIVE'), value: true },
      { type: flag('CKA_EXTRACTABLE'), value: false },
      { type: flag('CKA_SIGN'), value: true },
    ],
  );
  const isKept = attribute(session, made.privateKey, 'CKA_EXTRACTABLE')[0] === 0;
  if (!isKept) {
    for (const object of [made.privateKey, made.publicKey]) api.C_DestroyObject(handle, object);
    throw new TokenFault('failed', 'makes keys that can be exported');
  }
  return { id: id.toString('hex'), ...readPublicKey(session, made.publicKey) };
}

function parametersOf(curve: PublicKey['curve']): Buffer {
  const [oid = ''] = Object.entries(curves).find(([, name]) => name === curve) ?? [];
  return Buffer.from(oid, 'hex');
}

/** DigestInfo of SHA-512 (RFC 8017, 9.2), up to the digest */
const digestInfo = Buffer.from('3051300d060960864801650304020305000440', 'hex');
const largestSignature = 1024;

/** Tokens that know no SHA-512, as TPMs, sign what is hashed here; of ECDSA the leftmost bits count (FIPS 186-5, 6.4.1). */
async function sign(session: Session, id: Buffer, data: Buffer): Promise<Buffer> {
  const { api, handle } = session;
  const { privateKey, publicKey } = pairById(session, id);
  const { curve } = readPublicKey(session, publicKey);
  const digest = createHash('sha512').update(data).digest();
  const mechanism = flag(curve === null ? 'CKM_RSA_PKCS' : 'CKM_ECDSA');
  api.C_SignInit(handle, { mechanism }, privateKey);
  const signed =
    curve === null ? Buffer.concat([digestInfo, digest]) : digest.subarray(0, curve === 'P-256' ? 32 : 48);
  return await api.C_SignAsync(handle, signed, Buffer.alloc(largestSignature));
}

/** Where distributions install libengine-pkcs11-openssl, the OpenSSL of Node.js being of version 3. */
const engines = [
  ...['x86_64-linux-gnu', 'aarch64-linux-gnu', 'arm-linux-gnueabihf', 'riscv64-linux-gnu'].map(
    (triplet) => `/usr/lib/${triplet}/engines-3/pkcs11.so`,
  ),
  '/usr/lib64/engines-3/pkcs11.so',
  '/usr/lib/engines-3/pkcs11.so',
];

/**
 * OpenSSL finds the engine by its name in a folder of the environment: then it is loaded once. Loaded by its path, as Node
 * would, a second time fails.
 */
function engineOf(setting: TokenSetting, id: string): ReturnType<Token['tls']> {
  const path = setting.enginePath ?? engines.find((each) => existsSync(each));
  if (path === undefined || !existsSync(path))
    throw new TokenFault('engine', "cannot be used for TLS: OpenSSL's engine for PKCS#11 is not installed");
  process.env.OPENSSL_ENGINES = dirname(path);
  // The engine has no other way to be told.
  process.env.PKCS11_MODULE_PATH = setting.modulePath;
  const { label: token, ...others } = setting.token;
  const names = Object.entries({ token, ...others }).flatMap(([name, value]) =>
    value === null ? [] : [`${name}=${encoded(value)}`],
  );
  const octets = id.replace(/../g, '%$&');
  const pin = setting.pin === null ? '' : `?pin-value=${encoded(pinOf(setting))}`;
  return {
    privateKeyEngine: 'pkcs11',
    privateKeyIdentifier: `pkcs11:${[...names, `id=${octets}`, 'type=private'].join(';')}${pin}`,
  };
}

/** Loads the engine, which would otherwise fail as if a certificate were at fault. @throws {TokenFault} */
function probe(identity: ReturnType<Token['tls']>): void {
  try {
    createSecureContext(identity);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new TokenFault(
      'engine',
      `cannot be used for TLS: OpenSSL's engine for PKCS#11 fails: ${said}`,
      error,
    );
  }
}

function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
}
