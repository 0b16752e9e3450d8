import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createHooks } from '../../../src/adapters/hooks.ts';
import { temporaryFolder } from '../../support/program.ts';

type LoggedLine = Readonly<Record<string, unknown>> & { readonly event: string };

/** A folder of hooks, and what the log says of them. */
function hooksFolder() {
  const folder = temporaryFolder();
  const dir = join(folder, 'hooks.d');
  mkdirSync(dir, { mode: 0o755 });
  const out = join(folder, 'out');
  writeFileSync(out, '');
  const lines: LoggedLine[] = [];
  return {
    dir,
    lines,
    path: (name: string) => join(dir, name),
    out: () => readFileSync(out, 'utf8'),
    add(name: string, script: string, mode = 0o755) {
      writeFileSync(join(dir, name), `#!/bin/sh\n${script.replaceAll('$OUT', out)}\n`);
      chmodSync(join(dir, name), mode);
    },
    create: (timeoutMs?: number) =>
      createHooks(dir, (_, event, _message, fields) => void lines.push({ event, ...fields }), timeoutMs),
  };
}

test('a hook hears the event as its argument, in its environment and as one JSON object on standard input', async () => {
  const { add, create, out, lines } = hooksFolder();
  add('tell', 'echo "$1 $ONBOARDD_EVENT $(cat)" >> $OUT');
  const hooks = create();
  hooks.run('registered', { state: 'registered', alias: 'a' });
  await hooks.idle();
  expect(out()).toBe('registered registered {"event":"registered","state":"registered","alias":"a"}\n');
  expect(lines.map(({ event }) => event)).toEqual(['hook.ended']);
});

test('hooks run one after the other in the order of their names, event after event', async () => {
  const { add, create, out } = hooksFolder();
  add('20-b', 'echo "b $1" >> $OUT');
  add('10-a', 'sleep 0.1; echo "a $1" >> $OUT');
  const hooks = create();
  hooks.run('renewed', null);
  hooks.run('failed', null);
  await hooks.idle();
  expect(out().trim().split('\n')).toEqual(['a renewed', 'b renewed', 'a failed', 'b failed']);
});

test('a hook that fails is logged and keeps none of the others from running', async () => {
  const { add, create, out, lines, path } = hooksFolder();
  add('1', 'echo to the log; exit 3');
  add('2', 'kill -TERM $$');
  add('3', 'echo here >> $OUT');
  const hooks = create();
  hooks.run('failed', null);
  await hooks.idle();
  expect(out()).toBe('here\n');
  expect(lines.filter(({ event }) => event === 'hook.failed')).toEqual([
    { event: 'hook.failed', hook: path('1'), moment: 'failed', cause: 'exit status 3' },
    { event: 'hook.failed', hook: path('2'), moment: 'failed', cause: 'ended by SIGTERM' },
  ]);
  expect(lines.find(({ hook }) => hook === path('1'))).toMatchObject({ output: 'to the log\n' });
});

test('a hook that hangs is killed with all that it started', async () => {
  const { add, create, out, lines } = hooksFolder();
  add('hang', 'sleep 1000 & echo $! >> $OUT; wait');
  const hooks = create(300);
  hooks.run('registered', null);
  await hooks.idle();
  expect(lines.find(({ event }) => event === 'hook.failed')).toMatchObject({ cause: 'killed after 0.3 s' });
  const child = Number(out());
  const isGone = () => {
    try {
      return readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z ');
    } catch {
      return true;
    }
  };
  await expect.poll(isGone).toBe(true);
});

test('a hook whose child goes on in the background keeps nothing waiting', async () => {
  const { add, create } = hooksFolder();
  add('spawn', 'sleep 20 & exit 0');
  const hooks = create();
  const started = performance.now();
  hooks.run('registered', null);
  await hooks.idle();
  expect(performance.now() - started).toBeLessThan(15_000);
});

test('of what a hook writes 4 KiB are kept, however much it writes', async () => {
  const { add, create, lines } = hooksFolder();
  add('much', 'cat > /dev/null; yes | head -c 10000000');
  const hooks = create();
  hooks.run('registered', null);
  await hooks.idle();
  expect(String(lines.find(({ event }) => event === 'hook.ended')?.output)).toHaveLength(4096);
  expect(lines.some(({ event }) => event === 'hook.failed')).toBe(false);
});

test('only files that nobody else can have changed are run, and none that an editor or a package manager left', async () => {
  const { add, create, out, lines, dir, path } = hooksFolder();
  add('group', 'echo group >> $OUT', 0o775);
  add('world', 'echo world >> $OUT', 0o757);
  add('plain', 'echo plain >> $OUT', 0o644);
  for (const left of ['.good.swp', 'good.sh~', 'good.bak', 'good.sh.dpkg-old', 'good.rpmnew'])
    add(left, 'echo left >> $OUT');
  add('good.sh', 'echo good >> $OUT');
  mkdirSync(join(dir, 'folder'));
  symlinkSync('nowhere', join(dir, 'dangling'));
  const hooks = create();
  hooks.run('registered', null);
  await hooks.idle();
  expect(out()).toBe('good\n');
  const skipped = lines.filter(({ event }) => event === 'hook.skipped');
  expect(skipped.map(({ hook }) => hook)).toEqual(
    ['dangling', 'folder', 'group', 'plain', 'world'].map((name) => path(name)),
  );
  expect(skipped.map(({ cause }) => cause)).toEqual([
    expect.stringContaining('ENOENT'),
    'it is no regular file',
    'others than its owner may write to it',
    'it is not executable',
    'others than its owner may write to it',
  ]);
});

test('nothing is run of a folder that others may write to', async () => {
  const { add, create, out, lines, dir } = hooksFolder();
  add('good.sh', 'echo good >> $OUT');
  chmodSync(dir, 0o777);
  const hooks = create();
  hooks.run('registered', null);
  await hooks.idle();
  expect(out()).toBe('');
  expect(lines).toEqual([
    { event: 'hook.skipped', hook: dir, cause: 'others than its owner may write to it' },
  ]);
});

test('a folder that is not there is no word worth', async () => {
  const lines: unknown[] = [];
  const hooks = createHooks(join(temporaryFolder(), 'none'), (...line) => void lines.push(line));
  hooks.run('registered', null);
  await hooks.idle();
  expect(lines).toEqual([]);
});

test('a program that cannot be started is a hook that failed', async () => {
  const { dir, create, lines } = hooksFolder();
  writeFileSync(join(dir, 'broken'), '#!/no/such/interpreter\n', { mode: 0o755 });
  const hooks = create();
  hooks.run('registered', null);
  await hooks.idle();
  expect(lines.find(({ event }) => event === 'hook.failed')).toMatchObject({
    cause: expect.stringContaining('ENOENT'),
  });
});
