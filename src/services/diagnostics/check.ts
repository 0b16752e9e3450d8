import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import type { OnboardingError } from '../../errors/onboardingError.ts';
import { type Reason, remedyOf } from '../../errors/reasons.ts';
import { plainText } from '../../text/plainText.ts';

/** What one check found. */
export interface Finding {
  readonly verdict: 'pass' | 'fail' | 'skip';
  /** The code that the daemon would log */
  readonly code: ErrorCode | null;
  /** Finer than the code; null where there is nothing finer to say */
  readonly reason: Reason | null;
  readonly detail: string;
  readonly remedy: string | null;
}

export const checkIds = [
  'configuration',
  'state-directory',
  'clock',
  'name-resolution',
  'provisioning-server',
  'nats-server',
  'certificate',
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

/** The failure that the daemon would log, with the same code and reason. */
export function failedBy({ code, reason, message }: OnboardingError): Finding {
  return { verdict: 'fail', code, reason, detail: message, remedy: remedyOf(code, reason) };
}

/** What is allowed in the configuration, and yet not as it should be. */
export interface Warning {
  /** The key of the configuration, or the option that names the file */
  readonly key: string;
  readonly message: string;
}

/** One line for each check, with its remedy, one for each warning, and a last one that sums up. */
export function checkLines(checks: readonly Check[], warnings: readonly Warning[] = []): string[] {
  const lines = checks.map(({ id, verdict, durationMs, code, detail, remedy }) => {
    const took = durationMs < 1000 ? `${durationMs} ms` : `${(durationMs / 1000).toFixed(1)} s`;
    const what = code === null ? detail : `${code}: ${detail}`;
    const text = remedy === null ? what : `${what.replace(/[.;]*$/, '')}. Remedy: ${remedy}`;
    return `${verdict.padEnd(4)}  ${id.padEnd(19)}  ${took.padStart(6)}  ${plainText(text)}`;
  });
  const count = (verdict: string) => checks.filter((check) => check.verdict === verdict).length;
  const bad = count('fail');
  const sum = bad === 0 ? 'nothing is wrong' : `${bad} of ${checks.length} checks failed`;
  const beware = warnings.map(({ message }) =>
    plainText(`warn  ${'configuration'.padEnd(19)}  ${''.padStart(6)}  ${message}`),
  );
  return [...lines, ...beware, `${sum}: ${count('pass')} passed, ${bad} failed, ${count('skip')} skipped`];
}
