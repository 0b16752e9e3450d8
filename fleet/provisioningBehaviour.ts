import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Authority, ClientRequest } from './ca.ts';

const dripMs = 100;

export type Answer = Record<string, unknown>;
type Field = 'caCertificate' | 'certificate' | 'fleetManagementNatsUrl';
type AnswerFields = { [field in Field]?: unknown } & Answer;
export type RightAnswer = { [field in Field]: string };

/**
 * What a provisioning server may do to a device instead of what it should. In words:
 *
 * - `hang`: takes the request and says nothing more
 * - `drip`: answers rightly, but one byte every 100 ms
 * - `reset`: TCP reset instead of an answer
 * - `halfClose`: ends its side of the connection without an answer, and keeps reading
 * - `truncate`: announces the whole answer, sends half of it and closes
 */
export type ProvisioningBehaviour =
  | 'hang'
  | 'drip'
  | 'reset'
  | 'halfClose'
  | 'truncate'
  | {
      /** before anything is done or said */
      delayMs?: number;
      /** awaited before anything is done or said */
      after?: Promise<unknown>;
      /** one of an error makes no certificate either; its body is then, by default, `{"error": …}` */
      status?: number;
      headers?: Record<string, string>;
      /** sent as it is, instead of the answer: no certificate is made */
      body?: string | Uint8Array;
      /** packs the body, with a byte order mark in front of it */
      encoding?: 'gzip';
      /** a 307 to this URL, unless `status` says otherwise */
      redirect?: string;
      /** the `Date` header; null leaves it out */
      date?: Date | null;
      /** fields of the JSON to replace, or how to make them of the right ones; undefined leaves a field out */
      answer?: AnswerFields | ((right: RightAnswer) => AnswerFields);
      certificate?: Pick<ClientRequest, 'notBefore' | 'notAfter' | 'commonName' | 'eku'> & {
        /** certifies a key that the device does not have */
        otherKey?: boolean;
        /** signs with this one, while the answer's CA certificate stays the fleet's */
        otherAuthority?: Authority;
      };
    };

/** Sends the answer as `behaviour` has it. `makeAnswer` is called only where an answer is due. */
export async function misbehave(
  response: ServerResponse,
  behaviour: ProvisioningBehaviour | undefined,
  makeAnswer: () => Promise<Answer>,
): Promise<void> {
  if (behaviour === 'hang') return;
  if (behaviour === 'reset') {
    response.socket?.resetAndDestroy();
    return;
  }
  if (behaviour === 'halfClose') {
    response.socket?.end();
    return;
  }
  const { delayMs, after, status, headers, body, encoding, redirect, date } =
    typeof behaviour === 'object' ? behaviour : {};
  if (delayMs !== undefined) await passed(delayMs, response);
  await after;
  if (response.destroyed) return;
  if (date !== undefined) response.sendDate = false;
  if (date) response.setHeader('Date', date.toUTCString());
  if (redirect !== undefined) {
    response.writeHead(status ?? 307, { location: redirect, ...headers }).end();
    return;
  }
  const instead =
    body ?? (status !== undefined && status >= 400 ? JSON.stringify({ error: 'as told' }) : undefined);
  const bare = Buffer.from(instead ?? JSON.stringify(await makeAnswer()));
  const payload = encoding === undefined ? bare : gzipSync(Buffer.concat([Buffer.from('\ufeff'), bare]));
  response.writeHead(status ?? 200, {
    'content-type': 'application/json',
    'content-length': payload.length,
    ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    ...headers,
  });
  if (behaviour === 'drip') drip(response, payload);
  else if (behaviour === 'truncate') truncate(response, payload);
  else response.end(payload);
}

function drip(response: ServerResponse, payload: Buffer): void {
  let sent = 0;
  response.flushHeaders();
  const timer = setInterval(() => {
    response.write(payload.subarray(sent, sent + 1));
    sent += 1;
    if (sent < payload.length) return;
    clearInterval(timer);
    response.end();
  }, dripMs);
  response.once('close', () => clearInterval(timer));
}

function truncate(response: ServerResponse, payload: Buffer): void {
  response.write(payload.subarray(0, payload.length / 2), () => response.socket?.end());
}

/** Resolves after `ms`, or as soon as the client is gone. */
function passed(ms: number, response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      response.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    response.once('close', done);
  });
}
