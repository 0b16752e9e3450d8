interface Results {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/**
 * A filter of test names that matches nothing lets Vitest pass.
 *
 * @param results as Vitest's JSON reporter writes them
 * @param names parts of the names of tests
 * @returns those of `names` that no test passed under; one that stands for any name, if there are none
 */
export function unplayed(results: string, names: readonly string[]): string[] {
  const { testResults } = JSON.parse(results) as Results;
  const passed = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'passed');
  const any = names.length > 0 ? names : [''];
  return any
    .filter((name) => !passed.some(({ fullName }) => fullName.includes(name)))
    .map((name) => name || '(any)');
}
