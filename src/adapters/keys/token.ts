import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type TokenSetting, tokenInWords } from '../../config/tokenUri.ts';
import { OnboardingError } from '../../errors/onboardingError.ts';
import type { Reason } from '../../errors/reasons.ts';
import type * as Part from '../../pkcs11/part.ts';

const reasonOfFault: Readonly<Record<Part.Fault, Reason>> = {
  module: 'token-module',
  missing: 'token-missing',
  pin: 'token-pin',
  engine: 'token-engine',
  failed: 'token-failed',
};

/**
 * The token of a setting. Its part of the program is loaded with its first use, so that no other device pays for it.
 *
 * @returns methods that throw {OnboardingError} STATE_UNWRITABLE; permanent is only a PIN that is wrong
 */
export function tokenOf(
  setting: TokenSetting,
  load: () => Pick<typeof Part, 'openToken'> = loadPart,
): Part.Token {
  let opened: Part.Token | null = null;
  const name = tokenInWords(setting);
  const attempt = <T>(call: (token: Part.Token) => T): T => {
    try {
      opened ??= load().openToken(setting);
      return call(opened);
    } catch (error) {
      throw failureOf(error, name);
    }
  };
  const waited = async <T>(call: (token: Part.Token) => Promise<T>): Promise<T> => {
    try {
      return await attempt(call);
    } catch (error) {
      throw failureOf(error, name);
    }
  };
  return {
    serial: () => attempt((token) => token.serial()),
    find: (label) => attempt((token) => token.find(label)),
    holds: (label) => attempt((token) => token.holds(label)),
    generate: (label, type) => waited((token) => token.generate(label, type)),
    relabel: (id, label) => attempt((token) => token.relabel(id, label)),
    destroy: (label) => attempt((token) => token.destroy(label)),
    sign: (id, data) => waited((token) => token.sign(id, data)),
    tls: (id) => attempt((token) => token.tls(id)),
  };
}

function failureOf(cause: unknown, name: string): unknown {
  const { fault, message } = (cause ?? {}) as { fault?: Part.Fault; message?: string };
  if (cause instanceof OnboardingError || fault === undefined) return cause;
  const reason = reasonOfFault[fault];
  // Each further try of a wrong PIN may lock the token.
  const options = { cause, reason, ...(fault === 'pin' && { class: 'permanent' as const }) };
  return new OnboardingError(
    'STATE_UNWRITABLE',
    fault === 'module' ? `${message}` : `${name} ${message}`,
    options,
  );
}

/** Beside the program: /usr/lib/onboardd/pkcs11 of the package, dist/pkcs11 of a checkout. */
function places(): string[] {
  const packaged = join(dirname(process.execPath), '../lib/onboardd/pkcs11');
  try {
    return [packaged, join(dirname(realpathSync(process.argv[1] ?? '')), 'pkcs11')];
  } catch {
    // A single executable: its second argument is whatever it was called by.
    return [packaged];
  }
}

/** @throws {OnboardingError} STATE_UNWRITABLE: it is not installed, or not for this machine */
function loadPart(): typeof Part {
  let failure: unknown;
  for (const place of places()) {
    const file = join(place, 'part.cjs');
    try {
      return createRequire(file)(file) as typeof Part;
    } catch (error) {
      const isAbsent =
        (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' && `${error}`.includes(file);
      if (!isAbsent) failure = error;
    }
  }
  const said =
    failure === undefined ? 'is not installed' : `cannot be loaded: ${String(failure).split('\n')[0]}`;
  throw new OnboardingError(
    'STATE_UNWRITABLE',
    `the package onboardd-pkcs11, for keys in hardware, ${said}`,
    {
      cause: failure,
      reason: 'token-module',
    },
  );
}
