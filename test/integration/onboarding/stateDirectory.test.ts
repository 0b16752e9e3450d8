import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { at, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { type Device, newDevice, runToEnd } from '../../support/program.ts';

const places: string[] = [];
const isRoot = process.geteuid?.() === 0;

afterEach(() => {
  for (const place of places.splice(0)) rmSync(place, { recursive: true });
});

/** A folder of the test's own. It stands for folders of the system, none of which a test may touch. */
function place(): string {
  const made = mkdtempSync(join(tmpdir(), 'place-'));
  places.push(made);
  return made;
}

interface Foreign {
  readonly path: string;
  readonly what: RegExp;
}

/** What somebody may name by mistake, each as it lies on a system. */
const foreign: Readonly<Record<string, () => Foreign>> = {
  'a folder like /tmp': () => {
    const path = place();
    writeFileSync(join(path, 'somebody’s.txt'), 'not ours');
    chmodSync(path, 0o1777);
    return { path, what: /holds other files/ };
  },
  'a folder like /tmp in which somebody planted a state': () => {
    const path = place();
    writeFileSync(join(path, 'state.json'), '{}');
    chmodSync(path, 0o1777);
    return { path, what: /open to everybody/ };
  },
  'an empty folder that is open to everybody': () => {
    const path = place();
    chmodSync(path, 0o777);
    return { path, what: /open to everybody/ };
  },
  'a folder of somebody’s documents': () => {
    const path = place();
    writeFileSync(join(path, 'thesis.txt'), 'not ours');
    chmodSync(path, 0o755);
    return { path, what: /holds other files/ };
  },
  'a folder of a program that calls its own files state.json and registration.json': () => {
    const path = place();
    writeFileSync(join(path, 'server.py'), 'not ours');
    writeFileSync(join(path, 'state.json'), '{"users":["bob"]}');
    writeFileSync(join(path, 'registration.json'), '{"deviceId":"bob"}');
    chmodSync(path, 0o755);
    return { path, what: /holds other files/ };
  },
  'a link to such a folder': () => {
    const path = place();
    mkdirSync(join(path, 'documents'), { mode: 0o755 });
    writeFileSync(join(path, 'documents/thesis.txt'), 'not ours');
    symlinkSync('documents', join(path, 'link'));
    return { path: join(path, 'link'), what: /holds other files/ };
  },
  'a file': () => {
    const path = join(place(), 'null');
    writeFileSync(path, 'not ours', { mode: 0o666 });
    chmodSync(path, 0o666);
    return { path, what: /is not a directory/ };
  },
  'a path below a file': () => {
    const path = join(place(), 'file');
    writeFileSync(path, 'not ours');
    return { path: join(path, 'state'), what: /has a parent that is not a directory/ };
  },
};

/** Mode, owner and content of a path, as far as they could be harmed. */
function look(path: string): unknown {
  if (!existsSync(path)) return null;
  const { mode, uid, gid } = statSync(path);
  const entries = statSync(path).isDirectory() ? readdirSync(path).sort() : readFileSync(path, 'utf8');
  return { mode, uid, gid, entries };
}

const commands: Readonly<Record<string, string[]>> = {
  run: ['run'],
  'run --once': ['run', '--once'],
  reset: ['reset', '--yes'],
};

test.each(
  Object.keys(foreign).flatMap((what) => Object.keys(commands).map((command) => [command, what] as const)),
)('%s refuses %s as state directory and leaves it as it is', (command, what) => {
  const { path, what: reason } = foreign[what]?.() as Foreign;
  const device = newDevice({ provisioning: { url: 'http://127.0.0.1:9' } });
  const before = look(path);
  const words = [...(commands[command] ?? []), '--config', device.configFile, '--state-dir', path];
  const { status, stderr } = runToEnd(words, {}, 60_000);
  expect(look(path)).toEqual(before);
  expect(stderr).toContain('CONFIG_INVALID');
  expect(stderr).toContain(path);
  expect(stderr).toMatch(reason);
  expect(status).toBe(78);
});

test.each(
  Object.keys(foreign),
)('check reports %s as state directory, status changes nothing either', (what) => {
  const { path, what: reason } = foreign[what]?.() as Foreign;
  const device = newDevice({ provisioning: { url: 'http://127.0.0.1:9' } });
  const before = look(path);
  const common = ['--config', device.configFile, '--state-dir', path];
  const checked = runToEnd(['check', '--json', ...common]);
  const checks = JSON.parse(checked.stdout).checks as { id: string; verdict: string; detail: string }[];
  const found = checks.find(({ id }) => id === 'state-directory');
  expect(found?.verdict).toBe('fail');
  expect(found?.detail).toMatch(reason);
  expect(checked.status).toBe(78);
  expect(runToEnd(['status', ...common]).status).toBe(3);
  expect(look(path)).toEqual(before);
});

const good: Readonly<Record<string, (path: string) => void>> = {
  'that is empty, as systemd makes it': () => {},
  'that is readable by others': (path) => chmodSync(path, 0o755),
  'that is a fresh volume with lost+found': (path) => mkdirSync(join(path, 'lost+found'), { mode: 0o700 }),
  'that a cut of power left with a temporary file alone': (path) =>
    writeFileSync(join(path, '.state.json.tmp'), ''),
  'that holds a damaged file which was set aside': (path) =>
    writeFileSync(join(path, 'state.json.damaged-1'), ''),
};

test.each(Object.keys(good))('a state directory %s is taken', async (what) => {
  const fleet = await fleetWith();
  const device = at(fleet);
  mkdirSync(device.stateDir, { mode: 0o700 });
  good[what]?.(device.stateDir);
  await onboard(device);
  expect(statSync(device.stateDir).mode & 0o7777).toBe(0o700);
});

test.runIf(isRoot)('an empty state directory of the service’s user is taken by root too', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  mkdirSync(device.stateDir, { mode: 0o700 });
  chownSync(device.stateDir, 12345, 23456);
  await onboard(device);
  expect(statSync(join(device.stateDir, 'state.json'))).toMatchObject({ uid: 12345, gid: 23456 });
});

