import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished, test, vi } from 'vitest';
import { passedSockets } from '../../../src/adapters/passedDescriptors.ts';
import { superviseBy } from '../../../src/adapters/systemd.ts';
import { byChild, bySocket, inOrder } from '../../../src/adapters/systemdMessages.ts';
import type { Progress } from '../../../src/services/state/deviceState.ts';

const folder = mkdtempSync(join(tmpdir(), 'systemd-'));
afterAll(() => rmSync(folder, { recursive: true }));

const idle = { state: 'idle', attempt: 1, nextRetryAt: null, lastError: null } as unknown as Progress;
const passed = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'notify:journal' };
const always = () => true;

test('sockets that the service manager passed are known by their names', () => {
  expect([...passedSockets(passed, 7, always)]).toEqual([
    ['notify', 3],
    ['journal', 4],
  ]);
});

test.each([
  ['another process', { ...passed, LISTEN_PID: '8' }, always],
  ['nobody', { LISTEN_FDS: '2', LISTEN_FDNAMES: 'notify:journal' }, always],
  ['this one, but are no sockets', passed, () => false],
  ['this one, in a number that is none', { ...passed, LISTEN_FDS: '2x' }, always],
])('descriptors for %s are not used', (_, environment, isSocket) => {
  expect([...passedSockets(environment, 7, isSocket)]).toEqual([]);
});

test('of more names than descriptors only the passed ones count', () => {
  expect([...passedSockets({ ...passed, LISTEN_FDS: '1' }, 7, always)]).toEqual([['notify', 3]]);
});

/** What a supervisor with a direct line sends. */
function recorded() {
  const sent: string[][] = [];
  const messages = { areDirect: true, send: (...assignments: string[]) => void sent.push(assignments) };
  return { sent, supervisor: superviseBy({}, () => undefined, messages) };
}

test('a reload is over when it is said to be, and no state that is told meanwhile ends it', () => {
  const { sent, supervisor } = recorded();
  supervisor.announce(idle, false);
  supervisor.reloading();
  supervisor.announce(idle, false);
  supervisor.reloaded();
  supervisor.announce(idle, false);
  supervisor.stop();
  expect(sent).toEqual([
    ['READY=1', 'STATUS=idle'],
    ['RELOADING=1', expect.stringMatching(/^MONOTONIC_USEC=\d+$/)],
    ['STATUS=idle'],
    ['READY=1'],
    ['READY=1', 'STATUS=idle'],
    ['STOPPING=1'],
  ]);
});

test('one message is one write, and a socket that takes nothing is a cause', async () => {
  const written: unknown[] = [];
  const send = bySocket(3, (...args) => written.push(args));
  expect(await send(['READY=1', 'STATUS=idle'])).toBeNull();
  expect(written).toEqual([[3, 'READY=1\nSTATUS=idle']]);
  const broken = bySocket(3, () => {
    throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' });
  });
  expect(await broken(['READY=1'])).toMatch(/the socket of the service manager: .*refused/);
});

test('what tells the state is sent again until it went out, the cause is told once, and old news are dropped', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const sent: string[] = [];
  const causes: string[] = [];
  let isBroken = true;
  const send = inOrder(
    async (assignments) => {
      sent.push(assignments.join(' '));
      return isBroken ? 'broken' : null;
    },
    (cause) => causes.push(cause),
  );
  send('READY=1', 'STATUS=idle');
  send('WATCHDOG=1');
  await vi.advanceTimersByTimeAsync(3100);
  send('READY=1', 'STATUS=csr');
  await vi.advanceTimersByTimeAsync(1000);
  isBroken = false;
  await vi.advanceTimersByTimeAsync(5000);
  expect(causes).toEqual(['broken']);
  expect(sent.filter((text) => text.endsWith('idle')).length).toBeGreaterThanOrEqual(2);
  expect(sent.at(-1)).toBe('READY=1 STATUS=csr');
  expect(sent.slice(sent.indexOf('READY=1 STATUS=csr'))).not.toContain('READY=1 STATUS=idle');
});

/** Programs that write down what they are called with. */
function programs(scripts: Record<string, string>): NodeJS.ProcessEnv {
  const bin = mkdtempSync(join(folder, 'bin-'));
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), name === 'forbidden' ? 0o644 : 0o755);
  }
  return { PATH: bin, OUT: join(bin, 'out') };
}

test('without a passed socket systemd-notify carries the message', async () => {
  const env = programs({ 'systemd-notify': 'echo "$@" > "$OUT"', perl: 'exit 1' });
  expect(await byChild(env)(['READY=1', 'STATUS=idle'])).toBeNull();
  expect(readFileSync(String(env.OUT), 'utf8')).toBe('READY=1 STATUS=idle\n');
});

test('if systemd-notify cannot be started, Perl carries it; if neither can, the cause names the first', async () => {
  const env = programs({ perl: 'for last; do :; done; echo "$last" > "$OUT"' });
  expect(await byChild(env)(['READY=1'])).toBeNull();
  expect(readFileSync(String(env.OUT), 'utf8')).toBe('READY=1\n');
  expect(await byChild(programs({}))(['READY=1'])).toMatch(/systemd-notify cannot be started: .*ENOENT/);
  const failing = programs({ 'systemd-notify': 'exit 1', perl: 'exit 1' });
  expect(await byChild(failing)(['READY=1'])).toBe('systemd-notify ended with 1');
});

test('a message that cannot be sent is told while the daemon runs, and not while it is being stopped', async () => {
  const causes: string[] = [];
  const env = { ...programs({}), NOTIFY_SOCKET: '/nonexistent' };
  const running = superviseBy(env, (cause) => causes.push(cause));
  running.announce(idle, false);
  await vi.waitFor(() =>
    expect(causes).toEqual([expect.stringMatching(/^systemd-notify cannot be started/)]),
  );
  running.stop();
  const stopped = superviseBy(env, (cause) => causes.push(cause));
  stopped.stop();
  expect(await byChild(env)(['STOPPING=1'])).toMatch(/cannot be started/);
  expect(causes).toHaveLength(1);
});
