import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import type { OnboardingError } from '../../errors/onboardingError.ts';
import { type Reason, remedyOf } from '../../errors/reasons.ts';

/** What one check found. */
export interface Finding {
  readonly verdict: 'pass' | 'fail' | 'skip';
  /** The code that the daemon would log; null also for a device that is not registered yet, and has not failed */
  readonly code: ErrorCode | null;
  /** Finer than the code; null if the code says it all */
  readonly reason: Reason | null;
  readonly detail: string;
  readonly remedy: string | null;
}

export const checkIds = [
  'configuration',
  'state-directory',
  'key',
  'clock',
  'name-resolution',
  'provisioning-server',
  'nats-server',
  'certificate',
  'exports',
  'registration',
] as const;
export type CheckId = (typeof checkIds)[number];

export interface Check extends Finding {
  readonly id: CheckId;
  readonly durationMs: number;
}

export function passed(detail: string): Finding {
  return { verdict: 'pass', code: null, reason: null, detail, remedy: null };
}

export function skipped(detail: string): Finding {
  return { verdict: 'skip', code: null, reason: null, detail, remedy: null };
}

/** @param remedy by default that of the catalogue */
export function failed(code: ErrorCode, detail: string, remedy?: string): Finding {
  return { verdict: 'fail', code, reason: null, detail, remedy: remedy ?? catalogue[code].remedy };
}

/** A failure for a reason, with the remedy of the reason unless there is a closer one. */
export function failedFor(code: ErrorCode, reason: Reason | null, detail: string, remedy?: string): Finding {
  return { verdict: 'fail', code, reason, detail, remedy: remedy ?? remedyOf(code, reason) };
}

/** The failure that the daemon would log, with the same code and reason. */
export function failedBy({ code, reason, message }: OnboardingError): Finding {
  return { verdict: 'fail', code, reason, detail: message, remedy: remedyOf(code, reason) };
}

/** A setting that is allowed but unsafe, or probably a mistake. */
export interface Warning {
  /** The key of the configuration, or the option that names the file */
  readonly key: string;
  readonly message: string;
}
