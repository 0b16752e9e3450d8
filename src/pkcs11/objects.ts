import { createPublicKey } from 'node:crypto';
import type { Attribute, Handle } from 'pkcs11js';
import { resultOf, TokenFault } from './fault.ts';
import { flag, type Session } from './session.ts';

/** A pair of keys in the token: both halves are there. */
export interface Pair {
  readonly privateKey: Handle;
  readonly publicKey: Handle;
  readonly id: Buffer;
}

/** What is known of a public key. */
export interface PublicKey {
  /** SubjectPublicKeyInfo, DER */
  readonly spki: Buffer;
  /** Null: RSA */
  readonly curve: 'P-256' | 'P-384' | null;
}

const mostObjects = 64;
export const curves = { '06082a8648ce3d030107': 'P-256', '06052b81040022': 'P-384' } as const;

export function findObjects({ api, handle }: Session, template: readonly Attribute[]): Handle[] {
  api.C_FindObjectsInit(handle, template);
  try {
    return api.C_FindObjects(handle, mostObjects);
  } finally {
    api.C_FindObjectsFinal(handle);
  }
}

/** Private keys of this label. */
export function privateKeys(session: Session, label: string): Handle[] {
  return findObjects(session, [
    { type: flag('CKA_CLASS'), value: flag('CKO_PRIVATE_KEY') },
    { type: flag('CKA_LABEL'), value: label },
  ]);
}

/** Private keys of this id, whatever their label. */
export function privateKeysOf(session: Session, id: Buffer): Handle[] {
  return findObjects(session, [
    { type: flag('CKA_CLASS'), value: flag('CKO_PRIVATE_KEY') },
    { type: flag('CKA_ID'), value: id },
  ]);
}

export function publicKeys(session: Session, by: Attribute): Handle[] {
  return findObjects(session, [{ type: flag('CKA_CLASS'), value: flag('CKO_PUBLIC_KEY') }, by]);
}

/**
 * What a kill left of a key while the token made it: SoftHSM, for one, gives an object its class before its label, its id and
 * the key itself. No program finds such an object by anything, nor can use it. One that has no class yet is no key; SoftHSM
 * destroys none of that sort.
 */
export function unfinishedKeys(session: Session): Handle[] {
  const nothing = ['CKA_LABEL', 'CKA_ID', 'CKA_MODULUS', 'CKA_EC_PARAMS'];
  return ['CKO_PRIVATE_KEY', 'CKO_PUBLIC_KEY']
    .flatMap((type) => findObjects(session, [{ type: flag('CKA_CLASS'), value: flag(type) }]))
    .filter((object) => nothing.every((name) => isAbsent(session, object, name)));
}

/** Empty, or not of this kind of object. Whatever else keeps it from being read says nothing. */
function isAbsent(session: Session, object: Handle, name: string): boolean {
  try {
    return attribute(session, object, name).length === 0;
  } catch (error) {
    return resultOf(error) === 'CKR_ATTRIBUTE_TYPE_INVALID';
  }
}

export function attribute({ api, handle }: Session, object: Handle, name: string): Buffer {
  const [found] = api.C_GetAttributeValue(handle, object, [{ type: flag(name) }]);
  return found?.value ?? Buffer.alloc(0);
}

/**
 * The pair of a label. What a kill left of one, half a pair, is none.
 *
 * @returns null: there is none
 * @throws {TokenFault} if there are several
 */
export function pairOf(session: Session, label: string): Pair | null {
  const pairs = privateKeys(session, label).flatMap((privateKey) => {
    const id = attribute(session, privateKey, 'CKA_ID');
    const [publicKey] = id.length === 0 ? [] : publicKeys(session, { type: flag('CKA_ID'), value: id });
    return publicKey === undefined ? [] : [{ privateKey, publicKey, id }];
  });
  if (pairs.length > 1) throw new TokenFault('failed', `holds several keys with the label "${label}"`);
  return pairs[0] ?? null;
}

/** The pair of an id. @throws {TokenFault} if there is none */
export function pairById(session: Session, id: Buffer): Pair {
  const [publicKey] = publicKeys(session, { type: flag('CKA_ID'), value: id });
  const [privateKey] = privateKeysOf(session, id);
  if (publicKey !== undefined && privateKey !== undefined) return { privateKey, publicKey, id };
  throw new TokenFault('failed', `no longer holds the key ${id.toString('hex')}`);
}

/** @throws {TokenFault} if it is a key that onboardd does not use */
export function readPublicKey(session: Session, publicKey: Handle): PublicKey {
  const type = attribute(session, publicKey, 'CKA_KEY_TYPE').readUInt32LE(0);
  if (type === flag('CKK_RSA')) {
    const [n, e] = ['CKA_MODULUS', 'CKA_PUBLIC_EXPONENT'].map((name) =>
      base64url(attribute(session, publicKey, name)),
    );
    return { spki: spkiOf({ kty: 'RSA', n, e }), curve: null };
  }
  const parameters = attribute(session, publicKey, 'CKA_EC_PARAMS').toString('hex');
  const curve = Object.entries(curves).find(([oid]) => oid === parameters)?.[1];
  if (type !== flag('CKK_EC') || curve === undefined)
    throw new TokenFault('failed', 'holds a key that is neither RSA nor EC of P-256 or P-384');
  const point = pointOf(attribute(session, publicKey, 'CKA_EC_POINT'));
  const half = (point.length - 1) / 2;
  const [x, y] = [point.subarray(1, 1 + half), point.subarray(1 + half)].map(base64url);
  return { spki: spkiOf({ kty: 'EC', crv: curve, x, y }), curve };
}

/** An uncompressed point, which the standard wraps in an OCTET STRING and some tokens do not. */
function pointOf(value: Buffer): Buffer {
  const isWrapped = value[0] === 0x04 && value[1] === value.length - 2 && value[2] === 0x04;
  return isWrapped ? value.subarray(2) : value;
}

function spkiOf(key: Record<string, string | undefined>): Buffer {
  return createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'der' });
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}
