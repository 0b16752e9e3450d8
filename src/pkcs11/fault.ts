/** What can be wrong with a token: its module, the token itself, its PIN, the TLS engine, or something it reports. */
export type Fault = 'module' | 'missing' | 'pin' | 'engine' | 'failed';

/** A failure of the token; the message follows the token's name and holds no PIN. */
export class TokenFault extends Error {
  readonly fault: Fault;

  constructor(fault: Fault, message: string, cause?: unknown) {
    super(message, { cause });
    this.fault = fault;
  }
}

/** CKR_… of an error of pkcs11js; empty for others */
export function resultOf(error: unknown): string {
  const text = error instanceof Error ? error.message : '';
  return /\bCKR_[A-Z0-9_]+/.exec(text)?.[0] ?? '';
}

const missing = new Set([
  'CKR_DEVICE_REMOVED',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_SLOT_ID_INVALID',
]);
/** Somebody is about to initialize it: no PIN was refused. */
export const withoutPin = 'CKR_USER_PIN_NOT_INITIALIZED';
const pin = /^CKR_(PIN_|USER_PIN_)/;

export function faultOf(error: unknown): TokenFault {
  if (error instanceof TokenFault) return error;
  const result = resultOf(error);
  const said = result === '' ? String(error instanceof Error ? error.message : error) : result;
  if (missing.has(result)) return new TokenFault('missing', `was removed (${result})`, error);
  if (result === withoutPin) return new TokenFault('missing', `has no user PIN yet (${result})`, error);
  if (pin.test(result)) return new TokenFault('pin', `refuses the PIN (${result})`, error);
  return new TokenFault('failed', `reports an error: ${said}`, error);
}
