#!/usr/bin/env node
/**
 * `npm run release -- VERSION`: from a clean tree with green tests to a tagged commit and packages with their sums.
 * Nothing is pushed, and nothing is changed before every check has passed.
 *
 *   --dry-run        checks, and says what would be done
 *   --skip-tests     does not run `npm test`
 *   --skip-packages  does not run `npm run package`
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'dry-run': { type: 'boolean', default: false },
    'skip-tests': { type: 'boolean', default: false },
    'skip-packages': { type: 'boolean', default: false },
  },
});
const [version = ''] = positionals;
const tag = `v${version}`;
const today = new Date().toISOString().slice(0, 10);
const git = (...args) => execFileSync('git', args, { encoding: 'utf8' }).trim();
const npm = (...args) => execFileSync('npm', args, { stdio: 'inherit' });

/** `## 1.2.3, not yet released`: the newest section, with the version that it was planned as or none. */
const unreleased = /^## (?:(\d\S*), not yet released|Unreleased)$/m;

function check(changelog) {
  if (positionals.length !== 1 || !/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version))
    return `"${positionals.join(' ')}" is not a version; allowed: MAJOR.MINOR.PATCH, as of semver.org`;
  if (git('status', '--porcelain') !== '') return 'the tree is not clean: commit or stash first';
  if (git('tag', '--list', tag) !== '') return `the tag ${tag} exists`;
  const section = changelog.split(/^(?=## )/m).find((text) => unreleased.test(text));
  if (section === undefined) return 'CHANGELOG.md has no section that is not yet released';
  if (!/^- /m.test(section)) return 'CHANGELOG.md says of no change since the last release';
  return null;
}

/** Sets the version in a JSON file of npm; in a lock file also that of the root package. */
function setVersion(file) {
  const json = JSON.parse(readFileSync(file, 'utf8'));
  json.version = version;
  if (json.packages) json.packages[''].version = version;
  writeFileSync(file, `${JSON.stringify(json, null, 2)}\n`);
}

/** The day that a build without a git history goes by. */
function setReleaseDay() {
  const [year, month, day] = today.split('-').map(Number);
  const text = readFileSync('scripts/build.mjs', 'utf8');
  const dated = text.replace(/(releaseDay = Date\.UTC\()[^)]*/, `$1${year}, ${month - 1}, ${day}`);
  writeFileSync('scripts/build.mjs', dated);
}

process.chdir(new URL('..', import.meta.url).pathname);
const changelog = readFileSync('CHANGELOG.md', 'utf8');
const refusal = check(changelog);
if (refusal !== null) {
  console.error(`release: ${refusal}`);
  process.exit(1);
}
if (!values['skip-tests']) npm('test');
if (values['dry-run']) {
  console.log(`would set version ${version}, date CHANGELOG.md ${today}, commit and tag ${tag}`);
  process.exit(0);
}
for (const file of ['package.json', 'package-lock.json']) setVersion(file);
setReleaseDay();
writeFileSync('CHANGELOG.md', changelog.replace(unreleased, `## ${version}, ${today}`));
git('add', 'package.json', 'package-lock.json', 'CHANGELOG.md', 'scripts/build.mjs');
git('commit', '--quiet', '--message', `Release ${version}`);
git('tag', '--annotate', tag, '--message', `onboardd ${version}`);
if (!values['skip-packages']) {
  npm('run', 'package');
}
console.log(`${tag} is committed and tagged; push it with: git push --follow-tags`);
