import { expect, test } from 'vitest';
import { OnboardingError } from '../../src/errors.ts';
import type { RegisterEvent } from '../../src/machines/onboarding.ts';
import {
  currentState,
  type DeviceState,
  files,
  newState,
  type StateDirectory,
  writeState,
} from '../../src/services/deviceState.ts';
import { register, type Session, type SessionEvents } from '../../src/services/register.ts';
import type { Message } from '../../src/services/registrationResult.ts';
import { certificatePem, keyPem, parseCertificates } from '../sim/pki.ts';

const deviceId = 'd1';
const now = Date.UTC(2026, 10, 23);
const hour = 3_600_000;
const nothing: Message = { text: '', id: null, timestamp: null, storedAt: null, status: null };
const alreadyRegistered = '{"status":"failure","error":"device already registered"}';

/** One attempt against a session that the test plays. */
function attempt(stored: Message | 'none' = 'none', changes: Partial<DeviceState> = {}) {
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
    setAside: (name) => name,
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
  let events: SessionEvents | undefined;
  const told: RegisterEvent[] = [];
  let onTold = () => {};
  const session: Session = {
    isEncrypted: true,
    lost: new Promise(() => undefined),
    listen: () => undefined,
    ask: (_subject, _text, _headers, onReply) => {
      reply = onReply;
    },
    lastStored: async () => stored,
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
      newId: () => 'question-1',
      later: () => () => undefined,
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
    until,
    state: () => currentState(directory),
    reply: (message: Partial<Message>) => reply({ ...nothing, ...message }),
    deny: () => events?.onDenied('publish', `device_actions.${deviceId}.register`),
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
  const request = { messageId: 'q', firstAt: new Date(now).toISOString(), publishes: 1 };
  const timestamp = new Date(now - 24 * hour).toISOString();
  const stored = { ...nothing, text: '{"status":"success"}', timestamp, storedAt: now };
  const waiting = attempt(stored, { request });
  waiting.clock.now = now - 48 * hour;
  expect(await waiting.until('FAILED')).toMatchObject({ error: { code: 'CLOCK_WRONG' } });
  expect(waiting.state().registration).toBeNull();
});

test('a refusal of a repeated question does not make a stranger of a device that was accepted by the first', async () => {
  const request = { messageId: 'q', firstAt: new Date(now).toISOString(), publishes: 1 };
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
  const request = { messageId: 'q', firstAt: new Date(0).toISOString(), publishes: 1 };
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
