import * as v from 'valibot';
import { excerpt, OnboardingError } from '../../errors/onboardingError.ts';
import type { Reason } from '../../errors/reasons.ts';
import { isRecord, parseJson } from '../../text/json.ts';

/** A message of the fleet, as a session delivers it. */
export interface Message {
  /** The payload as text; null if it is not UTF-8 */
  readonly text: string | null;
  /** Header `ID` */
  readonly id: string | null;
  /** Header `timestamp` */
  readonly timestamp: string | null;
  /** When the stream stored it, milliseconds since 1970; null for a live message */
  readonly storedAt: number | null;
  /** Its place in the stream, from 1; null for a live message */
  readonly sequence: number | null;
  /** The server's own status (`503`: no listener); null for a message of a client */
  readonly status: number | null;
}

export type Result =
  | { readonly kind: 'success'; readonly alias: string | null; readonly text: string }
  | { readonly kind: 'failure'; readonly error: string };

/** Fields that either API may carry, at the top or under `payload` (protocol.md, part 3). */
const textFields = ['alias', 'token', 'configuration', 'utmClientSecret', 'rabbitMqSecret'] as const;
const verdictSchema = v.object({
  status: v.optional(v.picklist(['success', 'failure'])),
  error: v.fallback(v.nullable(v.string()), null),
});
const acknowledgementSchema = v.union([
  v.object({ stream: v.string(), seq: v.unknown(), duplicate: v.fallback(v.optional(v.boolean()), false) }),
  v.object({ error: v.custom<Record<string, unknown>>(isRecord) }),
]);
const longestResult = 4 * 1024 * 1024;
const deepestResult = 64;
const longestAlias = 256;

/**
 * Reads a registration result of either API. Fields may be missing, but success has to be explicit:
 * `status` is `success`, or there is no `status` and one of the fields of the discontinued API is there. An alias is
 * shown and logged: one line of at most 256 characters.
 *
 * @throws {OnboardingError} REGISTRATION_ANSWER_INVALID
 */
export function readResult(text: string | null): Result {
  if (text === null || text.length > longestResult) throw invalid('is not UTF-8 text, or is too long');
  const result = judge(parse(text, deepestResult), text);
  if (result.kind === 'failure' || result.alias === null || isShowable(result.alias)) return result;
  throw invalid(`has an alias that is not one line of at most ${longestAlias} characters`);
}

/**
 * Reads a stored result: one that an earlier version accepted stays valid.
 *
 * @throws {OnboardingError} REGISTRATION_ANSWER_INVALID
 */
export function readKeptResult(text: string): Result {
  const result = judge(parse(text, Number.POSITIVE_INFINITY), text);
  if (result.kind === 'failure' || result.alias === null || isShowable(result.alias)) return result;
  return { ...result, alias: null };
}

function parse(text: string, maxDepth: number): unknown {
  try {
    return parseJson(text, { maxDepth, maxLength: Number.POSITIVE_INFINITY });
  } catch (cause) {
    throw invalid('is not valid JSON, or is nested too deeply', cause);
  }
}

function judge(json: unknown, text: string): Result {
  if (!isRecord(json)) throw invalid('is not a JSON object');
  const verdict = v.safeParse(verdictSchema, json);
  if (!verdict.success) throw invalid('has an unknown status');
  const { status, error } = verdict.output;
  if (status === 'failure' || (status === undefined && error !== null)) {
    return { kind: 'failure', error: error === null ? 'no reason given' : excerpt(error) };
  }
  const found = textFields.filter((name) => resultField(json, name) !== undefined);
  // Without a status, only the fields show that this is a result; with a status, any content is kept.
  if (status === undefined) {
    if (found.length === 0) throw invalid('has neither a `status` nor a field of a result');
    if (found.some((name) => typeof resultField(json, name) !== 'string'))
      throw invalid('has a field of a wrong type');
  }
  const alias = resultField(json, 'alias');
  return { kind: 'success', alias: (typeof alias === 'string' && alias.trim()) || null, text };
}

function isShowable(alias: string): boolean {
  return alias.length <= longestAlias && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(alias);
}

/** The reason of a rejection; null for an error that onboardd does not know. @param error the fleet manager's text */
export function reasonOfRejection(error: string): Reason | null {
  if (isAlreadyRegistered(error)) return 'already-registered';
  return /\bquota\b|\bdevice limit\b/i.test(error) ? 'quota-exceeded' : null;
}

/** Whether the fleet manager's error says that it already has this id. */
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

/**
 * Reads a stream's acknowledgement of the publish, which is not an answer.
 *
 * @returns `duplicate`: the stream held a message of this id already and dropped this one; null: no acknowledgement
 */
export function readAcknowledgement(text: string | null): 'stored' | 'duplicate' | null {
  try {
    const parsed = v.safeParse(acknowledgementSchema, parseJson(text ?? '', { maxDepth: deepestResult }));
    if (!parsed.success) return null;
    return 'duplicate' in parsed.output && parsed.output.duplicate === true ? 'duplicate' : 'stored';
  } catch {
    return null;
  }
}

function invalid(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('REGISTRATION_ANSWER_INVALID', `the fleet manager's answer ${what}`, { cause });
}
