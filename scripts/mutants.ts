/**
 * `npm run test:mutants`: runs Stryker with the given options, and fails if any module scores less than 80 %.
 *
 *   --mutate FILE,...      only these modules
 *   --testFiles FILE,...   with these unit tests alone: sooner done, and what they find is a lower bound
 *   --write                puts the scores into the table of docs/reliability.md, with the commit
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { scoresOf, withScores } from './mutantScores.ts';

const leastPercent = 80;
const root = fileURLToPath(new URL('..', import.meta.url));
const stryker = `${root}node_modules/@stryker-mutator/core/bin/stryker.js`;
const options = process.argv.slice(2).filter((option) => option !== '--write');
const commit = process.argv.includes('--write') ? measuredCommit() : null;
const { status } = spawnSync(process.execPath, [stryker, 'run', ...options], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);
const scores = scoresOf(JSON.parse(readFileSync(`${root}build/mutants/report.json`, 'utf8')));
for (const { file, mutants, found, score } of scores)
  console.log(`${score.toFixed(1).padStart(5)} % ${found} of ${mutants} ${file}`);
if (commit !== null) {
  const page = `${root}docs/reliability.md`;
  const tests = options.some((option) => /^(-t|--testFiles)\b/.test(option)) ? 'its own' : 'all';
  writeFileSync(page, withScores(readFileSync(page, 'utf8'), scores, { commit, tests }));
}
if (scores.some(({ score }) => score < leastPercent)) {
  console.error(`\nA module scores less than ${leastPercent} %.`);
  process.exit(1);
}

/** What is measured has to be committed: the table names the commit. */
function measuredCommit(): string {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.trim();
  const changed = git(
    'status',
    '--porcelain',
    '--',
    'src',
    'test',
    'fleet',
    '*.config.*',
    'package-lock.json',
  );
  if (changed !== '') {
    console.error(`--write names a commit, and these files differ from it:\n${changed}`);
    process.exit(1);
  }
  return git('rev-parse', '--short', 'HEAD');
}
