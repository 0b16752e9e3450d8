import { expect, test } from 'vitest';
import {
  type Facts,
  fingerprint,
  type Ignored,
  judgeResult,
  toleranceMs,
  type Verdict,
} from '../../../../src/services/onboarding/judgeResult.ts';
import type { Message } from '../../../../src/services/onboarding/registrationResult.ts';
import type { OpenRequest } from '../../../../src/services/state/deviceState.ts';

const now = Date.UTC(2026, 10, 23);
const second = 1_000;
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const at = (ms: number) => new Date(ms).toISOString();
const success = '{"status":"success","alias":"Alpha"}';
const rejection = '{"status":"failure","error":"maintenance"}';
const acknowledgement = '{"stream":"ACTIONS","seq":7}';

/** A live result as the fleet sends it. */
const live: Message = {
  text: success,
  id: 'd1',
  timestamp: at(now),
  storedAt: null,
  sequence: null,
  status: null,
};
const stored: Message = { ...live, storedAt: now, sequence: 6 };
const lastRejection = fingerprint({ ...stored, text: rejection });

/** Published just now; the stream could not be read before. */
const request: OpenRequest = {
  messageId: 'q',
  firstAt: at(now),
  publishes: 1,
  afterSequence: null,
  afterStoredAt: null,
  announced: null,
};
/** Published when the stream held a result of an hour ago at place 5. */
const afterFive: OpenRequest = { ...request, afterSequence: 5, afterStoredAt: at(now - hour) };
const facts: Facts = {
  source: 'live',
  deviceId: 'd1',
  idIsNew: true,
  lastRejection: null,
  rejectedRequest: null,
  now,
  builtAt: now - 30 * day,
  certificate: { notBefore: new Date(now - 10 * day) },
};

const registered: Verdict = {
  kind: 'answer',
  result: { kind: 'success', alias: 'Alpha', text: success },
};
const rejected: Verdict = { kind: 'answer', result: { kind: 'failure', error: 'maintenance' } };
const ignored = (reason: Ignored): Verdict => ({ kind: 'ignored', reason });
const failed = (code: string) => ({ kind: 'failed', error: { code } });

interface Row {
  readonly message?: Partial<Message>;
  readonly request?: OpenRequest | null;
  readonly facts?: Partial<Facts>;
}
const reply: Partial<Facts> = { source: 'reply' };
const fromStream: Partial<Facts> = { source: 'stored' };

