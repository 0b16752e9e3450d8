import type { JsMsg, Msg, MsgHdrs } from 'nats';

const timestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** A registration request as it arrived. */
export interface RegistrationRequest {
  /** milliseconds since the epoch */
  at: number;
  /** the device id of the subject */
  id: string;
  headers: Record<string, string>;
  /** the parsed body, undefined where it is no JSON object */
  body: Record<string, unknown> | undefined;
  raw: string;
  /** the stream sequence; undefined where there is no stream */
  seq: number | undefined;
  /** whether JetStream delivered it again */
  redelivered: boolean;
  /** the reply subject of the request/reply API */
  reply: string | undefined;
}

/** `stored`: the same message, where it comes from a stream */
export function requestOf(
  message: Msg | JsMsg,
  stored: JsMsg | undefined,
  reply?: string,
): RegistrationRequest {
  const raw = message.string();
  return {
    at: Date.now(),
    id: message.subject.split('.')[1] ?? '',
    headers: plain(message.headers),
    body: parsed(raw),
    raw,
    seq: stored?.seq,
    redelivered: stored?.redelivered ?? false,
    reply,
  };
}

/** @returns what a strict manager would complain of, undefined where all is well */
export function flawOf(
  { id, body, headers }: RegistrationRequest,
  { withHeaders }: { withHeaders: boolean },
): string | undefined {
  if (body === undefined) return 'the body is no JSON object';
  for (const field of ['deviceType', 'architecture']) {
    if (typeof body[field] !== 'string' || body[field] === '') return `${field} is missing`;
  }
  for (const [field, value] of Object.entries(body)) {
    if (typeof value !== 'string') return `${field} is no text`;
  }
  if (body.id !== undefined && body.id !== id) return 'the id is not that of the subject';
  if (!withHeaders) return undefined;
  if (headers.ID !== id) return 'the header ID is not the id of the subject';
  if (!timestamp.test(headers.timestamp ?? '')) return 'the header timestamp is not of RFC 3339';
  return undefined;
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function plain(headers: MsgHdrs | undefined): Record<string, string> {
  return Object.fromEntries((headers?.keys() ?? []).map((name) => [name, headers?.get(name) ?? '']));
}
