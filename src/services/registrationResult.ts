import { OnboardingError } from '../errors.ts';

/** A message of the fleet, as a session hands it on. */
export interface Message {
  /** The payload as text; null where it is no UTF-8 */
  readonly text: string | null;
  /** Header `ID` */
  readonly id: string | null;
  /** Header `timestamp` */
  readonly timestamp: string | null;
  /** When the stream stored it, milliseconds since 1970; null for a live message */
  readonly storedAt: number | null;
  /** The server's own status (`503`: nobody listens); null for a message of a person or program */
  readonly status: number | null;
}

export type Result =
  | { readonly kind: 'success'; readonly alias: string | null; readonly text: string }
  | { readonly kind: 'failure'; readonly error: string };

/** Fields that either API may carry, at the top or under `payload` (protocol.md, part 3). */
const textFields = ['alias', 'token', 'configuration', 'utmClientSecret', 'rabbitMqSecret'] as const;
const longestResult = 4 * 1024 * 1024;
const longestError = 300;

/**
 * Reads a registration result of either API. Liberal in what may be missing, strict in what says `registered`:
 * `status` is `success`, or there is no `status` and one of the fields of the discontinued API is there.
 *
 * @throws {OnboardingError} REGISTRATION_ANSWER_INVALID
 */
export function readResult(text: string | null): Result {
  if (text === null || text.length > longestResult) throw invalid('is no text, or too long');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid('is no JSON', cause);
  }
  if (!isRecord(json)) throw invalid('is no JSON object');
  const { status, error } = json;
  if (status === 'failure' || (status === undefined && typeof error === 'string')) {
    return { kind: 'failure', error: oneLine(error) };
  }
  if (status !== undefined && status !== 'success') throw invalid('has an unknown status');
  const found = textFields.filter((name) => resultField(json, name) !== undefined);
  // Without a status the fields alone say that this is a result; with one, whatever arrives is kept.
  if (status === undefined) {
    if (found.length === 0) throw invalid('has neither a status nor a field of a result');
    if (found.some((name) => typeof resultField(json, name) !== 'string'))
      throw invalid('has a field of a wrong type');
  }
  const alias = resultField(json, 'alias');
  return { kind: 'success', alias: typeof alias === 'string' && alias !== '' ? alias : null, text };
}

/** The fleet's word for an id that it knows already. */
export function isAlreadyRegistered(error: string): boolean {
  return /already\s+(been\s+)?registered/i.test(error);
}

/** A field of a result: in the answer itself, or under `payload`. Null counts as absent. */
export function resultField(result: unknown, name: string): unknown {
  if (!isRecord(result)) return undefined;
  const own = Object.hasOwn(result, name) ? result[name] : undefined;
  if (own !== undefined && own !== null) return own;
  return 'payload' in result && isRecord(result.payload)
    ? resultField({ ...result.payload, payload: null }, name)
    : undefined;
}

/** A stream's acknowledgement of a publish: it says that the question is stored, and nothing of the answer. */
export function isAcknowledgement(text: string | null): boolean {
  try {
    const json: unknown = JSON.parse(text ?? '');
    return isRecord(json) && ((typeof json.stream === 'string' && 'seq' in json) || isRecord(json.error));
  } catch {
    return false;
  }
}

function oneLine(error: unknown): string {
  const text = typeof error === 'string' ? error : 'no reason given';
  return text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, longestError);
}

function invalid(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('REGISTRATION_ANSWER_INVALID', `the fleet manager’s answer ${what}`, { cause });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