test.each<[string, Row, object]>([
  ['a success that arrives live is the answer', {}, registered],
  ['a success at the reply address is the answer', { facts: reply }, registered],
  ['a success in the stream is the answer', { message: stored, facts: fromStream }, registered],
  [
    'of an id that had an earlier life, a result that was stored before an unread stream is stale, however fresh',
    { message: { ...stored, storedAt: now - second }, facts: { ...fromStream, idIsNew: false } },
    ignored('stale'),
  ],
  [
    'of an id that had an earlier life, a result that was stored after the request is the answer',
    { message: { ...stored, storedAt: now + second }, facts: { ...fromStream, idIsNew: false } },
    registered,
  ],
  ['a rejection that arrives live is the answer', { message: { text: rejection } }, rejected],
  [
    'a rejection at the reply address is the answer',
    { message: { text: rejection }, facts: reply },
    rejected,
  ],
  [
    'a rejection in the stream is the answer',
    { message: { ...stored, text: rejection }, facts: fromStream },
    rejected,
  ],
  [
    'the discontinued API answers without a status',
    { message: { text: '{"alias":"laptop-1","token":"aGVsbG8K"}' }, facts: reply },
    {
      kind: 'answer',
      result: { kind: 'success', alias: 'laptop-1', text: '{"alias":"laptop-1","token":"aGVsbG8K"}' },
    },
  ],
  ['a result without headers is the answer', { message: { id: null, timestamp: null } }, registered],
  [
    'a stored result without headers is told by when it was stored',
    { message: { ...stored, id: null, timestamp: null }, facts: fromStream },
    registered,
  ],
  ['a result with the id of another device is not ours', { message: { id: 'd2' } }, ignored('other device')],
  [
    'a damaged result of another device is not ours either',
    { message: { id: 'd2', text: '{' } },
    ignored('other device'),
  ],
  [
    'an old result of another device says nothing of the clock',
    { message: { id: 'd2', timestamp: at(now - day) } },
    ignored('other device'),
  ],
  ['an id in capitals is another id', { message: { id: 'D1' } }, ignored('other device')],

  ['nothing answers before something was requested', { request: null }, ignored('nothing requested')],
  [
    'a success that the stream stored behind a rejection is the answer after all',
    { message: stored, request: null, facts: { ...fromStream, rejectedRequest: afterFive } },
    registered,
  ],
  [
    'a success that the stream held before the rejected request is none',
    {
      message: { ...stored, sequence: 5, storedAt: now - hour },
      request: null,
      facts: { ...fromStream, rejectedRequest: afterFive },
    },
    ignored('nothing requested'),
  ],
  [
    'a rejection behind a rejection says nothing',
    {
      message: { ...stored, text: rejection },
      request: null,
      facts: { ...fromStream, rejectedRequest: afterFive },
    },
    ignored('nothing requested'),
  ],
  [
    'what is damaged behind a rejection says nothing',
    {
      message: { ...stored, text: '{' },
      request: null,
      facts: { ...fromStream, rejectedRequest: afterFive },
    },
    ignored('nothing requested'),
  ],
  [
    'a live success before the request of after a rejection answers nothing',
    { request: null, facts: { rejectedRequest: afterFive } },
    ignored('nothing requested'),
  ],
  [
    'nothing is damaged before something was requested',
    { message: { text: null }, request: null },
    ignored('nothing requested'),
  ],
  [
    'no clock is wrong before something was requested',
    { request: null, facts: { now: 0 } },
    ignored('nothing requested'),
  ],
  [
    'an acknowledgement at the reply address says nothing of the answer',
    { message: { text: acknowledgement }, facts: reply },
    ignored('acknowledgement'),
  ],
  [
    'an acknowledgement of a duplicate says that the stream holds the request and dropped this one',
    { message: { text: '{"stream":"ACTIONS","seq":7,"duplicate":true}' }, facts: reply },
    { kind: 'duplicate' },
  ],
  [
    'an error of the stream at the reply address says nothing of the answer',
    { message: { text: '{"error":{"code":503,"description":"no space"}}' }, facts: reply },
    ignored('acknowledgement'),
  ],
  [
    'what looks like an acknowledgement on the subscription is a damaged result',
    { message: { text: acknowledgement } },
    failed('REGISTRATION_ANSWER_INVALID'),
  ],
  [
    'status 503 at the reply address says that nobody listens',
    { message: { text: '', id: null, timestamp: null, status: 503 }, facts: reply },
    { kind: 'nobody listens' },
  ],
  [
    'a status on the subscription is a damaged result',
    { message: { text: '', id: null, timestamp: null, status: 503 } },
    failed('REGISTRATION_ANSWER_INVALID'),
  ],

  [
    'a live result of just the tolerance is the answer',
    { message: { timestamp: at(now - toleranceMs) } },
    registered,
  ],
  [
    'a live result that is older than the tolerance tells of a wrong clock',
    { message: { timestamp: at(now - toleranceMs - second) } },
    failed('CLOCK_WRONG'),
  ],
  [
    'a reply that is older than the tolerance tells of a wrong clock',
    { message: { timestamp: at(now - toleranceMs - second) }, facts: reply },
    failed('CLOCK_WRONG'),
  ],
  [
    'a stored result of four minutes before is the answer',
    { message: { ...stored, timestamp: at(now - 4 * minute) }, facts: fromStream },
    registered,
  ],
  [
    'a stored result of just the tolerance is the answer',
    { message: { ...stored, timestamp: at(now - toleranceMs) }, facts: fromStream },
    registered,
  ],
  [
    'a stored result that is older than the tolerance is passed over',
    { message: { ...stored, timestamp: at(now - toleranceMs - second) }, facts: fromStream },
    ignored('older than the request'),
  ],
  [
    'a stored result without a timestamp that was stored long before is passed over',
    { message: { ...stored, timestamp: null, storedAt: now - hour }, facts: fromStream },
    ignored('older than the request'),
  ],
  [
    'a stored result with an unreadable timestamp is told by when it was stored',
    { message: { ...stored, timestamp: 'yesterday', storedAt: now - hour }, facts: fromStream },
    ignored('older than the request'),
  ],
  ['a live result with an unreadable timestamp is the answer', { message: { timestamp: 'now' } }, registered],
  ['a result from the future is the answer', { message: { timestamp: at(now + day) } }, registered],
  [
    'a result of after the first publish answers a request that is a day old',
    { message: { timestamp: at(now - 23 * hour) }, request: { ...request, firstAt: at(now - day) } },
    registered,
  ],
  [
    'a request from the future, of a clock that was set back, is taken to be of now',
    { request: { ...request, firstAt: at(now + day) } },
    registered,
  ],
  [
    'a request of 1970 is taken to be of the certificate’s start',
    {
      message: { ...stored, timestamp: at(now - 11 * day) },
      request: { ...request, firstAt: at(0) },
      facts: fromStream,
    },
    ignored('older than the request'),
  ],
  [
    'a result of after the certificate’s start answers a request of 1970',
    {
      message: { ...stored, timestamp: at(now - 9 * day) },
      request: { ...request, firstAt: at(0) },
      facts: fromStream,
    },
    registered,
  ],
  [
    'without a certificate that can be read, a request of 1970 is of 1970',
    {
      message: { ...stored, timestamp: at(now - 11 * day) },
      request: { ...request, firstAt: at(0) },
      facts: { ...fromStream, certificate: undefined },
    },
    registered,
  ],

  [
    'a stored result behind the last one of before the request is the answer',
    { message: stored, request: afterFive, facts: fromStream },
    registered,
  ],
  [
    'the result that the stream held before the request is stale, whatever its timestamp',
    { message: { ...stored, sequence: 5, storedAt: now - hour }, request: afterFive, facts: fromStream },
    ignored('stale'),
  ],
  [
    'an earlier place in the stream is stale',
    { message: { ...stored, sequence: 1, storedAt: now - day }, request: afterFive, facts: fromStream },
    ignored('stale'),
  ],
  [
    'a recreated stream counts from 1: what it stored well after the old result is the answer',
    {
      message: { ...stored, sequence: 1, storedAt: now - hour + toleranceMs + 1 },
      request: afterFive,
      facts: fromStream,
    },
    registered,
  ],
  [
    'what a recreated stream stored within the tolerance of the old result is stale',
    {
      message: { ...stored, sequence: 1, storedAt: now - hour + toleranceMs },
      request: afterFive,
      facts: fromStream,
    },
    ignored('stale'),
  ],
  [
    'a stored result without a sequence is told by the stream’s clock',
    { message: { ...stored, sequence: null, storedAt: now - hour }, request: afterFive, facts: fromStream },
    ignored('stale'),
  ],
  [
    'a stored result without a sequence that was stored later is the answer',
    { message: { ...stored, sequence: null }, request: afterFive, facts: fromStream },
    registered,
  ],
  [
    'where the stream held nothing, its first result is the answer',
    {
      message: { ...stored, sequence: 1 },
      request: { ...request, afterSequence: 0 },
      facts: fromStream,
    },
    registered,
  ],
  [
    'without a place and a time to compare, the stored result is stale',
    {
      message: { ...stored, sequence: null },
      request: { ...request, afterSequence: 0 },
      facts: fromStream,
    },
    ignored('stale'),
  ],
  ['a live result has no place in the stream and is never stale', { request: afterFive }, registered],

  [
    'the last rejection, seen again in the stream, is passed over',
    { message: { ...stored, text: rejection }, facts: { ...fromStream, lastRejection } },
    ignored('rejection read before'),
  ],
  [
    'the same rejection of another time is an answer',
    {
      message: { ...stored, text: rejection, timestamp: at(now + second) },
      facts: { ...fromStream, lastRejection },
    },
    rejected,
  ],
  [
    'another result of the same time is an answer',
    { message: stored, facts: { ...fromStream, lastRejection } },
    registered,
  ],
  [
    'the last rejection, arriving live again, is an answer',
    { message: { text: rejection }, facts: { lastRejection } },
    rejected,
  ],

  ['a damaged live result fails', { message: { text: '{"status":' } }, failed('REGISTRATION_ANSWER_INVALID')],
  ['a live result that is no text fails', { message: { text: null } }, failed('REGISTRATION_ANSWER_INVALID')],
  [
    'a damaged reply fails',
    { message: { text: 'sorry' }, facts: reply },
    failed('REGISTRATION_ANSWER_INVALID'),
  ],
  [
    'a live result with an unknown status fails',
    { message: { text: '{"status":"maybe"}' } },
    failed('REGISTRATION_ANSWER_INVALID'),
  ],
  [
    'a damaged result in the stream is passed over',
    { message: { ...stored, text: '{"status":' }, facts: fromStream },
    ignored('damaged in the stream'),
  ],
  [
    'a result in the stream that is no text is passed over',
    { message: { ...stored, text: null }, facts: fromStream },
    ignored('damaged in the stream'),
  ],

  [
    'a clock set back to before the build cannot tell old from new, for a live result',
    { facts: { now: facts.builtAt - 1 } },
    failed('CLOCK_WRONG'),
  ],
  [
    'a clock set back to before the certificate cannot tell old from new, for a stored result',
    { message: stored, facts: { ...fromStream, now: now - 11 * day } },
    failed('CLOCK_WRONG'),
  ],
  [
    'a clock set back is noticed even by a result of another device',
    { message: { id: 'd2' }, facts: { now: now - 11 * day } },
    failed('CLOCK_WRONG'),
  ],
])('%s', (_, row, verdict) => {
  const pending = row.request === undefined ? request : row.request;
  const judged = judgeResult({ ...live, ...row.message }, pending, { ...facts, ...row.facts });
  expect(judged).toMatchObject(verdict);
});

test('a live result that is too old is told with both dates', () => {
  const message = { ...live, timestamp: at(now - day) };
  const verdict = judgeResult(message, request, facts);
  const error = verdict.kind === 'failed' ? verdict.error.message : '';
  expect(error).toContain(at(now - day));
  expect(error).toContain(at(now));
});

test('judging changes nothing that it is given', () => {
  const [message, pending, known] = [live, afterFive, facts].map((one) => Object.freeze({ ...one }));
  expect(judgeResult(message as Message, pending as OpenRequest, known as Facts)).toEqual(registered);
});
