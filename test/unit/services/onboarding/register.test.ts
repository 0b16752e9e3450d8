import { expect, test } from 'vitest';
import { createEventQueue } from '../../../../src/adapters/nats/eventQueue.ts';
import { OnboardingError } from '../../../../src/errors/onboardingError.ts';
import type { RegisterEvent } from '../../../../src/machines/contracts.ts';
import { type Identity, register } from '../../../../src/services/onboarding/register.ts';
import type { Message } from '../../../../src/services/onboarding/registrationResult.ts';
import type { Session } from '../../../../src/services/onboarding/session.ts';
import {
  currentState,
  type DeviceState,
  files,
  newState,
  type OpenRequest,
  parseState,
  writeState,
} from '../../../../src/services/state/deviceState.ts';
import { certificatePem, keyPem, parseCertificates } from '../../../simulation/pki.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';
import { processorMs } from '../../../support/processorTime.ts';

const deviceId = 'd1';
const now = Date.UTC(2026, 10, 23);
const hour = 3_600_000;
const nothing: Message = {
  text: '',
  id: null,
  timestamp: null,
  storedAt: null,
  sequence: null,
  status: null,
};
const success = '{"status":"success","alias":"a"}';
const alreadyRegistered = '{"status":"failure","error":"device already registered"}';

function missing(): never {
  throw new Error('nothing was sent');
}

/** A question that was published once and has no answer. */
function openRequest(at: number, more: Partial<OpenRequest> = {}): OpenRequest {
  const firstAt = new Date(at).toISOString();
  const stale = { afterSequence: null, afterStoredAt: null };
  return { messageId: 'q', firstAt, publishes: 1, announced: null, ...stale, ...more };
}

const certificate = pemOf(`fleet/${deviceId}`, 'k1');
const provisioned = {
  certificate,
  caCertificate: pemOf('root', 'root'),
  natsUrl: 'n',
  renewAt: new Date(now).toISOString(),
  opened: false,
};

function pemOf(subject: string, key: string): string {
  const dates = { notBefore: now - hour, notAfter: now + hour };
  return certificatePem({ subject, key, issuer: 'root', ...dates, authority: subject === 'root', serial: 1 });
}

/** One attempt against a session that the test plays. */
function attempt(
  stored: Message | 'none' | 'unavailable' = 'none',
  changes: Partial<DeviceState> = {},
  refuseToAsk?: Error,
  options: {
    api?: 'jetstream' | 'request';
    isSilent?: boolean;
    abortsAt?: string;
    at?: number;
    device?: Record<string, string | null>;
    natsUrl?: string;
    caCertificate?: 'answer' | 'chain';
    hasNoKey?: boolean;
  } = {},
) {
  const stream = { last: stored, isSilent: options.isSilent ?? false };
  const contents = new Map(options.hasNoKey ? [] : [[files.key as string, keyPem('k1')]]);
  const disk = { isFull: false };
  const directory = memoryDirectory(contents, {
    write(name, text) {
      if (disk.isFull) throw new OnboardingError('STATE_UNWRITABLE', 'no space left');
      contents.set(name, text);
    },
  });
  writeState(directory, { ...newState(deviceId), provisioned, ...changes });
  const clock = { now: options.at ?? now };
  let look = () => {};
  const calls: ('subscribe' | 'look' | 'ask' | 'close')[] = [];
  const connected: Identity[] = [];
  const sent: { subject: string; body: string; headers: Readonly<Record<string, string>> }[] = [];
  const timers = new Set<number>();
  const told: RegisterEvent[] = [];
  let abort = () => {};
  let onTold = () => {};
  const queue = createEventQueue();
  const session: Session = {
    isEncrypted: true,
    events: queue.events,
    subscribe: () => void calls.push('subscribe'),
    publishRequest(subject, body, headers) {
      if (refuseToAsk) throw refuseToAsk;
      sent.push({ subject, body, headers });
      calls.push('ask');
    },
    requestLastStored() {
      calls.push('look');
      if (!stream.isSilent) queue.push({ type: 'stored', last: stream.last });
    },
    async close() {
      calls.push('close');
      queue.end();
    },
  };
  abort = register(
    {
      directory,
      pki: { parseCertificates, isSignedBy: () => true },
      async connect(identity) {
        connected.push(identity);
        return session;
      },
      now: () => clock.now,
      randomUUID: () => 'question-1',
      setTimer(ms, call) {
        timers.add(ms);
        look = call;
        return () => timers.delete(ms);
      },
    },
    {
      api: options.api ?? 'jetstream',
      device: options.device ?? {},
      natsUrl: options.natsUrl ?? null,
      caCertificate: options.caCertificate ?? 'answer',
      builtAt: 0,
    },
    (event) => {
      told.push(event);
      if (event.type === options.abortsAt) abort();
      onTold();
    },
  );
  const until = (type: RegisterEvent['type']) =>
    new Promise<RegisterEvent>((resolve) => {
      onTold = () => {
        const event = told.find((one) => one.type === type);
        if (event) resolve(event);
      };
      onTold();
    });
  return {
    told,
    disk,
    clock,
    calls,
    stream,
    connected,
    sent,
    timers,
    until,
    abort: () => abort(),
    push: queue.push,
    end: queue.end,
    looksAgain: () => look(),
    hear: (message: Partial<Message>) =>
      queue.push({
        type: 'live',
        message: { ...nothing, ...message },
        afterPublish: calls.includes('ask'),
      }),
    state: () => currentState(directory),
    reply: (message: Partial<Message>) => queue.push({ type: 'reply', message: { ...nothing, ...message } }),
    deny: (subject = `device_actions.${deviceId}.register`) =>
      queue.push({ type: 'denied', operation: 'publish', subject }),
  };
}

