import type { Log } from '../adapters/logger.ts';
import type { OnboardingError } from '../errors/onboardingError.ts';
import { remedyOf } from '../errors/reasons.ts';
import type { EventName, FieldsOf, LeaveReason, LevelOf, ReplaceReason, StateName } from '../events.ts';
import type { EmittedEvent, Failed, Failure } from '../machines/contracts.ts';
import type { Adopted } from '../services/onboarding/adoptIdentity.ts';
import type { DeviceFields } from '../services/onboarding/deviceFields.ts';
import type { ExportFailure } from '../services/onboarding/exportFiles.ts';

/** One line of the log, as data. */
export type LogEntry = {
  [E in EventName]: readonly [LevelOf<E>, E, string, FieldsOf<E>];
}[EventName];

/** Takes an entry to the log. */
export type Report = (entry: LogEntry) => void;

export function write(log: Log, [level, event, message, fields]: LogEntry): void {
  (log as (level: string, event: string, message: string, fields: object) => void)(
    level,
    event,
    message,
    fields,
  );
}

export interface Transition {
  readonly from: StateName;
  readonly to: StateName;
  /** Milliseconds spent in `from` */
  readonly durationMs: number;
  /** Milliseconds since the daemon started */
  readonly uptimeMs: number;
  readonly alias: string | null;
  readonly failure: Pick<Failure, 'code' | 'reason' | 'message'> | null;
}

/** What the log says of a device that entered another state. */
export function entriesOfTransition(transition: Transition): LogEntry[] {
  const { from, to, durationMs, uptimeMs, alias, failure } = transition;
  const entries: LogEntry[] = [['info', 'state.changed', `${from} → ${to}`, { from, to, durationMs }]];
  if (to === 'registered') {
    const message = `registered${alias === null ? '' : ` as ${alias}`}`;
    entries.push(['info', 'device.registered', message, { alias, durationMs: uptimeMs }]);
  }
  if (to === 'failed' && failure !== null) {
    const { code, reason, message } = failure;
    entries.push(['error', 'device.failed', `${code}: ${message}`, { code, remedy: remedyOf(code, reason) }]);
  }
  return entries;
}

/** What the log says of an event that the machine emitted. */
export function entryOfEmitted(emitted: EmittedEvent): LogEntry {
  switch (emitted.type) {
    case 'step.failed':
      return entryOfFailure(emitted);
    case 'certificate.issued': {
      const { type, ...fields } = emitted;
      return ['info', type, `a certificate was issued, valid until ${fields.notAfter}`, fields];
    }
    case 'certificate.renewed': {
      const { type, ...fields } = emitted;
      return ['info', type, `the certificate was renewed and is valid until ${fields.notAfter}`, fields];
    }
    case 'certificate.rolled-back': {
      const { type, ...fields } = emitted;
      const message = `NATS refuses the new certificate for good: the one before is back, valid until ${fields.notAfter}`;
      return ['warn', type, message, fields];
    }
    case 'registration.left':
      return entryOfLeft(emitted.reason);
    case 'address.refused': {
      const { type, ...fields } = emitted;
      return ['warn', type, `the new NATS address is not taken: ${fields.code}: ${fields.cause}`, fields];
    }
    case 'certificate.useless': {
      const { type, ...fields } = emitted;
      const message = `the certificate did not open NATS in the last ${fields.failures} tries: another one is asked for`;
      return ['warn', type, message, fields];
    }
  }
}

function entryOfFailure({ type, urgent, ...fields }: Failed): LogEntry {
  const { step, code, attempt, retryInMs, cause } = fields;
  const next =
    retryInMs === null ? 'no further try by itself' : `next try in ${(retryInMs / 1000).toFixed(1)} s`;
  const level = urgent ? 'error' : 'warn';
  const soon = urgent ? '; the certificate expires soon' : '';
  return [level, type, `${step}, attempt ${attempt}: ${code}: ${cause}; ${next}${soon}`, fields];
}

/** What the log says of a damaged file that was quarantined; the device goes on. */
export function entryOfQuarantined({ code, reason, class: errorClass, message }: OnboardingError): LogEntry {
  const failed = { step: 'idle', code, reason, class: errorClass, attempt: 1 } as const;
  return ['warn', 'step.failed', message, { ...failed, retryInMs: 0, cause: message }];
}

/** What the log says of a device that goes on with another id or another key than it had. */
export function entryOfReplaced(reason: ReplaceReason): LogEntry {
  const what = {
    'state-damaged': 'the state was damaged and there was no key: the device starts over as a new one',
    'state-missing': 'the state and the key are gone: the device starts over as a new one',
    'key-lost': 'the key was damaged or gone: the device gets a new one under its id',
  }[reason];
  return ['warn', 'identity.replaced', what, { reason }];
}

/** What the log says of a registered device that is not registered any more. */
export function entryOfLeft(reason: LeaveReason): LogEntry {
  return ['warn', 'registration.left', `the device is not registered any more: ${reason}`, { reason }];
}

/** What the log says of an earlier agent's identity that was taken over. */
export function entryOfAdopted({ deviceId, key, certificate, reason }: Adopted): LogEntry {
  const rest =
    reason === null ? 'key and certificate are kept' : `key: ${key}, certificate: ${certificate}: ${reason}`;
  const message = `the identity ${deviceId} of the earlier agent was taken over; ${rest}`;
  return ['info', 'identity.adopted', message, { key, certificate, cause: reason }];
}

/** What the log says of an export that was not written. */
export function entryOfExportFailure({ item, path, error }: ExportFailure): LogEntry {
  const { code, reason, message } = error;
  const fields = { item, path, code, reason, cause: message };
  return ['warn', 'export.failed', `${item} is not exported: ${code}: ${message}`, fields];
}

/** What the log says of a configured field that the registration request leaves out. */
export function entryOfLeftOut({ key, message }: DeviceFields['leftOut'][number]): LogEntry {
  return ['warn', 'config.warning', message, { key }];
}
