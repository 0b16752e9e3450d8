import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import type { HttpAnswer } from '../services/onboarding/requestCertificate.ts';
import { readBody } from './net/httpBody.ts';
import {
  type HttpRequest,
  provisioningFailure,
  sendRequest,
  type Way,
  withoutSecrets,
} from './net/httpRequest.ts';

export interface ProvisioningServer extends Way {
  /** Base URL, `http:` or `https:` */
  readonly url: string;
  /** `provisioning.path` */
  readonly path: string;
  /** File with a bearer token, read again for each request */
  readonly tokenFile: string | null;
  readonly userAgent: string;
}

/**
 * Posts JSON to the base URL with the path behind it, once: redirects are not followed, nothing is tried again.
 *
 * @throws {OnboardingError} PROVISIONING_UNREACHABLE, PROVISIONING_TIMEOUT and PROVISIONING_TLS with a reason;
 *   PROVISIONING_ANSWER_INVALID if the answer is not HTTP, or its body is too long or damaged
 */
export async function postProvision(
  server: ProvisioningServer,
  json: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const url = provisioningUrl(server.url, server.path);
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    'content-length': `${Buffer.byteLength(json)}`,
    'user-agent': server.userAgent,
    ...authorization(server.tokenFile),
  };
  return await answerTo(url, { method: 'POST', headers, body: json }, server, signal);
}

/** Sends one request and reads the answer. @throws {OnboardingError} as `postProvision` */
export async function answerTo(
  url: URL,
  request: HttpRequest,
  server: ProvisioningServer,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const response = await sendRequest(url, request, server, signal);
  const { statusCode: status = 0, headers } = response;
  try {
    const body = await readBody(response);
    // Of an answer other than these, a part is shown.
    const isKept = status === 200 || status === 201;
    return {
      ...factsOf(headers),
      status,
      body: isKept ? body : withoutSecrets(body, url, request.headers, server),
    };
  } catch (error) {
    // A body that is cut short at the deadline is called a cut connection.
    throw provisioningFailure(signal.aborted ? signal.reason : error, url);
  }
}

/** @param base one server of `provisioning.url`; @param path `provisioning.path` */
export function provisioningUrl(base: string, path: string): URL {
  return new URL(`${base.replace(/\/+$/, '')}${path}`);
}

/** What the headers of an answer say. */
function factsOf(
  headers: IncomingHttpHeaders,
): Pick<HttpAnswer, 'contentType' | 'serverTime' | 'retryAfterMs'> {
  const serverTime = parseDate(headers.date);
  return {
    contentType: headers['content-type'] ?? null,
    serverTime,
    retryAfterMs: parseRetryAfter(headers['retry-after'], serverTime),
  };
}

/** Both forms of RFC 9110, 10.2.3; a date is measured by the server's own clock, since ours may be wrong. */
function parseRetryAfter(value: string | undefined, serverTime: number | null): number | null {
  if (value === undefined) return null;
  if (/^\s*\d{1,15}\s*$/.test(value)) return Number(value) * 1000;
  const until = parseDate(value);
  return until === null ? null : Math.max(0, until - (serverTime ?? Date.now()));
}

function parseDate(value: string | undefined): number | null {
  const time = Date.parse(value ?? '');
  return Number.isNaN(time) ? null : time;
}

/** The header for the token. @throws {OnboardingError} PROVISIONING_REJECTED if the file has no token */
export function authorization(tokenFile: string | null): { authorization?: string } {
  if (tokenFile === null) return {};
  try {
    const token = readFileSync(tokenFile, 'utf8').trim();
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Error('it holds no token');
    return { authorization: `Bearer ${token}` };
  } catch (cause) {
    throw new OnboardingError('PROVISIONING_REJECTED', `cannot read ${tokenFile}: ${describe(cause)}`, {
      cause,
      class: 'transient',
      reason: 'token-unusable',
    });
  }
}
