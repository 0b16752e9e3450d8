/** Part of Stryker's report: mutation-testing-report-schema, version 2. */
export interface MutantReport {
  readonly files: Readonly<Record<string, { readonly mutants: readonly { readonly status: string }[] }>>;
}

/** Of one module; the score in percent, 100 if there are no mutants. */
export interface MutantScore {
  readonly file: string;
  readonly mutants: number;
  readonly found: number;
  readonly score: number;
}

/** A mutant that makes a test hang is found, too. */
const found = ['Killed', 'Timeout'];
const missed = ['Survived', 'NoCoverage'];

/** Scores by module, the lowest first. Mutants that do not compile or run do not count. */
export function scoresOf({ files }: MutantReport): MutantScore[] {
  return Object.entries(files)
    .map(([file, { mutants }]) => {
      const count = (statuses: readonly string[]) =>
        mutants.filter(({ status }) => statuses.includes(status)).length;
      const all = count([...found, ...missed]);
      return { file, mutants: all, found: count(found), score: all === 0 ? 100 : (100 * count(found)) / all };
    })
    .sort((a, b) => a.score - b.score);
}

const [begin, end] = ['<!-- unit-mutants -->', '<!-- /unit-mutants -->'];

/**
 * Puts scores into the table of docs/reliability.md: a module that is there gets a new row, the others keep theirs.
 *
 * @param tests which of the unit tests ran
 * @throws {Error} if the page has no place for the table
 */
export function withScores(
  page: string,
  scores: readonly MutantScore[],
  { commit, tests }: { readonly commit: string; readonly tests: string },
): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error('docs/reliability.md has no place for unit-mutants');
  const rows = new Map(
    [...page.slice(from, to).matchAll(/^\| `([^`]+)` .*$/gm)].map(([row, file = '']) => [file, row]),
  );
  for (const { file, mutants, found, score } of scores)
    rows.set(file, `| \`${file}\` | ${commit} | ${tests} | ${mutants} | ${found} | ${Math.floor(score)} % |`);
  const table = [
    '| module | commit | tests | mutants | found | score |',
    '| --- | --- | --- | --- | --- | --- |',
    ...[...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row),
  ].join('\n');
  return `${page.slice(0, from)}${begin}\n\n${table}\n\n${page.slice(to)}`;
}