test('the request carries id, what is configured, and both certificates; its headers id, time in whole seconds and message id', async () => {
  const asking = attempt('none', {}, undefined, {
    at: now + 1_234,
    device: { deviceType: 'mobile', architecture: 'arm64', alias: null },
  });
  await asking.until('PUBLISHED');
  const [{ subject, body, headers } = missing()] = asking.sent;
  expect(asking.sent).toHaveLength(1);
  expect(subject).toBe('device_actions.d1.register');
  expect(headers).toEqual({ ID: 'd1', timestamp: '2026-11-23T00:00:01Z', 'Nats-Msg-Id': 'question-1' });
  const { caCertificate } = provisioned;
  expect(JSON.parse(body)).toEqual({
    ...{ id: 'd1', deviceType: 'mobile', architecture: 'arm64' },
    ...{ certificate, caCertificate },
  });
});

test.each<[string, string, 'answer' | 'chain', string]>([
  ['of the answer', `${certificate}${pemOf('other', 'o')}`, 'answer', provisioned.caCertificate],
  ['that ends the chain', `${certificate}${pemOf('other', 'o')}`, 'chain', pemOf('other', 'o')],
  ['of the answer, where the chain names none', certificate, 'chain', provisioned.caCertificate],
])('the request carries the CA %s, and of a chain the own certificate alone', async (_, chain, caCertificate, ca) => {
  const changes = { provisioned: { ...provisioned, certificate: chain } };
  const asking = attempt('none', changes, undefined, { caCertificate });
  await asking.until('PUBLISHED');
  const body = JSON.parse(asking.sent[0]?.body ?? '');
  expect(body).toMatchObject({ certificate, caCertificate: ca });
});

test.each([
  [undefined, 'n'],
  ['tls://configured', 'tls://configured'],
])('with %s configured the device connects to %s, with its key and certificates', async (natsUrl, address) => {
  const asking = attempt('none', {}, undefined, natsUrl === undefined ? {} : { natsUrl });
  await asking.until('PUBLISHED');
  const { caCertificate } = provisioned;
  expect(asking.connected).toEqual([
    { deviceId, key: keyPem('k1'), certificate, caCertificate, natsUrl: address },
  ]);
});

test.each<[string, Partial<DeviceState>, boolean]>([
  ['without its key', {}, true],
  ['without a certificate', { provisioned: null }, false],
])('a device %s does not connect', async (_, changes, hasNoKey) => {
  const asking = attempt('none', changes, undefined, { hasNoKey });
  const event = await asking.until('FAILED');
  expect(event).toMatchObject({
    error: { code: 'STATE_CORRUPT', message: expect.stringMatching(/identity\.key/) },
  });
  expect(asking.connected).toEqual([]);
});

