import { OnboardingError } from '../../errors/onboardingError.ts';
import type { Token, TokenKey } from '../../pkcs11/part.ts';

/**
 * A private key as the services hand it on: PEM, or for one that its token never gives away, a PKCS#11 URI (RFC 7512) of
 * its id. OpenSSL's engine and the module are there once in a process, and so is the token.
 */
const scheme = 'pkcs11:';
/** By their references; what is known of a key never changes. */
const known = new Map<string, { readonly token: Token; readonly key: TokenKey }>();

export type TlsKey = { readonly key: string } | ReturnType<Token['tls']>;

export function isInToken(key: string): boolean {
  return key.startsWith(scheme);
}

export function referenceTo(token: Token, key: TokenKey): string {
  const reference = `${scheme}serial=${encodeURIComponent(token.serial())};id=${key.id.replace(/../g, '%$&')};type=private`;
  known.set(reference, { token, key });
  return reference;
}

/** @throws {OnboardingError} STATE_CORRUPT: nothing of this process made it */
export function keyOf(reference: string): TokenKey {
  return found(reference).key;
}

/** See `Token.sign`. @throws {OnboardingError} STATE_UNWRITABLE */
export function signWith(reference: string, data: Buffer): Promise<Buffer> {
  const { token, key } = found(reference);
  return token.sign(key.id, data);
}

/** The key among the options of TLS. @throws {OnboardingError} STATE_UNWRITABLE: the token or its key is away */
export function tlsKey(key: string): TlsKey {
  if (!isInToken(key)) return { key };
  const { token, key: ofToken } = found(key);
  return token.tls(ofToken.id);
}

function found(reference: string) {
  const entry = known.get(reference);
  if (entry === undefined)
    throw new OnboardingError('STATE_CORRUPT', 'the key is of a token that is not open');
  return entry;
}