test('what systemd made and named is taken, whatever else lies in it', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  mkdirSync(device.stateDir, { mode: 0o700 });
  writeFileSync(join(device.stateDir, '.bash_history'), 'reset');
  const refused = runToEnd(['run', '--once', '--config', device.configFile], {}, 60_000);
  expect(refused.status).toBe(78);
  await onboard(device, { STATE_DIRECTORY: device.stateDir });
});

test('a foreign directory that turns up while the daemon waits for its disk is reported and not touched', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  const folder = place();
  const [obstacle, other] = [join(folder, 'not'), join(folder, 'other')];
  const path = join(obstacle, 'yet');
  symlinkSync('nowhere', obstacle);
  mkdirSync(join(other, 'yet'), { recursive: true });
  writeFileSync(join(other, 'yet/thesis.txt'), 'not ours');
  chmodSync(join(other, 'yet'), 0o755);
  const program = launch(device, ['--state-dir', path]);
  await program.until(failure('STATE_UNWRITABLE'));
  program.child.kill('SIGSTOP');
  rmSync(obstacle);
  renameSync(other, obstacle);
  const before = look(path);
  program.child.kill('SIGCONT');
  const told = (attempt: number) =>
    program.until((line) => /holds other files/.test(String(line.cause)) && Number(line.attempt) >= attempt);
  const first = await told(1);
  expect(first).toMatchObject({ code: 'STATE_UNWRITABLE', class: 'transient', step: 'idle' });
  await told(Number(first.attempt) + 1);
  expect(look(path)).toEqual(before);
});

/** Onboards a device, and puts a link to somebody’s file in the place of one of its own. */
async function withLink(name: string): Promise<{ device: Device; target: string }> {
  const fleet = await fleetWith();
  const device = at(fleet);
  await onboard(device);
  const target = join(place(), 'shadow');
  renameSync(join(device.stateDir, name), target);
  chmodSync(target, 0o644);
  symlinkSync(target, join(device.stateDir, name));
  return { device, target };
}

test.each([
  'identity.key',
  'state.json',
])('a link in the place of %s is neither followed nor replaced', async (name) => {
  const { device, target } = await withLink(name);
  const before = look(target);
  const program = launch(device);
  const line = await program.until(failure('STATE_UNWRITABLE'));
  expect(line.cause).toContain('symbolic link');
  expect(look(target)).toEqual(before);
  expect(readdirSync(device.stateDir).filter((one) => one.includes('damaged'))).toEqual([]);
});

test('a link in the place of a copy is replaced by the copy', async () => {
  const { device, target } = await withLink('registration.json');
  const before = look(target);
  await onboard(device);
  expect(look(target)).toEqual(before);
  expect(statSync(join(device.stateDir, 'registration.json')).mode & 0o777).toBe(0o600);
});