test('a certificate is used up to the last moment of its life', async () => {
  const asking = attempt('none', {}, undefined, { at: now + hour });
  await asking.until('PUBLISHED');
});

test('a request that nobody listens for is taken back', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  asking.reply({ status: 503 });
  const error = { code: 'REGISTRATION_TIMEOUT', message: expect.stringMatching(/^no fleet manager/) };
  expect(await asking.until('FAILED')).toMatchObject({ error });
  expect(asking.state().request).toBeNull();
});

test('what the server denies is named, with the reason', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  asking.deny();
  const message = `the NATS server denies the publish to device_actions.${deviceId}.register`;
  const error = { code: 'NATS_DENIED', reason: 'permission-denied', message };
  expect(await asking.until('FAILED')).toMatchObject({ error });
});

test('a session that ends without a reason is a bug, and named as one', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  asking.end();
  const error = { code: 'INTERNAL', message: expect.stringMatching(/without a reason/) };
  expect(await asking.until('FAILED')).toMatchObject({ error });
});

test('a device that looks into the stream first keeps what it opened before it asks', async () => {
  const asking = attempt('none', {}, undefined, { isSilent: true });
  await asking.until('CONNECTED');
  await expect.poll(() => asking.state().provisioned?.opened).toBe(true);
  expect(asking.calls).not.toContain('ask');
});

test('a full disk that keeps a question from being taken back fails the attempt', async () => {
  const unheard = attempt();
  await unheard.until('PUBLISHED');
  unheard.disk.isFull = true;
  unheard.reply({ status: 503 });
  expect(await unheard.until('FAILED')).toMatchObject({ error: { code: 'STATE_UNWRITABLE' } });

  const denied = attempt();
  await denied.until('PUBLISHED');
  denied.disk.isFull = true;
  denied.deny();
  expect(await denied.until('FAILED')).toMatchObject({ error: { code: 'STATE_UNWRITABLE' } });
});

test('a clock that is set back while a device waits makes no old result an answer', async () => {
  const request = openRequest(now);
  const timestamp = new Date(now - 24 * hour).toISOString();
  const stored = { ...nothing, text: '{"status":"success"}', timestamp, storedAt: now };
  const waiting = attempt(stored, { request });
  waiting.clock.now = now - 48 * hour;
  expect(await waiting.until('FAILED')).toMatchObject({ error: { code: 'CLOCK_WRONG' } });
  expect(waiting.state().registration).toBeNull();
});

test('a refusal of a repeated question does not make a stranger of a device that was accepted by the first', async () => {
  const request = openRequest(now);
  const refused = attempt('none', { request });
  await refused.until('PUBLISHED');
  refused.reply({ text: '{"status":"failure","error":"maintenance"}' });
  expect(await refused.until('FAILED')).toMatchObject({ error: { code: 'REGISTRATION_REJECTED' } });
  const next = attempt('none', refused.state());
  await next.until('PUBLISHED');
  next.reply({ text: alreadyRegistered });
  await next.until('ANSWERED');
  expect(next.state().registration).not.toBeNull();
});

const dropped = '{"stream":"ACTIONS","seq":7,"duplicate":true}';

test('a repeated question that the stream dropped is asked again at once, under a new id that is durable before', async () => {
  const asking = attempt('none', { request: openRequest(now) });
  await asking.until('PUBLISHED');
  asking.reply({ text: dropped });
  await expect.poll(() => asking.calls).toEqual(['subscribe', 'look', 'ask', 'ask']);
  expect(asking.state().request).toMatchObject({ messageId: 'question-1', publishes: 3 });
  expect(asking.told.map(({ type }) => type)).toEqual(['CONNECTED', 'PUBLISHED']);
  asking.reply({ text: alreadyRegistered });
  await asking.until('ANSWERED');
  expect(asking.state().registration).not.toBeNull();
});

test('one attempt asks under one new id, whatever the stream says of that', async () => {
  const asking = attempt('none', { request: openRequest(now) });
  await asking.until('PUBLISHED');
  asking.reply({ text: dropped });
  asking.reply({ text: dropped });
  asking.reply({ text: success });
  await asking.until('ANSWERED');
  expect(asking.calls).toEqual(['subscribe', 'look', 'ask', 'ask', 'close']);
});

