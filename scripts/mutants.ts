/** `npm run test:mutants`: runs Stryker with the given options, and fails if any module scores less than 80 %. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { scoresOf } from './mutantScores.ts';

const leastPercent = 80;
const root = fileURLToPath(new URL('..', import.meta.url));
const stryker = `${root}node_modules/@stryker-mutator/core/bin/stryker.js`;
const { status } = spawnSync(process.execPath, [stryker, 'run', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);
const scores = scoresOf(JSON.parse(readFileSync(`${root}build/mutants/report.json`, 'utf8')));
for (const { file, mutants, found, score } of scores)
  console.log(`${score.toFixed(1).padStart(5)} % ${found} of ${mutants} ${file}`);
if (scores.some(({ score }) => score < leastPercent)) {
  console.error(`\nA module scores less than ${leastPercent} %.`);
  process.exit(1);
}
