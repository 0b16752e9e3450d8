/** Makes a fresh clone ready: npm packages, nats-server, strace. Says what it does; does nothing where all is there. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { natsServer } from './nats-server.mjs';
import { pathWithStrace } from './strace.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Installs what the real suites need: strace is put on PATH. @returns path of nats-server */
export async function install() {
  await installPackages();
  process.env.PATH = await pathWithStrace();
  return await natsServer({ log: (line) => console.error(line) });
}

/** Installs the npm packages, if any is missing. */
export async function installPackages() {
  if (packagesAreThere()) return;
  console.error('installing npm packages (npm ci)');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Runs a command of the project, its output shown. @throws where it fails */
export function run(command, args, env = {}) {
  const path = `${root}node_modules/.bin:${process.env.PATH}`;
  execFileSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, PATH: path, ...env } });
}

/** npm leaves a copy of the lock file in node_modules: the same versions, or something is to be installed. */
function packagesAreThere() {
  const installed = `${root}node_modules/.package-lock.json`;
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')).packages;
  const present = JSON.parse(readFileSync(installed, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || present[path]?.version === version,
  );
}