test('a first question that the stream says it dropped is not asked again', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  asking.reply({ text: dropped });
  asking.reply({ text: success });
  await asking.until('ANSWERED');
  expect(asking.calls).toEqual(['subscribe', 'look', 'ask', 'close']);
});

test('a question that the stream has stored keeps its id over a restart, for as long as its repetition is not dropped', async () => {
  const first = attempt();
  await first.until('PUBLISHED');
  first.reply({ text: '{"stream":"ACTIONS","seq":7}' });
  first.push({ type: 'closed', error: new OnboardingError('NATS_UNREACHABLE', 'it broke') });
  await first.until('FAILED');
  const { request } = first.state();
  const next = attempt('none', first.state());
  await next.until('PUBLISHED');
  expect(next.state().request).toEqual({ ...request, publishes: 2 });
});

test('on a full disk a question that the stream dropped is not asked under a new id', async () => {
  const asking = attempt('none', { request: openRequest(now) });
  await asking.until('PUBLISHED');
  asking.disk.isFull = true;
  asking.reply({ text: dropped });
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'STATE_UNWRITABLE' } });
  expect(asking.calls).toEqual(['subscribe', 'look', 'ask', 'close']);
});

test('what was announced is kept with the question, by its first publish, and with its answer', async () => {
  const asking = attempt('none', {}, undefined, {
    device: { alias: 'a', currentOwner: null, deviceType: 'x' },
  });
  await asking.until('PUBLISHED');
  const announced = { alias: 'a', currentOwner: null, buildVersion: null };
  expect(asking.state().request).toMatchObject({ announced });
  const next = attempt('none', asking.state(), undefined, { device: { alias: 'b' } });
  await next.until('PUBLISHED');
  next.reply({ text: success });
  await next.until('ANSWERED');
  expect(next.state().registration).toMatchObject({ announced });
});

test('“already registered” to a device that left its registration keeps what it got then', async () => {
  const result = '{"status":"success","alias":"old","token":"dA=="}';
  const formerRegistration = { alias: 'old', at: new Date(now).toISOString(), result, announced: null };
  const asking = attempt('none', { formerRegistration, mayBeRegistered: true }, undefined, {
    device: { alias: 'new' },
  });
  await asking.until('PUBLISHED');
  asking.reply({ text: alreadyRegistered });
  expect(await asking.until('ANSWERED')).toMatchObject({ alias: 'old' });
  expect(asking.state()).toMatchObject({
    registration: { alias: 'old', result, announced: { alias: 'new' } },
    formerRegistration: null,
    mayBeRegistered: false,
  });
});

test('“already registered” to the first question of a device is a clash', async () => {
  const first = attempt();
  await first.until('PUBLISHED');
  first.reply({ text: alreadyRegistered });
  expect(await first.until('FAILED')).toMatchObject({ error: { code: 'REGISTRATION_REJECTED' } });
});

const formerRegistration = {
  alias: 'Alpha',
  at: new Date(now - 1000 * hour).toISOString(),
  result: '{"status":"success","alias":"Alpha","token":"secret"}',
  announced: null,
};

test('“already registered” to a device whose certificate was refused is itself, with the result of then', async () => {
  const back = attempt('none', { mayBeRegistered: true, formerRegistration });
  await back.until('PUBLISHED');
  back.reply({ text: alreadyRegistered });
  expect(await back.until('ANSWERED')).toMatchObject({ alias: 'Alpha' });
  expect(back.state()).toMatchObject({
    registration: {
      ...formerRegistration,
      at: new Date(now).toISOString(),
      announced: { alias: null, currentOwner: null, buildVersion: null },
    },
    formerRegistration: null,
    verifiedAt: new Date(now).toISOString(),
  });
});

test('a device that the fleet had forgotten takes the new result', async () => {
  const back = attempt('none', { mayBeRegistered: true, formerRegistration });
  await back.until('PUBLISHED');
  back.reply({ text: '{"status":"success","alias":"Beta"}' });
  expect(await back.until('ANSWERED')).toMatchObject({ alias: 'Beta' });
  expect(back.state()).toMatchObject({ registration: { alias: 'Beta' }, formerRegistration: null });
});