test('modes of state files and exports are set back, loosened or tightened, though nothing else changed', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const folder = place();
  const device = at(fleet, {
    exports: { token: join(folder, 'token'), certificate: join(folder, 'certificate') },
  });
  await onboard(device);
  const wanted = {
    [join(device.stateDir, 'state.json')]: 0o600,
    [join(device.stateDir, 'identity.key')]: 0o600,
    [join(device.stateDir, 'registration.json')]: 0o600,
    [join(device.stateDir, 'identity.crt')]: 0o644,
    [join(device.stateDir, 'identity_ca.crt')]: 0o644,
    [join(device.stateDir, 'device_id.txt')]: 0o644,
    [join(device.stateDir, 'service_nats_url.txt')]: 0o644,
    [join(folder, 'token')]: 0o600,
    [join(folder, 'certificate')]: 0o644,
  };
  const modes = () =>
    Object.fromEntries(Object.keys(wanted).map((path) => [path, statSync(path).mode & 0o7777]));
  expect(modes()).toEqual(wanted);
  for (const spoilt of [0o666, 0o400]) {
    for (const path of Object.keys(wanted)) chmodSync(path, spoilt);
    await onboard(device);
    expect(modes(), spoilt.toString(8)).toEqual(wanted);
  }
});

test('a NATS address with credentials is for the owner alone, one without for all', async () => {
  const fleet = await fleetWith();
  const folder = place();
  const device = at(fleet, {
    exports: { natsUrl: join(folder, 'url') },
  });
  await onboard(device);
  const copy = join(device.stateDir, 'service_nats_url.txt');
  const modes = () => [copy, join(folder, 'url')].map((path) => statSync(path).mode & 0o777);
  expect(modes()).toEqual([0o644, 0o644]);
  const url = readFileSync(copy, 'utf8').replace('://', '://user:secret@');
  await onboard(device, { ONBOARDD_NATS_URL: url });
  expect(readFileSync(copy, 'utf8')).toBe(url);
  expect(modes()).toEqual([0o600, 0o600]);
});

test.each([
  ['by its path', (dir: string) => join(dir, 'identity.key')],
  ['through a folder above', (dir: string) => `${dir}/../${dir.split('/').at(-1)}/state.json`],
  [
    'through a linked folder',
    (dir: string) => {
      const link = join(place(), 'link');
      symlinkSync(dir, link);
      return join(link, 'identity.crt');
    },
  ],
  ['as a temporary file', (dir: string) => join(dir, '.state.json.tmp')],
])('an export that would overwrite a file of the state directory %s is refused', async (_, pathIn) => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const device = at(fleet);
  await onboard(device);
  const path = pathIn(device.stateDir);
  const config = JSON.parse(readFileSync(device.configFile, 'utf8'));
  writeFileSync(device.configFile, JSON.stringify({ ...config, exports: { token: path } }));
  const before = look(device.stateDir);
  const { status, stderr } = runToEnd(['run', '--once', '--config', device.configFile], {}, 60_000);
  expect(look(device.stateDir)).toEqual(before);
  expect(stderr).toMatch(/CONFIG_INVALID: exports\.token is /);
  expect(status).toBe(78);
});

test('an export below the state directory that is none of its files is written', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const device = at(fleet);
  const path = join(device.stateDir, 'for-others/token');
  await onboard(device, { ONBOARDD_EXPORTS_TOKEN: path });
  expect(readFileSync(path, 'utf8')).toBe('aGVsbG8K');
});

test('reset removes what was exported under an earlier configuration, links by themselves, and no directory', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const folder = place();
  const device = at(fleet);
  const paths = ['old', 'linked', 'folder', 'now'].map((name) => join(folder, name));
  const [old = '', linked = '', asFolder = '', now = ''] = paths;
  await onboard(device, { ONBOARDD_EXPORTS_TOKEN: old });
  await onboard(device, { ONBOARDD_EXPORTS_TOKEN: linked });
  await onboard(device, { ONBOARDD_EXPORTS_TOKEN: asFolder });
  await onboard(device, { ONBOARDD_EXPORTS_TOKEN: now });
  expect(state(device).exported).toEqual(paths);
  const target = join(folder, 'somebody’s');
  writeFileSync(target, 'not ours');
  rmSync(linked);
  symlinkSync(target, linked);
  rmSync(asFolder);
  mkdirSync(asFolder);
  const { status, stdout } = runToEnd(['reset', '--yes', '--config', device.configFile]);
  expect(status).toBe(0);
  expect(stdout).toContain(`removed ${old}`);
  expect(stdout).toContain(`left ${asFolder}`);
  expect(readdirSync(folder).sort()).toEqual(['folder', 'somebody’s']);
  expect(readdirSync(device.stateDir)).toEqual([]);
});

