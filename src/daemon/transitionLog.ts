import type { Log } from '../adapters/logger.ts';
import type { OnboardingError } from '../errors/onboardingError.ts';
import { remedyOf } from '../errors/reasons.ts';
import type { EventName, events, FieldsOf, StateName } from '../events.ts';
import type { EmittedEvent, Failed, LeftReason } from '../machines/contracts.ts';
import type { Failure } from '../machines/failure.ts';

/** One line of the log, as data. */
export type LogEntry = {
  [E in EventName]: readonly [(typeof events)[E]['level'], E, string, FieldsOf<E>];
}[EventName];

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
    case 'certificate.renewed': {
      const { type, ...fields } = emitted;
      return ['info', type, `the certificate was renewed and is valid until ${fields.notAfter}`, fields];
    }
    case 'address.refused': {
      const { type, ...fields } = emitted;
      return ['warn', type, `the new NATS address is not taken: ${fields.code}: ${fields.cause}`, fields];
    }
    case 'certificate.useless': {
      const { type, ...fields } = emitted;
      const message = `the certificate has not opened NATS in ${fields.failures} tries: another one is asked for`;
      return ['warn', type, message, fields];
    }
  }
}

function entryOfFailure({ type, ...fields }: Failed): LogEntry {
  const { step, code, attempt, retryInMs, cause } = fields;
  const next =
    retryInMs === null ? 'no further try by itself' : `next try in ${(retryInMs / 1000).toFixed(1)} s`;
  return ['warn', type, `${step}, attempt ${attempt}: ${code}: ${cause}; ${next}`, fields];
}

/** What the log says of a damaged file that was quarantined; the device goes on. */
export function entryOfQuarantined({ code, reason, class: errorClass, message }: OnboardingError): LogEntry {
  const failed = { step: 'idle', code, reason, class: errorClass, attempt: 1 } as const;
  return ['warn', 'step.failed', message, { ...failed, retryInMs: 0, cause: message }];
}

/** What the log says of a device that has to register anew. */
export function entryOfLeft(reason: LeftReason): LogEntry {
  return ['info', 'registration.left', `not registered any more (${reason}): it registers anew`, { reason }];
}