test('a question whose date is of 1970, rebuilt under a wrong clock, makes no old result an answer', async () => {
  const request = openRequest(0);
  const timestamp = new Date(now - 24 * hour).toISOString();
  const stored = { ...nothing, text: '{"status":"success"}', timestamp, storedAt: now };
  const asking = attempt(stored, { request });
  await asking.until('PUBLISHED');
  expect(asking.state().registration).toBeNull();
});

test('an answer that was kept is not asked for again, whatever failed after it', async () => {
  const registration = {
    alias: 'a',
    at: new Date(now).toISOString(),
    result: '{"status":"success"}',
    announced: null,
  };
  const kept = attempt('none', { registration });
  await kept.until('ANSWERED');
  expect(kept.told.map(({ type }) => type)).toEqual(['ANSWERED']);
});

const minute = 60_000;
/** A result as a stream holds it. */
function storedResult(text: string, sequence: number, storedAt: number): Message {
  const timestamp = new Date(storedAt).toISOString();
  return { ...nothing, text, id: deviceId, timestamp, storedAt, sequence };
}

test.each([
  ['success', success],
  ['refusal', '{"status":"failure","error":"maintenance"}'],
])('a %s from an earlier life of the id is no answer, what the stream stores after it is', async (_, text) => {
  const old = storedResult(text, 5, now - minute);
  const asking = attempt(old);
  await asking.until('PUBLISHED');
  expect(asking.calls).toEqual(['subscribe', 'look', 'ask']);
  expect(asking.state().request).toMatchObject({ publishes: 1, afterSequence: 5 });
  asking.looksAgain();
  await expect.poll(() => asking.calls).toEqual(['subscribe', 'look', 'ask', 'look']);
  expect(asking.state().registration).toBeNull();
  asking.stream.last = storedResult('{"status":"success","alias":"new"}', 6, now);
  asking.looksAgain();
  await asking.until('ANSWERED');
  expect(asking.state()).toMatchObject({ registration: { alias: 'new' }, request: null, idIsNew: false });
});

test('the same old result is passed over at every look, and after a restart', async () => {
  const old = storedResult(success, 5, now - minute);
  const asking = attempt(old);
  await asking.until('PUBLISHED');
  const again = attempt(old, asking.state());
  await again.until('PUBLISHED');
  expect(again.calls).toEqual(['subscribe', 'look', 'ask']);
  expect(again.state().request).toMatchObject({ publishes: 2, afterSequence: 5 });
  expect(again.state().registration).toBeNull();
});

test('a result that was stored while the device was off is taken, and nothing is asked again', async () => {
  const asking = attempt(storedResult(success, 5, now - minute));
  await asking.until('PUBLISHED');
  const again = attempt(storedResult('{"status":"success","alias":"new"}', 6, now + minute), asking.state());
  await again.until('ANSWERED');
  expect(again.calls).toEqual(['subscribe', 'look', 'close']);
  expect(again.state().registration).toMatchObject({ alias: 'new' });
});

test('a stream that held nothing makes whatever it stores later an answer', async () => {
  const asking = attempt('none');
  await asking.until('PUBLISHED');
  expect(asking.state().request).toMatchObject({ afterSequence: 0, afterStoredAt: null });
  const again = attempt(storedResult(success, 1, now), asking.state());
  await again.until('ANSWERED');
});

test('a stream that was made anew counts from 1: a result of it is told by the stream’s clock', async () => {
  const asking = attempt(storedResult(success, 500, now - hour));
  await asking.until('PUBLISHED');
  const after = (ms: number) => attempt(storedResult(success, 1, now - hour + ms), asking.state());
  const early = after(4 * minute);
  await early.until('PUBLISHED');
  const anew = after(hour);
  await anew.until('ANSWERED');
  expect(anew.calls).toEqual(['subscribe', 'look', 'close']);
});

test('an old result stays old under a device’s clock that is slow', async () => {
  // Ten minutes slow: seen with it, the result of a minute ago lies in the future.
  const asking = attempt(storedResult(success, 5, now + 9 * minute));
  await asking.until('PUBLISHED');
  const again = attempt(storedResult(success, 5, now + 9 * minute), asking.state());
  await again.until('PUBLISHED');
});

