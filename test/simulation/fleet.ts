import { createEventQueue } from '../../src/adapters/nats/eventQueue.ts';
import type { ErrorCode } from '../../src/errors/catalogue.ts';
import { OnboardingError } from '../../src/errors/onboardingError.ts';
import type { Identity } from '../../src/services/onboarding/register.ts';
import type { Message } from '../../src/services/onboarding/registrationResult.ts';
import type { HttpAnswer } from '../../src/services/onboarding/requestCertificate.ts';
import type { Session } from '../../src/services/onboarding/session.ts';
import type { Chance } from '../support/chance.ts';
import type { Loop } from './loop.ts';
import { certificatePem, type SigningRequest } from './pki.ts';
import type { adversaryMoves, managerFaults, natsFaults, Plan, provisioningFaults } from './plan.ts';

/** What a result of an earlier life of an id says. */
export const earlierAlias = 'of an earlier life';
export const natsUrl = 'tls://nats.fleet:4222';
/** Where an adversary wants the device to go. */
export const adversaryUrl = 'tls://nats.adversary:4222';
const another = 'ffffffffffffffffffffffffffffffff';
/** How long a stream remembers message ids. */
const duplicateWindowMs = 120_000;
const noticeHalfOpenMs = 15_000;
const latestMs = 40_000;

/** What of the fleet a device's world needs, and what the invariants look at. */
export interface SimulatedFleet {
  /** PEM */
  readonly ca: string;
  /** The manager's memory: id → the question that was accepted. */
  readonly registry: Map<string, string>;
  /** Message ids of questions that were heard, per device, since its last answer. */
  readonly heard: Map<string, Set<string>>;
  /** Message ids of which a device has read that the stream dropped their repetition: it holds the question. */
  readonly dropped: Set<string>;
  readonly signed: SigningRequest[];
  /** The fleet's NATS was opened with a certificate of the fleet. */
  readonly wasOpened: () => boolean;
  readonly wasOpenedWith: (certificate: string) => boolean;
  /** NATS refuses all certificates that were issued so far. */
  revoke(): void;
  /** NATS refuses this certificate, and no other. */
  revokeOnly(certificate: string): void;
  /** The device forgot what it was: its questions, and that it has opened NATS. */
  forgotten(id: string): void;
  readonly isRevoked: (certificate: string) => boolean;
  /** A session with the adversary's NATS server. */
  readonly isAdversary: (session: Session) => boolean;
  post(json: string, signal: AbortSignal, isRenewal: boolean): Promise<HttpAnswer>;
  connect(identity: Identity, signal: AbortSignal): Promise<Session>;
  /** The stream holds a success for an id that the manager does not know any more. @param at milliseconds since 1970 */
  leaveResult(id: string, at: number): void;
  /** All connections end: the device lost its power or slept. */
  hangUp(how: 'silently' | 'told'): void;
}

export interface FleetWorld {
  readonly plan: Plan;
  readonly loop: Loop;
  readonly chance: Chance;
  readonly provisioningFault: () => (typeof provisioningFaults)[number] | null;
  readonly natsFault: () => (typeof natsFaults)[number] | null;
  readonly adversary: () => (typeof adversaryMoves)[number] | null;
  readonly managerFault: () => (typeof managerFaults)[number] | null;
  readonly tell: (line: string) => void;
}

interface Link {
  open: boolean;
  /** Nothing passes any more, and nobody has noticed. */
  silent: boolean;
  readonly listeners: Map<string, (message: Message) => void>;
  /** Bytes keep their order. */
  lastDelivery: number;
  end(error: OnboardingError | null): void;
}

