import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { tryPage } from './pageInBrowser.ts';

/**
 * The report's page of 10,000 devices with an outage and a bad build, in a real chromium: `npm run test:page`. `--keep FOLDER`
 * keeps the page and its pictures, `--write` puts the first screen into the documentation. Chromium is installed if it is
 * missing; where it cannot be, the exit status is 69.
 */
const { values } = parseArgs({
  options: { keep: { type: 'string' }, write: { type: 'boolean', default: false } },
});
const unavailable = 69;
const mostPictureBytes = 150_000;
const picture = fileURLToPath(new URL('../../../docs/monitoring/report.png', import.meta.url));
const has = (command: string) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

if (!has('chromium')) {
  console.log('installing chromium (apt-get)');
  const options = { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } } as const;
  const wait = ['-o', 'DPkg::Lock::Timeout=300', '-qq', '-y', '--no-install-recommends'];
  spawnSync('apt-get', ['update', '-qq'], options);
  spawnSync('apt-get', ['install', ...wait, 'chromium'], options);
}
if (!has('chromium')) {
  console.log('the page in a browser: not tried, there is no chromium and it cannot be installed');
  process.exit(unavailable);
}
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'page-'));
try {
  console.log(`the page in a browser: passed: ${await tryPage(folder)}`);
  const first = join(folder, 'first-screen-1280-light.png');
  if (statSync(first).size > mostPictureBytes) throw new Error(`${first} is too large for the documentation`);
  if (values.write) copyFileSync(first, picture);
} finally {
  if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
}