test('a device that made its id asks without a look, until a question of it was answered', async () => {
  const fresh = attempt('none', { idIsNew: true });
  await fresh.until('PUBLISHED');
  expect(fresh.calls).toEqual(['subscribe', 'ask']);
  const refusal = storedResult('{"status":"failure","error":"maintenance"}', 1, now);
  fresh.reply({ text: refusal.text });
  await fresh.until('FAILED');
  const next = attempt(refusal, fresh.state());
  await next.until('PUBLISHED');
  expect(next.calls).toEqual(['subscribe', 'look', 'ask']);
  expect(next.state().request).toMatchObject({ afterSequence: 1 });
});

test('where no stream can be read, what arrives live is the answer', async () => {
  const asking = attempt('unavailable');
  await asking.until('PUBLISHED');
  expect(asking.state().request).toMatchObject({ afterSequence: null });
  asking.hear({ text: success });
  await asking.until('ANSWERED');
});

test('an old result that a later look finds, where the first one failed, is no answer however fresh', async () => {
  const asking = attempt('unavailable');
  await asking.until('PUBLISHED');
  const again = attempt(storedResult(success, 5, now - minute), asking.state());
  await again.until('PUBLISHED');
  expect(again.state().registration).toBeNull();
  const later = attempt(storedResult(success, 6, now + minute), asking.state());
  await later.until('ANSWERED');
});

test('what arrives live before the question went out is no answer', async () => {
  const asking = attempt('none', {}, undefined, { isSilent: true });
  await asking.until('CONNECTED');
  asking.hear({ text: success });
  // In one chunk: the question goes out before the second message is read, yet after it arrived.
  asking.push({ type: 'stored', last: 'none' });
  asking.hear({ text: success });
  await asking.until('PUBLISHED');
  expect(asking.calls).toEqual(['subscribe', 'look', 'ask']);
  asking.hear({ text: '{"status":"success","alias":"new"}' });
  await asking.until('ANSWERED');
  expect(asking.state().registration).toMatchObject({ alias: 'new' });
});

test('an answer to an earlier question that arrives live before the look-up is back is taken, and nothing is asked', async () => {
  const asking = attempt('none', { request: openRequest(now) }, undefined, { isSilent: true });
  await asking.until('CONNECTED');
  asking.hear({ text: success });
  await asking.until('ANSWERED');
  expect(asking.calls).toEqual(['subscribe', 'look', 'close']);
});

test('a question is durable before it is published, and its answer before that is told', async () => {
  const asking = attempt('none', { idIsNew: true });
  const recorded = () => asking.state().request?.publishes ?? null;
  expect(recorded()).toBeNull();
  await asking.until('PUBLISHED');
  expect(recorded()).toBe(1);
  asking.disk.isFull = true;
  asking.reply({ text: success });
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'STATE_UNWRITABLE' } });
  expect(asking.told.map(({ type }) => type)).toEqual(['CONNECTED', 'PUBLISHED', 'FAILED']);
});

test('on a full disk nothing is published', async () => {
  const asking = attempt('none', {}, undefined, { isSilent: true });
  await asking.until('CONNECTED');
  asking.disk.isFull = true;
  asking.push({ type: 'stored', last: 'none' });
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'STATE_UNWRITABLE' } });
  expect(asking.calls).toEqual(['subscribe', 'look', 'close']);
});

test.each<[string, (asking: ReturnType<typeof attempt>) => void, RegisterEvent['type'] | null]>([
  ['an answer', ({ reply }) => reply({ text: success }), 'ANSWERED'],
  ['a refusal', ({ reply }) => reply({ text: alreadyRegistered }), 'FAILED'],
  ['a denied publish', ({ deny }) => deny(), 'FAILED'],
  ['a damaged answer', ({ hear }) => hear({ text: '{' }), 'FAILED'],
  [
    'the end of the connection',
    ({ push }) => push({ type: 'closed', error: new OnboardingError('NATS_UNREACHABLE', 'it broke') }),
    'FAILED',
  ],
  ['an abort', ({ abort }) => abort(), null],
])('%s closes the session and stops the look-ups', async (_, end, last) => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  await expect.poll(() => asking.timers).toEqual(new Set([1_000]));
  end(asking);
  await expect.poll(() => asking.calls.at(-1)).toBe('close');
  await expect.poll(() => asking.timers.size).toBe(0);
  // Nothing of what comes later is told.
  asking.hear({ text: success });
  await new Promise((resolve) => setImmediate(resolve));
  expect(asking.told.map(({ type }) => type)).toEqual([
    'CONNECTED',
    'PUBLISHED',
    ...(last === null ? [] : [last]),
  ]);
});

