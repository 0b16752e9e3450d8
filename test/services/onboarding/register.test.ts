import { expect, test } from 'vitest';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import type { RegisterEvent } from '../../../src/machines/onboarding.ts';
import { register, type Session, type SessionEvents } from '../../../src/services/onboarding/register.ts';
import type { Message } from '../../../src/services/onboarding/registrationResult.ts';
import {
  currentState,
  type DeviceState,
  files,
  newState,
  type OpenRequest,
  parseState,
  type StateDirectory,
  writeState,
} from '../../../src/services/state/deviceState.ts';
import { certificatePem, keyPem, parseCertificates } from '../../sim/pki.ts';

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
const alreadyRegistered = '{"status":"failure","error":"device already registered"}';

/** A question that was published once and has no answer. */
function openRequest(at: number, more: Partial<OpenRequest> = {}): OpenRequest {
  const firstAt = new Date(at).toISOString();
  return { messageId: 'q', firstAt, publishes: 1, afterSequence: null, afterStoredAt: null, ...more };
}

/** One attempt against a session that the test plays. */
function attempt(
  stored: Message | 'none' | 'unavailable' = 'none',
  changes: Partial<DeviceState> = {},
  refuseToAsk?: Error,
) {
  const stream = { last: stored };
  const contents = new Map([[files.key as string, keyPem('k1')]]);
  const disk = { isFull: false };
  const directory: StateDirectory = {
    read: (name) => contents.get(name) ?? null,
    write(name, text) {
      if (disk.isFull) throw new OnboardingError('STATE_UNWRITABLE', 'no space left');
      contents.set(name, text);
    },
    refresh: (name, text) => void contents.set(name, text),
    restrict: () => undefined,
    quarantine: (name) => name,
  };
  const certificate = certificatePem({
    subject: `fleet/${deviceId}`,
    key: 'k1',
    issuer: 'root',
    notBefore: now - hour,
    notAfter: now + hour,
    authority: false,
    serial: 1,
  });
  const provisioned = {
    certificate,
    caCertificate: certificate,
    natsUrl: 'n',
    renewAt: new Date(now).toISOString(),
    opened: false,
  };
  writeState(directory, { ...newState(deviceId, now), provisioned, ...changes });
  const clock = { now };
  let reply: (message: Message) => void = () => undefined;
  let hear: (message: Message) => void = () => undefined;
  let look = () => {};
  const calls: ('look' | 'ask')[] = [];
  let events: SessionEvents | undefined;
  const told: RegisterEvent[] = [];
  let onTold = () => {};
  const session: Session = {
    isEncrypted: true,
    closed: new Promise(() => undefined),
    subscribe: (_subject, onMessage) => {
      hear = onMessage;
    },
    publishRequest: (_subject, _text, _headers, onReply) => {
      if (refuseToAsk) throw refuseToAsk;
      calls.push('ask');
      reply = onReply;
    },
    lastStored: async () => {
      calls.push('look');
      return stream.last;
    },
    close: async () => undefined,
  };
  register(
    {
      directory,
      pki: { parseCertificates, isSignedBy: () => true },
      connect: async (_identity, given) => {
        events = given;
        return session;
      },
      now: () => clock.now,
      randomUUID: () => 'question-1',
      setTimer: (_, call) => {
        look = call;
        return () => undefined;
      },
    },
    { api: 'jetstream', device: {}, natsUrl: null, builtAt: 0 },
    (event) => {
      told.push(event);
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
    until,
    looksAgain: () => look(),
    hear: (message: Partial<Message>) => hear({ ...nothing, ...message }),
    state: () => currentState(directory),
    reply: (message: Partial<Message>) => reply({ ...nothing, ...message }),
    deny: (subject = `device_actions.${deviceId}.register`) => events?.onDenied('publish', subject),
  };
}

test('a full disk that keeps a question from being taken back fails the attempt, and throws at no callback', async () => {
  const unheard = attempt();
  await unheard.until('ASKED');
  unheard.disk.isFull = true;
  unheard.reply({ status: 503 });
  expect(await unheard.until('FAILED')).toMatchObject({ error: { code: 'STATE_UNWRITABLE' } });

  const denied = attempt();
  await denied.until('ASKED');
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
  await refused.until('ASKED');
  refused.reply({ text: '{"status":"failure","error":"maintenance"}' });
  expect(await refused.until('FAILED')).toMatchObject({ error: { code: 'REGISTRATION_REJECTED' } });
  const next = attempt('none', refused.state());
  await next.until('ASKED');
  next.reply({ text: alreadyRegistered });
  await next.until('ANSWERED');
  expect(next.state().registration).not.toBeNull();
});

test('“already registered” to the first question of a device is a clash', async () => {
  const first = attempt();
  await first.until('ASKED');
  first.reply({ text: alreadyRegistered });
  expect(await first.until('FAILED')).toMatchObject({ error: { code: 'REGISTRATION_REJECTED' } });
});

test('a question whose date is of 1970, rebuilt under a wrong clock, makes no old result an answer', async () => {
  const request = openRequest(0);
  const timestamp = new Date(now - 24 * hour).toISOString();
  const stored = { ...nothing, text: '{"status":"success"}', timestamp, storedAt: now };
  const asking = attempt(stored, { request });
  await asking.until('ASKED');
  expect(asking.state().registration).toBeNull();
});

test('an answer that was kept is not asked for again, whatever failed after it', async () => {
  const registration = { alias: 'a', at: new Date(now).toISOString(), result: '{"status":"success"}' };
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
const success = '{"status":"success","alias":"a"}';

test.each([
  ['success', success],
  ['refusal', '{"status":"failure","error":"maintenance"}'],
])('a %s from an earlier life of the id is no answer, what the stream stores after it is', async (_, text) => {
  const old = storedResult(text, 5, now - minute);
  const asking = attempt(old);
  await asking.until('ASKED');
  expect(asking.calls).toEqual(['look', 'ask']);
  expect(asking.state().request).toMatchObject({ publishes: 1, afterSequence: 5 });
  asking.looksAgain();
  await expect.poll(() => asking.calls).toEqual(['look', 'ask', 'look']);
  expect(asking.state().registration).toBeNull();
  asking.stream.last = storedResult('{"status":"success","alias":"new"}', 6, now);
  asking.looksAgain();
  await asking.until('ANSWERED');
  expect(asking.state()).toMatchObject({ registration: { alias: 'new' }, request: null, idIsNew: false });
});

test('the same old result is passed over at every look, and after a restart', async () => {
  const old = storedResult(success, 5, now - minute);
  const asking = attempt(old);
  await asking.until('ASKED');
  const again = attempt(old, asking.state());
  await again.until('ASKED');
  expect(again.calls).toEqual(['look', 'ask']);
  expect(again.state().request).toMatchObject({ publishes: 2, afterSequence: 5 });
  expect(again.state().registration).toBeNull();
});

test('a result that was stored while the device was off is taken, and nothing is asked again', async () => {
  const asking = attempt(storedResult(success, 5, now - minute));
  await asking.until('ASKED');
  const again = attempt(storedResult('{"status":"success","alias":"new"}', 6, now + minute), asking.state());
  await again.until('ANSWERED');
  expect(again.calls).toEqual(['look']);
  expect(again.state().registration).toMatchObject({ alias: 'new' });
});

test('a stream that held nothing makes whatever it stores later an answer', async () => {
  const asking = attempt('none');
  await asking.until('ASKED');
  expect(asking.state().request).toMatchObject({ afterSequence: 0, afterStoredAt: null });
  const again = attempt(storedResult(success, 1, now), asking.state());
  await again.until('ANSWERED');
});

test('a stream that was made anew counts from 1: a result of it is told by the stream’s clock', async () => {
  const asking = attempt(storedResult(success, 500, now - hour));
  await asking.until('ASKED');
  const after = (ms: number) => attempt(storedResult(success, 1, now - hour + ms), asking.state());
  const early = after(4 * minute);
  await early.until('ASKED');
  const anew = after(hour);
  await anew.until('ANSWERED');
  expect(anew.calls).toEqual(['look']);
});

test('an old result stays old under a device’s clock that is slow', async () => {
  // Ten minutes slow: seen with it, the result of a minute ago lies in the future.
  const asking = attempt(storedResult(success, 5, now + 9 * minute));
  await asking.until('ASKED');
  const again = attempt(storedResult(success, 5, now + 9 * minute), asking.state());
  await again.until('ASKED');
});

test('a device that made its id asks without a look, until a question of it was answered', async () => {
  const fresh = attempt('none', { idIsNew: true });
  await fresh.until('ASKED');
  expect(fresh.calls).toEqual(['ask']);
  const refusal = storedResult('{"status":"failure","error":"maintenance"}', 1, now);
  fresh.reply({ text: refusal.text });
  await fresh.until('FAILED');
  const next = attempt(refusal, fresh.state());
  await next.until('ASKED');
  expect(next.calls).toEqual(['look', 'ask']);
  expect(next.state().request).toMatchObject({ afterSequence: 1 });
});

test('where no stream can be read, what arrives live is the answer', async () => {
  const asking = attempt('unavailable');
  await asking.until('ASKED');
  expect(asking.state().request).toMatchObject({ afterSequence: null });
  asking.hear({ text: success });
  await asking.until('ANSWERED');
});

test('an old result that a later look finds, where the first one failed, is no answer however fresh', async () => {
  const asking = attempt('unavailable');
  await asking.until('ASKED');
  const again = attempt(storedResult(success, 5, now - minute), asking.state());
  await again.until('ASKED');
  expect(again.state().registration).toBeNull();
  const later = attempt(storedResult(success, 6, now + minute), asking.state());
  await later.until('ANSWERED');
});

test('what arrives live before the question went out is no answer', async () => {
  const asking = attempt('none');
  await asking.until('CONNECTED');
  asking.hear({ text: success });
  await asking.until('ASKED');
  expect(asking.state().registration).toBeNull();
  asking.hear({ text: '{"status":"success","alias":"new"}' });
  await asking.until('ANSWERED');
  expect(asking.state().registration).toMatchObject({ alias: 'new' });
});

test('a question that the connection does not take does not count as asked', async () => {
  const asking = attempt('none', {}, new OnboardingError('NATS_UNREACHABLE', 'no headers'));
  expect(await asking.until('FAILED')).toMatchObject({ error: { code: 'NATS_UNREACHABLE' } });
  expect(asking.state().request).toBeNull();
  expect(asking.told.map(({ type }) => type)).toEqual(['CONNECTED', 'FAILED']);
});

test('the question of an older version, which knew no sequences, is told by the times', () => {
  const { afterSequence, afterStoredAt, ...request } = openRequest(now);
  const { idIsNew, ...older } = newState(deviceId, now);
  const parsed = parseState(JSON.stringify({ ...older, request }));
  expect(parsed).toEqual({ ...newState(deviceId, now), request: openRequest(now) });
});

test('a denied subject of any length makes a short message at once', async () => {
  const denied = attempt();
  await denied.until('ASKED');
  const begun = performance.now();
  denied.deny(`device_actions.${'/'.repeat(20_000)}`);
  expect(performance.now() - begun).toBeLessThan(250);
  const event = await denied.until('FAILED');
  expect(event).toMatchObject({ error: { code: 'NATS_DENIED' } });
  expect((event as { error: Error }).error.message.length).toBeLessThan(400);
});
