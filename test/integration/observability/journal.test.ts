import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { reasons } from '../../../src/errors/reasons.ts';
import { events } from '../../../src/events.ts';
import { at, fleetWith, launch } from '../../support/harness.ts';
import { type JournalRun, runUnderJournal } from '../../support/journalReceiver.ts';
import { closedPort, patience, registered } from '../../support/observabilityHarness.ts';
import { newDevice, temporaryFolder } from '../../support/program.ts';
import { sendSignal } from '../../support/sendSignal.ts';

let run: JournalRun | undefined;
afterEach(() => {
  const pid = run?.pid() ?? null;
  if (pid !== null && run?.exit() === null) sendSignal(pid, 'SIGKILL');
  run?.child.kill('SIGKILL');
  run = undefined;
});

const stdoutFile = () => join(temporaryFolder(), 'stdout');
const entryOf = (datagram: Buffer) =>
  Object.fromEntries(
    datagram
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  ) as Record<string, string>;
const journal = { format: 'journal' };

test('under systemd 253 or newer each line is an entry of the journal, and nothing is on standard output', async () => {
  const device = at(await fleetWith(), { log: journal });
  const file = stdoutFile();
  run = runUnderJournal(device, file, true);
  const entries = () => run?.datagrams.map(entryOf) ?? [];
  const seen = (event: string) => entries().find(({ ONBOARDD_EVENT }) => ONBOARDD_EVENT === event);
  await expect.poll(() => seen('device.registered'), patience).toBeDefined();
  process.kill(run.pid() ?? 0, 'SIGTERM');
  await expect.poll(() => run?.exit(), patience).toBe(0);
  expect(seen('daemon.started')).toMatchObject({
    MESSAGE: expect.stringMatching(/^onboardd \S+ started$/),
    PRIORITY: '6',
    MESSAGE_ID: events['daemon.started'].messageId,
    SYSLOG_IDENTIFIER: 'onboardd',
    ONBOARDD_PID: String(run.pid()),
    ONBOARDD_RUN_ID: expect.stringMatching(/^[0-9a-f]{32}$/),
    ONBOARDD_VERSION: expect.stringMatching(/^\d/),
    ONBOARDD_TIMESTAMP: expect.stringMatching(/Z$/),
  });
  expect(seen('device.registered')).toMatchObject({ ONBOARDD_STATE: 'registered' });
  expect(seen('device.registered')?.ONBOARDD_DEVICE_ID).toMatch(/^[0-9a-f]{32}$/);
  expect(seen('daemon.stopped')).toMatchObject({ ONBOARDD_SIGNAL: 'SIGTERM' });
  expect(new Set(entries().map(({ ONBOARDD_RUN_ID }) => ONBOARDD_RUN_ID)).size).toBe(1);
  expect(readFileSync(file, 'utf8')).toBe('');
});

test('an entry of a failure brings its remedy', async () => {
  const url = `http://127.0.0.1:${await closedPort()}`;
  run = runUnderJournal(newDevice({ provisioning: { url }, log: journal }), stdoutFile(), true);
  const failure = () => run?.datagrams.map(entryOf).find((entry) => entry.ONBOARDD_EVENT === 'step.failed');
  await expect
    .poll(failure, patience)
    .toMatchObject({ PRIORITY: '4', ONBOARDD_REASON: 'refused', ONBOARDD_REMEDY: reasons.refused.remedy });
});

test('what the journal cannot be given is a line on standard output', async () => {
  const url = `http://127.0.0.1:${await closedPort()}`;
  const file = stdoutFile();
  run = runUnderJournal(newDevice({ provisioning: { url }, log: journal }), file, false);
  await expect.poll(() => run?.pid(), { ...patience, interval: 1 }).not.toBeNull();
  // Nobody has the other end any more: ECONNREFUSED.
  run.child.kill('SIGKILL');
  const printed = () => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  await expect
    .poll(printed, patience)
    .toMatch(/^<4>\{"message":"[^"]*PROVISIONING_UNREACHABLE.*"event":"step\.failed"/m);
});

test('a journal that does not read does not hold up the daemon', async () => {
  const fleet = await fleetWith();
  const device = at(fleet, { log: { format: 'journal', level: 'debug' } });
  run = runUnderJournal(device, stdoutFile(), false);
  await expect.poll(() => fleet.manager.accepted.size, patience).toBe(1);
});

test('a line begins with the message, and every line has version, run and device', async () => {
  const device = at(await fleetWith());
  const first = launch(device);
  await first.until(registered);
  first.child.kill('SIGTERM');
  await first.ended;
  const again = launch(device);
  await again.until(registered);
  const runs = [first, again].map(({ lines }) => new Set(lines.map(({ runId }) => runId)));
  expect(runs.map(({ size }) => size)).toEqual([1, 1]);
  expect(runs[0]).not.toEqual(runs[1]);
  for (const line of [...first.lines, ...again.lines])
    expect(Object.keys(line).slice(0, 6)).toEqual([
      'message',
      'timestamp',
      'level',
      'event',
      'version',
      'runId',
    ]);
  expect(again.lines.filter(({ event }) => event === 'device.registered')).toMatchObject([
    { deviceId: first.lines.at(-1)?.deviceId },
  ]);
});