test('an attempt that is aborted while the stream is looked at asks nothing', async () => {
  const asking = attempt('none', {}, undefined, { isSilent: true });
  await asking.until('CONNECTED');
  asking.push({ type: 'stored', last: 'none' });
  asking.abort();
  await expect.poll(() => asking.calls.at(-1)).toBe('close');
  await new Promise((resolve) => setImmediate(resolve));
  expect(asking.calls).not.toContain('ask');
  expect(asking.state().request).toBeNull();
});

test.each([
  ['whose certificate has expired says so', now + 2 * hour, { type: 'EXPIRED' }],
  ['whose clock lies before its certificate says so', now - 2 * hour, { error: { code: 'CLOCK_WRONG' } }],
])('a device %s, and does not connect', async (_, at, event) => {
  const asking = attempt('none', {}, undefined, { at });
  await expect.poll(() => asking.told).toHaveLength(1);
  expect(asking.told[0]).toMatchObject(event);
  expect(asking.calls).toEqual([]);
});

test('a refusal that was read is no answer when it lies in the stream the next time', async () => {
  const refusal = storedResult('{"status":"failure","error":"maintenance"}', 1, now);
  const first = attempt('unavailable');
  await first.until('PUBLISHED');
  first.hear({ ...refusal, storedAt: null, sequence: null });
  await first.until('FAILED');
  const next = attempt('unavailable', first.state());
  await next.until('PUBLISHED');
  next.push({ type: 'stored', last: refusal });
  next.hear({ text: success });
  await next.until('ANSWERED');
});

test('what was opened over TLS is kept with the question and with its answer, whatever it is', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  const { pinnedCa, provisioned } = asking.state();
  expect(provisioned?.opened).toBe(true);
  expect(pinnedCa).toBe(provisioned?.caCertificate);
  if (provisioned === null) throw new Error('the certificate is gone');
  const untried = { ...provisioned, opened: false };
  const before = { ...asking.state(), provisioned: untried, pinnedCa: null, request: openRequest(now) };
  for (const text of [success, '{"status":"failure","error":"maintenance"}']) {
    const adopting = attempt(storedResult(text, 1, now), before);
    await adopting.until(text === success ? 'ANSWERED' : 'FAILED');
    expect(adopting.calls).not.toContain('ask');
    expect(adopting.state()).toMatchObject({
      pinnedCa: provisioned.caCertificate,
      provisioned: { opened: true },
    });
  }
});

test('an attempt that is aborted as soon as it is connected asks nothing', async () => {
  const asking = attempt('none', { idIsNew: true }, undefined, { abortsAt: 'CONNECTED' });
  await expect.poll(() => asking.calls.at(-1)).toBe('close');
  expect(asking.calls).not.toContain('ask');
  expect(asking.state().request).toBeNull();
  expect(asking.told).toEqual([{ type: 'CONNECTED' }]);
});

test('a connection that ends while a device waits fails the attempt with what ended it, and the question stays open', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  asking.push({ type: 'closed', error: new OnboardingError('NATS_UNREACHABLE', 'it broke') });
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'NATS_UNREACHABLE' } });
  expect(asking.state().request).toMatchObject({ publishes: 1 });
});

test('where the subscription is denied, a stream that can be read brings the answer', async () => {
  const asking = attempt('none', {}, undefined, { isSilent: true });
  await asking.until('CONNECTED');
  const subject = `device_results.${deviceId}.register`;
  asking.push({ type: 'denied', operation: 'subscription', subject });
  asking.push({ type: 'stored', last: 'none' });
  await asking.until('PUBLISHED');
  asking.push({ type: 'stored', last: storedResult(success, 1, now) });
  await asking.until('ANSWERED');
});

