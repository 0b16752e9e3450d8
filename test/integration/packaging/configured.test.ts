import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';

const packaging = fileURLToPath(new URL('../../../packaging', import.meta.url));
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** Runs `is-configured` with its paths below a folder. @param files path → text */
function ask(files: Record<string, string>, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'configured-'));
  folders.push(folder);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const script = readFileSync(join(packaging, 'lib/is-configured'), 'utf8').replace(
    /\/(etc|usr\/lib)\/(onboardd|default)/g,
    `${folder}$&`,
  );
  const { status, stdout } = spawnSync('sh', ['-c', script], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env },
  });
  return { status, stdout };
}

const url = 'ONBOARDD_PROVISIONING_URL';
const shipped = readFileSync(join(packaging, 'debian/default'), 'utf8');

test.each([
  ['nothing', {}, {}],
  ['the comments that the package ships', { 'etc/default/onboardd': shipped }, {}],
  ['an empty value', { 'etc/default/onboardd': `${url}=\n` }, {}],
  ['an empty value in quotes', { 'etc/default/onboardd': `${url}=""\n` }, {}],
  ['another setting', { 'etc/default/onboardd': 'ONBOARDD_LOG_LEVEL=debug\n' }, {}],
  ['the defaults of the package', { 'usr/lib/onboardd/config.json': '{}' }, {}],
  ['a file of another kind', { 'etc/onboardd/config.d/10.json.bak': '{}' }, {}],
])('%s configures no device, and the line to write is named', (_, files, env) => {
  const { status, stdout } = ask(files as Record<string, string>, env);
  expect(status).toBe(1);
  expect(stdout).toMatch(
    /^onboardd is not configured; write this line, .*: ONBOARDD_PROVISIONING_URL=http\S+\n$/,
  );
});

test.each([
  ['the named line', { 'etc/default/onboardd': `${shipped}${url}=http://192.168.1.10\n` }, {}],
  ['the named line, in quotes', { 'etc/default/onboardd': `${url}='http://192.168.1.10'\n` }, {}],
  ['the environment of a drop-in', {}, { [url]: 'http://a' }],
  ['discovery', {}, { ONBOARDD_PROVISIONING_DISCOVERY: 'mdns' }],
  ['a configuration file', { 'etc/onboardd/config.json': '{}' }, {}],
  ['a file of config.d', { 'etc/onboardd/config.d/10-fleet.json': '{}' }, {}],
  ['a file of the image', { 'usr/lib/onboardd/config.d/10-fleet.json': '{}' }, {}],
])('%s configures it', (_, files, env) => {
  expect(ask(files as Record<string, string>, env)).toEqual({ status: 0, stdout: '' });
});
