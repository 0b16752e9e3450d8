import type { Check, Warning } from '../../services/diagnostics/check.ts';
import { plainText } from '../../text/plainText.ts';
import { type Line, layOut, pipe, type Terminal } from './terminal.ts';

const tones = { pass: 'good', fail: 'bad', skip: 'warning' } as const;
const idWidth = 19;
const hang = 6;

/** The verdict, then one line for each check, with its remedy, and one for each warning. */
export function checkLines(
  checks: readonly Check[],
  warnings: readonly Warning[] = [],
  terminal: Terminal = pipe,
): string[] {
  const lines = checks.map(({ id, verdict, durationMs, code, detail, remedy }): Line => {
    const took = durationMs < 1000 ? `${durationMs} ms` : `${(durationMs / 1000).toFixed(1)} s`;
    const what = plainText(code === null ? detail : `${code}: ${detail}`);
    const text = remedy === null ? what : `${what.replace(/[.;]*$/, '')}.`;
    return {
      text: `${verdict}  ${id.padEnd(idWidth)}  ${took.padStart(6)}  ${text}`,
      hang,
      ...(remedy !== null && { more: plainText(`Remedy: ${remedy}`) }),
      tone: { word: verdict, as: tones[verdict] },
    };
  });
  const beware = warnings.map(
    ({ message }): Line => ({
      text: `warn  ${'configuration'.padEnd(idWidth)}  ${''.padStart(6)}  ${plainText(message)}`,
      hang,
      tone: { word: 'warn', as: 'warning' },
    }),
  );
  return layOut([verdictLine(checks), ...lines, ...beware], terminal);
}

/** What matters most, in one line: whether anything fails, and what. */
function verdictLine(checks: readonly Check[]): Line {
  const ids = (verdict: Check['verdict']) =>
    checks.filter((check) => check.verdict === verdict).map(({ id }) => id);
  const [bad, skipped] = [ids('fail'), ids('skip')];
  const left = skipped.length === 0 ? '' : `, ${skipped.length} skipped (${skipped.join(', ')})`;
  if (bad.length === 0) {
    const word = skipped.length === checks.length ? 'Nothing was checked' : 'All checks passed';
    return { text: `${word}${left}`, tone: { word, as: 'good' } };
  }
  const notYet = checks.find(
    ({ id, verdict, code }) => id === 'registration' && verdict === 'fail' && code === null,
  );
  if (notYet !== undefined && bad.length === 1) {
    const word = 'Not registered yet';
    return { text: `${word}; no other check failed${left}`, tone: { word, as: 'warning' } };
  }
  const word = 'Needs attention';
  return {
    text: `${word}: ${bad.length} of ${checks.length} checks failed (${bad.join(', ')})${left}`,
    tone: { word, as: 'bad' },
  };
}
