import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { networkFailure } from '../errors/networkProblem.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import type { HttpAnswer } from '../services/onboarding/requestCertificate.ts';

export interface ProvisioningServer {
  /** Base URL, `http:` or `https:` */
  readonly url: string;
  /** PEM that alone is trusted for `https:`; null: the system's roots */
  readonly ca: string | null;
  /** File with a bearer token, read anew for each request */
  readonly tokenFile: string | null;
  readonly userAgent: string;
}

/** An answer holds two certificates and an address; anything near this is none. */
const longestBody = 512 * 1024;

/**
 * Posts JSON to `<base URL>/api/devices/provision`, once: redirects are not followed, nothing is tried again.
 *
 * @throws {OnboardingError} PROVISIONING_UNREACHABLE, PROVISIONING_TIMEOUT and PROVISIONING_TLS with a reason;
 *   PROVISIONING_ANSWER_INVALID for what is no HTTP, and for a huge body
 */
export function postProvision(
  server: ProvisioningServer,
  json: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const url = provisioningUrl(server.url);
  const secure = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(provisioningFailure(error, url));
    const request = (secure ? https : http).request(
      url,
      {
        method: 'POST',
        agent: false,
        signal,
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          'content-length': Buffer.byteLength(json),
          'user-agent': server.userAgent,
          ...authorization(server.tokenFile),
        },
        ...(secure ? { rejectUnauthorized: true } : {}),
        ...(secure && server.ca !== null ? { ca: server.ca, allowPartialTrustChain: true } : {}),
      },
      (response) => readAnswer(response).then(resolve, fail),
    );
    request.on('error', fail);
    request.end(json);
  });
}

/** @param base `provisioning.url` */
export function provisioningUrl(base: string): URL {
  return new URL(`${base.replace(/\/+$/, '')}/api/devices/provision`);
}

async function readAnswer(response: http.IncomingMessage): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longestBody) {
      response.destroy();
      throw new OnboardingError(
        'PROVISIONING_ANSWER_INVALID',
        `the answer is longer than ${longestBody} bytes`,
      );
    }
    chunks.push(chunk);
  }
  const { headers, statusCode = 0 } = response;
  const serverTime = parseDate(headers.date);
  return {
    status: statusCode,
    contentType: headers['content-type'] ?? null,
    body: Buffer.concat(chunks).toString('utf8'),
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

/** The header for the token. @throws {OnboardingError} PROVISIONING_REJECTED where there is none in the file */
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

/** The failure of a connection to the provisioning server, for the daemon and for `check`. */
export function provisioningFailure(error: unknown, { host }: URL): OnboardingError {
  return networkFailure(error, 'provisioning', `the provisioning server ${host}`);
}
