import { withoutPin } from '../text/pin.ts';
import { catalogue, type ErrorClass, type ErrorCode } from './catalogue.ts';
import type { Reason } from './reasons.ts';

/** A failure with a code of the catalogue. `message` is one line for a person, bounded and free of secrets. */
export class OnboardingError extends Error {
  readonly code: ErrorCode;
  readonly class: ErrorClass;
  /** Finer than the code; null if the code says it all */
  readonly reason: Reason | null;
  /** How long the other side asked us to wait, in milliseconds. */
  readonly retryAfterMs: number | null;
  /** The device that it befell, if that was known before anything else was; null otherwise */
  readonly deviceId: string | null;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      cause?: unknown;
      class?: ErrorClass;
      reason?: Reason | null;
      retryAfterMs?: number | null;
      deviceId?: string | null;
    } = {},
  ) {
    super(excerpt(message, longestMessage), { cause: options.cause });
    this.name = 'OnboardingError';
    this.code = code;
    this.class = options.class ?? catalogue[code].class;
    this.reason = options.reason ?? onlyReason[code] ?? null;
    this.retryAfterMs = options.retryAfterMs ?? null;
    this.deviceId = options.deviceId ?? null;
  }

  /** @returns the same error, of a device that is known by now */
  of(deviceId: string): OnboardingError {
    const { code, message, cause, class: errorClass, reason, retryAfterMs } = this;
    return new OnboardingError(code, message, { cause, class: errorClass, reason, retryAfterMs, deviceId });
  }
}

/** Codes that have only one reason. */
const onlyReason: Partial<Readonly<Record<ErrorCode, Reason>>> = {
  PROVISIONING_TIMEOUT: 'timeout',
  NATS_NOT_SECURE: 'no-tls',
};

/** Limits of a whole message, and of foreign text in it; characters. */
const longestMessage = 1_000;
const longestForeign = 300;
const longestCode = 40;
/** How many addresses of one name a message lists */
const mostAddresses = 8;

/** Replaces the user information of every URL in a text, the PIN of a PKCS#11 URI, and anything that looks like a private key. Linear. */
export function redact(text: string): string {
  return withoutPin(text)
    .replace(
      /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g,
      '[private key]',
    )
    .replace(/[^\s"]+/g, withoutUserInformation);
}

/** From the first `//` to the last `@`: a password may hold both, and one word may hold several addresses. */
function withoutUserInformation(word: string): string {
  const start = word.indexOf('//') + 2;
  const end = word.lastIndexOf('@');
  return start < 2 || end < start ? word : `${word.slice(0, start)}***${word.slice(end)}`;
}

/**
 * Foreign text for a message: one line of at most `longest` characters, without control characters and secrets. It is
 * cut before any other step, so that its length costs nothing. The rest of a word behind `//` at the cut is masked: the
 * `@` that ends user information may be cut off.
 */
export function excerpt(text: string, longest: number = longestForeign): string {
  const isCut = text.length > longest;
  const line = (isCut ? text.slice(0, longest - 1) : text).replace(/[\s\p{Cc}]+/gu, ' ').trim();
  const safe = redact(isCut ? withoutOpenAddress(line) : line);
  if (!isCut && safe.length <= longest) return safe;
  // Drop half of a surrogate pair at the end.
  return `${safe.slice(0, longest - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

function withoutOpenAddress(line: string): string {
  const word = Math.max(line.lastIndexOf(' '), line.lastIndexOf('"')) + 1;
  const start = line.indexOf('//', word) + 2;
  return start < 2 ? line : `${line.slice(0, start)}***`;
}

/**
 * One line for a person from anything that was thrown: the message, and the code of a system error if the message lacks
 * it. Node reports several addresses of one name as an AggregateError without a message: each error is listed.
 */
export function describe(error: unknown): string {
  if (error instanceof OnboardingError) return error.message;
  if (!(error instanceof Error)) return excerpt(String(error));
  if (error instanceof AggregateError && error.errors.length > 0) {
    const each = error.errors.slice(0, mostAddresses).map(describeAddress).join('; ');
    return excerpt(error.message === '' ? each : `${error.message}: ${each}`);
  }
  const said = excerpt(error.message);
  const code = (error as NodeJS.ErrnoException).code;
  const isMissing = typeof code === 'string' && !error.message.includes(code);
  return (isMissing ? `${said} (${excerpt(code, longestCode)})` : said).trim() || error.name;
}

function describeAddress(error: unknown): string {
  const said = error instanceof AggregateError ? excerpt(error.message) : describe(error);
  const { address } = (error ?? {}) as { address?: unknown };
  return typeof address !== 'string' || said.includes(address) ? said : `${excerpt(address)}: ${said}`;
}
