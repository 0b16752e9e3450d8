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