test('with a damaged state reset removes what the configuration exports', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const folder = place();
  const device = at(fleet, { exports: { token: join(folder, 'token') } });
  await onboard(device);
  writeFileSync(join(device.stateDir, 'state.json'), '{');
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
  expect([readdirSync(folder), readdirSync(device.stateDir)]).toEqual([[], []]);
});

test('a second reset leaves what lies at the paths of exports by then: there is no identity any more', async () => {
  const folder = place();
  const device = newDevice({ exports: { token: join(folder, 'token') } });
  mkdirSync(device.stateDir, { mode: 0o700 });
  writeFileSync(join(folder, 'token'), 'somebody’s');
  const { status, stdout } = runToEnd(['reset', '--yes', '--config', device.configFile]);
  expect({ status, left: readdirSync(folder) }).toEqual({ status: 0, left: ['token'] });
  expect(stdout).toBe(`will leave ${join(folder, 'token')}: nothing says that onboardd wrote it\n`);
});

test.runIf(isRoot)(
  'root’s reset removes no file of another that a state only claims was exported',
  async () => {
    const fleet = await fleetWith();
    const device = at(fleet);
    mkdirSync(device.stateDir, { mode: 0o700 });
    chownSync(device.stateDir, 12345, 23456);
    await onboard(device);
    const shadow = join(place(), 'shadow');
    writeFileSync(shadow, 'root’s');
    const path = join(device.stateDir, 'state.json');
    writeFileSync(path, JSON.stringify({ ...state(device), exported: [shadow] }));
    const { status, stdout } = runToEnd(['reset', '--yes', '--config', device.configFile]);
    expect(status).toBe(0);
    expect(stdout).toContain(`left ${shadow}`);
    expect(readFileSync(shadow, 'utf8')).toBe('root’s');
  },
);

test.runIf(isRoot)(
  'root’s reset removes as the owner of the state directory what a state says was exported, and nothing he could not',
  async () => {
    const fleet = await fleetWith();
    const device = at(fleet);
    mkdirSync(device.stateDir, { mode: 0o700 });
    chownSync(device.stateDir, 12345, 23456);
    await onboard(device);
    // A folder above the device's is closed to others.
    chmodSync(join(device.stateDir, '..'), 0o711);
    const folders = [place(), place(), place()];
    const paths = folders.map((folder) => join(folder, 'token'));
    const [his, roots, groups] = paths as [string, string, string];
    for (const path of paths) {
      writeFileSync(path, 'his');
      chownSync(path, 12345, 23456);
    }
    for (const folder of folders) chmodSync(folder, 0o755);
    chownSync(join(his, '..'), 12345, 23456);
    // Root's groups are no longer at hand either.
    chmodSync(join(groups, '..'), 0o775);
    const path = join(device.stateDir, 'state.json');
    writeFileSync(path, JSON.stringify({ ...state(device), exported: paths }));
    const { status, stdout } = runToEnd(['reset', '--yes', '--config', device.configFile]);
    expect(status, stdout).toBe(0);
    expect(stdout).toContain(`removed ${his}\n`);
    for (const left of [roots, groups])
      expect(stdout).toContain(`left ${left}: the owner of the state directory may not remove it\n`);
    expect(paths.map((one) => existsSync(one))).toEqual([false, true, true]);
    // What comes after is root's again.
    expect(readdirSync(device.stateDir)).toEqual([]);
  },
);

test.runIf(isRoot)(
  'a state that another user wrote is believed as little in a folder of root’s',
  async () => {
    const fleet = await fleetWith();
    const device = at(fleet);
    await onboard(device);
    const shadow = join(place(), 'shadow');
    writeFileSync(shadow, 'root’s');
    const path = join(device.stateDir, 'state.json');
    writeFileSync(path, JSON.stringify({ ...state(device), exported: [shadow] }));
    chownSync(path, 12345, 23456);
    expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
    expect(readFileSync(shadow, 'utf8')).toBe('root’s');
  },
);

test('a reset that was interrupted after the key finishes when it is run again', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
  const folder = place();
  const device = at(fleet);
  await onboard(device, { ONBOARDD_EXPORTS_TOKEN: join(folder, 'token') });
  rmSync(join(device.stateDir, 'identity.key'));
  expect(runToEnd(['reset', '--yes', '--config', device.configFile]).status).toBe(0);
  expect([readdirSync(folder), readdirSync(device.stateDir)]).toEqual([[], []]);
});