test('a new device whose subscription is denied looks at the stream at once, not at the next poll', async () => {
  const asking = attempt('unavailable', { idIsNew: true });
  await asking.until('PUBLISHED');
  asking.push({
    type: 'denied',
    operation: 'subscription',
    subject: `device_results.${deviceId}.register`,
  });
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'NATS_DENIED' } });
  expect(asking.calls.filter((call) => call === 'look')).toHaveLength(1);
  expect(asking.timers.size).toBe(0);
});

test('a device with a new id looks at the stream only after it has asked', async () => {
  const asking = attempt('none', { idIsNew: true });
  await asking.until('PUBLISHED');
  expect(asking.timers).toEqual(new Set([1_000]));
  asking.stream.last = storedResult(success, 1, now);
  asking.looksAgain();
  await asking.until('ANSWERED');
  expect(asking.calls).toEqual(['subscribe', 'ask', 'look', 'close']);
});

test('the stream is looked at 1, 2, 4 and then every 5 seconds after the question', async () => {
  const asking = attempt();
  await asking.until('PUBLISHED');
  for (const ms of [1_000, 2_000, 4_000, 5_000, 5_000]) {
    await expect.poll(() => asking.timers).toEqual(new Set([ms]));
    asking.timers.clear();
    asking.looksAgain();
  }
});

test('through request and reply no stream is looked at, and nothing is subscribed to', async () => {
  const asking = attempt('none', { request: openRequest(now) }, undefined, { api: 'request' });
  await asking.until('PUBLISHED');
  expect(asking.calls).toEqual(['ask']);
  expect(asking.timers.size).toBe(0);
  asking.reply({ text: '{"token":"aGVsbG8K"}' });
  await asking.until('ANSWERED');
});

test.each<[string, 'jetstream' | 'request', string, boolean]>([
  ['of the results, where no stream can be read', 'jetstream', `device_results.${deviceId}.register`, true],
  ['of something else', 'jetstream', '_INBOX.x', false],
  ['of the inbox, through request and reply', 'request', '_INBOX.x', true],
])('a denied subscription %s', async (_, api, subject, isFatal) => {
  const asking = attempt('unavailable', {}, undefined, { api });
  await asking.until('PUBLISHED');
  asking.push({ type: 'denied', operation: 'subscription', subject });
  asking.push({ type: 'stored', last: 'unavailable' });
  if (isFatal) {
    expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'NATS_DENIED' } });
    // The question was published: an answer may come.
    expect(asking.state().request).not.toBeNull();
  } else {
    asking.reply({ text: success });
    await asking.until('ANSWERED');
  }
});

test('a denied publish takes back the question of this attempt, and no earlier one', async () => {
  const first = attempt();
  await first.until('PUBLISHED');
  first.deny();
  await first.until('FAILED');
  expect(first.state().request).toBeNull();
  const request = openRequest(now);
  const repeated = attempt('none', { request });
  await repeated.until('PUBLISHED');
  repeated.deny();
  await repeated.until('FAILED');
  expect(repeated.state().request).toEqual(request);
});

test('a question that the connection does not take does not count as asked', async () => {
  const asking = attempt('none', {}, new OnboardingError('NATS_UNREACHABLE', 'no headers'));
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'NATS_UNREACHABLE' } });
  expect(asking.state().request).toBeNull();
  expect(asking.told.map(({ type }) => type)).toEqual(['CONNECTED', 'FAILED']);
});

test('the question of an older version, which knew no sequences, is told by the times', () => {
  const { afterSequence, afterStoredAt, ...request } = openRequest(now);
  const { idIsNew, ...older } = newState(deviceId);
  const parsed = parseState(JSON.stringify({ ...older, request }));
  expect(parsed).toEqual({ ...newState(deviceId), request: openRequest(now) });
});

test('a denied subject of any length makes a short message at once', async () => {
  const denied = attempt();
  await denied.until('PUBLISHED');
  expect(processorMs(() => denied.deny(`device_actions.${'/'.repeat(20_000)}`))).toBeLessThan(250);
  const event = await denied.until('FAILED');
  expect(event).toMatchObject({ error: { code: 'NATS_DENIED' } });
  expect((event as { error: Error }).error.message.length).toBeLessThan(400);
});
