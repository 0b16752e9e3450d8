import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { type NetworkProblem, type Problem, problems } from '../../errors/networkProblem.ts';
import { plainText } from '../../text/plainText.ts';

/** What one check found. */
export interface Finding {
  readonly verdict: 'pass' | 'fail' | 'skip';
  /** The code that the daemon would log */
  readonly code: ErrorCode | null;
  /** Finer than the code, where the network is concerned */
  readonly problem: Problem | null;
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
  return { verdict: 'pass', code: null, problem: null, detail, remedy: null };
}

export function skipped(detail: string): Finding {
  return { verdict: 'skip', code: null, problem: null, detail, remedy: null };
}

/** @param remedy by default that of the catalogue */
export function failed(code: ErrorCode, detail: string, remedy?: string): Finding {
  return { verdict: 'fail', code, problem: null, detail, remedy: remedy ?? catalogue[code].remedy };
}

/** @param server whose trouble it is, for the code */
export function troubled(server: 'provisioning' | 'nats', { problem, detail }: NetworkProblem): Finding {
  const { codes, remedy, natsRemedy } = problems[problem];
  return server === 'nats'
    ? { verdict: 'fail', code: codes[1], problem, detail, remedy: natsRemedy ?? remedy }
    : { verdict: 'fail', code: codes[0], problem, detail, remedy };
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