export function createFleet(world: FleetWorld): SimulatedFleet {
  const { plan, loop, chance, tell } = world;
  const ca = certificatePem({
    subject: 'fleet root',
    key: 'fleetroot',
    issuer: 'fleetroot',
    notBefore: 0,
    notAfter: Date.UTC(2060, 0, 1),
    authority: true,
    serial: 0,
  });
  const rogue = ca.replaceAll('fleetroot', 'rogueroot').replace('fleet root', 'rogue root');
  const registry = new Map<string, string>();
  const heard = new Map<string, Set<string>>();
  const dropped = new Set<string>();
  const signed: SigningRequest[] = [];
  const asked = new Set<string>();
  const forgottenQuestions = new Set<string>();
  const seenIds = new Map<string, number>();
  const results = new Map<string, Message>();
  const links = new Set<Link>();
  const adversaries = new Set<Session>();
  let opened = false;
  /** Serial numbers count from 1; that of an earlier agent's certificate is 0. */
  let lastRevoked = -1;
  const revoked = new Set<number>();
  const openedWith = new Set<string>();
  let lastAnswer: Record<string, unknown> | null = null;
  let serial = 0;
  let sequence = 0;

  function isRevoked(certificate: string): boolean {
    const number = serialOf(certificate);
    return number <= lastRevoked || revoked.has(number);
  }

  /** TCP loses nothing: what the network loses comes later. */
  const trip = () => {
    let ms = plan.roundTripMs / 2 + chance() * 5;
    while (chance() < plan.loss) ms += 200 + plan.roundTripMs;
    return ms;
  };
  const after = (ms: number, call: () => void) => loop.at(loop.now() + ms, call);

  function sign(csr: SigningRequest, fault: string | null, isRenewal: boolean): Record<string, unknown> {
    signed.push(csr);
    const now = loop.now();
    const stranger = fault === 'another CA' && isRenewal && !plan.https;
    const dates: Record<string, [number, number]> = {
      'certificate expired': [now - 2 * plan.certificateLifeMs, now - 600_000],
      'certificate not yet valid': [now + 600_000, now + plan.certificateLifeMs],
    };
    const [notBefore, notAfter] = dates[fault ?? ''] ?? [now - 60_000, now + plan.certificateLifeMs];
    const certificate = certificatePem({
      subject:
        fault === 'certificate of another device'
          ? csr.commonName.replace(/fleet\/[^/]+/, `fleet/${another}`)
          : csr.commonName,
      key: fault === 'certificate of another key' ? 'otherkey' : csr.key,
      issuer: stranger || fault === 'certificate of another CA' ? 'rogueroot' : 'fleetroot',
      notBefore,
      notAfter,
      authority: false,
      serial: ++serial,
    });
    return { certificate, caCertificate: stranger ? rogue : ca, fleetManagementNatsUrl: natsUrl };
  }

  function misled(csr: SigningRequest, move: (typeof adversaryMoves)[number]): Record<string, unknown> {
    const away = { fleetManagementNatsUrl: adversaryUrl };
    if (move === 'moves the address') return { ...sign(csr, null, false), ...away };
    if (move === 'replays' && lastAnswer !== null) return { ...lastAnswer, ...away };
    const certificate = certificatePem({
      subject: csr.commonName,
      key: csr.key,
      issuer: 'rogueroot',
      notBefore: loop.now() - 60_000,
      notAfter: loop.now() + plan.certificateLifeMs,
      authority: false,
      serial: ++serial,
    });
    return { certificate, caCertificate: rogue, ...away };
  }

  function answerOf(csr: SigningRequest, fault: string | null, isRenewal: boolean): HttpAnswer {
    const serverTime = chance() < 0.9 ? Math.floor(loop.now() / 1000) * 1000 : null;
    const plain = { status: 200, contentType: 'application/json', body: '', serverTime, retryAfterMs: null };
    const [, status] = /^HTTP (\d+)/.exec(fault ?? '') ?? [];
    if (status !== undefined) {
      const retryAfterMs = fault?.includes('Retry-After') ? Math.round(chance() * 120_000) : null;
      return { ...plain, status: Number(status), retryAfterMs };
    }
    if (fault === 'captive portal')
      return { ...plain, contentType: 'text/html', body: '<html>Log in</html>' };
    const move = plan.https ? null : world.adversary();
    const json = move === null ? sign(csr, fault, isRenewal) : misled(csr, move);
    if (move === null) lastAnswer = json;
    else tell(`adversary: ${move}`);
    if (fault === 'field missing') delete json.caCertificate;
    if (fault === 'address malformed') json.fleetManagementNatsUrl = 'ftp://nowhere';
    const body = JSON.stringify(json);
    return { ...plain, body: fault === 'truncated' ? body.slice(0, body.length / 2) : body };
  }

  function post(json: string, signal: AbortSignal, isRenewal: boolean): Promise<HttpAnswer> {
    const csr = JSON.parse((JSON.parse(json) as { csr: string }).csr) as SigningRequest;
    return new Promise((resolve, reject) => {
      const settle = (ms: number, call: () => void) => after(ms, () => signal.aborted || call());
      signal.addEventListener('abort', () => reject(signal.reason));
      after(trip(), () => {
        const fault = world.provisioningFault();
        tell(`provisioning server: ${fault ?? 'signs'}`);
        const error = { refused: 'PROVISIONING_UNREACHABLE', tls: 'PROVISIONING_TLS' } as const;
        if (fault === 'refused' || fault === 'tls') {
          settle(trip(), () => reject(new OnboardingError(error[fault], 'simulated')));
        } else if (fault === 'answer lost') sign(csr, null, isRenewal);
        else if (fault !== 'silent') {
          const answer = answerOf(csr, fault, isRenewal);
          settle(trip() + (fault === 'late' ? chance() * latestMs : 0), () => resolve(answer));
        }
      });
    });
  }

  /** TLS with the adversary's server, or with the fleet's. */
  function tlsFault({ natsUrl: url, caCertificate, certificate }: Identity): ErrorCode | null {
    if (url === natsUrl) {
      const isOfFleet = caCertificate === ca && certificate.includes('"issuer":"fleetroot"');
      return isOfFleet ? null : 'NATS_TLS';
    }
    const believesFirstAnswer = !opened && !plan.pinned;
    if (believesFirstAnswer || world.adversary() !== 'answers, runs NATS') return 'NATS_UNREACHABLE';
    return caCertificate === rogue ? null : 'NATS_TLS';
  }

  function connect(identity: Identity, signal: AbortSignal): Promise<Session> {
    return new Promise((resolve, reject) => {
      const settle = (ms: number, call: () => void) => after(ms, () => signal.aborted || call());
      signal.addEventListener('abort', () => reject(signal.reason));
      const refusal = {
        refused: 'NATS_UNREACHABLE',
        tls: 'NATS_TLS',
        'not secure': 'NATS_NOT_SECURE',
        denied: 'NATS_DENIED',
        'refuses the device': 'NATS_DENIED',
      } as const;
      const fault = world.natsFault();
      if (fault === 'silent') return;
      settle(trip() + trip() + trip() + trip(), () => {
        tell(`nats: ${fault ?? 'connected'}`);
        const refused = tlsFault(identity);
        if (fault !== null && Object.hasOwn(refusal, fault)) {
          const reason = fault === 'refuses the device' ? 'not-authorized' : null;
          reject(new OnboardingError(refusal[fault as keyof typeof refusal], 'simulated', { reason }));
        } else if (refused !== null) reject(new OnboardingError(refused, 'simulated'));
        else if (identity.natsUrl === natsUrl && isRevoked(identity.certificate))
          reject(new OnboardingError('NATS_TLS', 'simulated', { reason: 'client-certificate-refused' }));
        else {
          const session = open(identity.deviceId, fault);
          openedWith.add(identity.certificate);
          if (identity.natsUrl === natsUrl) opened = true;
          else adversaries.add(session);
          resolve(session);
        }
      });
    });
  }

  function open(deviceId: string, fault: string | null): Session {
    const queue = createEventQueue();
    let afterPublish = false;
    const link: Link = {
      open: true,
      silent: false,
      listeners: new Map(),
      lastDelivery: 0,
      end(error) {
        link.open = false;
        links.delete(link);
        if (error) queue.push({ type: 'closed', error });
      },
    };
    links.add(link);
    const deliver = (call: () => void) => {
      link.lastDelivery = Math.max(link.lastDelivery + 0.01, loop.now() + trip());
      loop.at(link.lastDelivery, () => link.open && !link.silent && call());
    };
    if (fault === 'breaks') after(chance() * 3 * plan.roundTripMs, () => link.end(broken()));
    if (fault === 'half-open') {
      after(chance() * 3 * plan.roundTripMs, () => {
        link.silent = true;
        after(noticeHalfOpenMs, () => link.end(broken()));
      });
    }
    const deny = (operation: 'publish' | 'subscription', subject: string) =>
      deliver(() => queue.push({ type: 'denied', operation, subject }));
    return {
      isEncrypted: true,
      events: queue.events,
      subscribe: (subject) =>
        deliver(() => {
          if (world.natsFault() === 'subscription denied') deny('subscription', subject);
          else
            link.listeners.set(subject, (message) =>
              deliver(() => queue.push({ type: 'live', message, afterPublish })),
            );
        }),
      publishRequest(subject, _text, headers) {
        afterPublish = true;
        deliver(() => {
          if (world.natsFault() === 'publish denied') deny('publish', subject);
          else {
            asked.add(headers['Nats-Msg-Id'] ?? '');
            hear(deviceId, headers['Nats-Msg-Id'] ?? '', (message) =>
              deliver(() => {
                if (message.text?.includes('"duplicate":true')) dropped.add(headers['Nats-Msg-Id'] ?? '');
                queue.push({ type: 'reply', message });
              }),
            );
          }
        });
      },
      requestLastStored: (subject) =>
        deliver(() => {
          const absent = world.natsFault() === 'no stream' || plan.api === 'request';
          const stored = absent ? 'unavailable' : (results.get(subject) ?? 'none');
          const waits = world.natsFault() === 'look-up silent' ? 6000 : 0;
          const last = waits > 0 ? 'unavailable' : stored;
          after(waits, () => deliver(() => queue.push({ type: 'stored', last })));
        }),
      async close() {
        queue.end();
        link.end(null);
      },
    };
  }

  function hear(deviceId: string, messageId: string, reply: (message: Message) => void): void {
    const away = world.managerFault() === 'away';
    if (plan.api === 'request' || world.natsFault() === 'no stream') {
      if (away) reply({ ...nothing, status: 503 });
      else manage(deviceId, messageId, plan.api === 'request' ? reply : null);
      return;
    }
    const seenAt = seenIds.get(messageId);
    const duplicate = seenAt !== undefined && loop.now() - seenAt < duplicateWindowMs;
    if (!duplicate) {
      seenIds.set(messageId, loop.now());
      const take = () => {
        if (world.managerFault() === 'away') after(5000, take);
        else manage(deviceId, messageId, null);
      };
      after(trip(), take);
    }
    reply({ ...nothing, text: JSON.stringify({ stream: 'ACTIONS', seq: seenIds.size, duplicate }) });
  }

  /** One question: the manager accepts each device once. */
  function manage(id: string, messageId: string, reply: ((message: Message) => void) | null): void {
    const fault = world.managerFault();
    tell(`manager: hears ${messageId.slice(-4)}: ${fault ?? 'answers'}`);
    if (fault === 'request lost') return;
    const ids = heard.get(id) ?? new Set<string>();
    // What a device asked before it was reset binds it no more, also if it is heard only now.
    heard.set(id, forgottenQuestions.has(messageId) ? ids : ids.add(messageId));
    const send = (text: string, more: Partial<Message> = {}) => {
      const timestamp = new Date(loop.now()).toISOString().replace(/\.\d+Z$/, 'Z');
      const message: Message = { ...nothing, text, id, timestamp, ...more };
      if (reply !== null) {
        reply(message);
        return;
      }
      const subject = `device_results.${id}.register`;
      if (world.natsFault() !== 'no stream')
        results.set(subject, { ...message, storedAt: loop.now(), sequence: ++sequence });
      for (const link of links) link.listeners.get(subject)?.(message);
    };
    const alias = `Alpha${id}`;
    const success = JSON.stringify({ status: 'success', payload: { alias }, alias, token: 'c2VjcmV0' });
    const aDayAgo = new Date(loop.now() - 86_400_000).toISOString();
    if (fault === 'refuses') {
      ids.clear();
      send('{"status":"failure","error":"maintenance"}');
    } else if (fault === 'result old') send(success, { timestamp: aDayAgo });
    if (fault === 'refuses' || fault === 'result old') return;
    const isNew = !registry.has(id);
    if (isNew) registry.set(id, messageId);
    else ids.clear();
    const text = isNew ? success : '{"status":"failure","error":"device already registered"}';
    if (fault === 'result malformed') send('{"status":"succ');
    else if (fault === 'result of another device') send(success, { id: another });
    else if (fault !== 'result lost') {
      const copies = fault === 'result twice' ? 2 : 1;
      const wait = fault === 'result late' ? chance() * latestMs : 0;
      for (let copy = 0; copy < copies; copy++) after(wait + trip(), () => send(text));
    }
  }

  return {
    ca,
    registry,
    heard,
    dropped,
    signed,
    wasOpened: () => opened,
    wasOpenedWith: (certificate) => openedWith.has(certificate),
    revoke() {
      lastRevoked = serial;
    },
    revokeOnly: (certificate) => void revoked.add(serialOf(certificate)),
    forgotten(id) {
      heard.get(id)?.clear();
      for (const messageId of asked) forgottenQuestions.add(messageId);
      opened = false;
    },
    isRevoked,
    isAdversary: (session) => adversaries.has(session),
    post,
    connect,
    leaveResult(id, at) {
      const timestamp = new Date(at).toISOString();
      const text = JSON.stringify({ status: 'success', alias: earlierAlias });
      const stored = { ...nothing, text, id, timestamp, storedAt: at, sequence: ++sequence };
      results.set(`device_results.${id}.register`, stored);
    },
    hangUp(how) {
      for (const link of [...links]) link.end(how === 'told' ? broken() : null);
    },
  };
}

function serialOf(certificate: string): number {
  return Number(/"serial":(\d+)/.exec(certificate)?.[1]);
}

const nothing: Message = {
  text: '',
  id: null,
  timestamp: null,
  storedAt: null,
  sequence: null,
  status: null,
};
const broken = () => new OnboardingError('NATS_UNREACHABLE', 'the connection broke');
