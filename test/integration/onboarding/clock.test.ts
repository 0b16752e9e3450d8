import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { at, failure, fleetWith, launch } from '../../support/harness.ts';

/** A clock for the program that a file sets: milliseconds to add to the true time. */
function clockFile(
  folder: string,
  offsetMs: number,
): { env: Record<string, string>; set: (offsetMs: number) => void } {
  const preload = join(folder, 'clock.cjs');
  const offset = join(folder, 'offset');
  const set = (ms: number) => writeFileSync(offset, String(ms));
  set(offsetMs);
  writeFileSync(
    preload,
    `const fs = require('node:fs'); const now = Date.now; const True = Date;
const faked = () => now() + Number(fs.readFileSync(${JSON.stringify(offset)}, 'utf8'));
globalThis.Date = class extends True { constructor(...a) { a.length ? super(...a) : super(faked()); } static now() { return faked(); } };`,
  );
  return { env: { NODE_OPTIONS: `--require ${preload}` }, set };
}

test('a device whose clock starts in 1970 sends nothing, and goes on within seconds of the clock being set', async () => {
  const fleet = await fleetWith();
  const clock = clockFile(fleet.dir, -Date.now());
  const slow = { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 };
  const program = launch(at(fleet, { retry: slow }), [], clock.env);
  await program.until(failure('CLOCK_WRONG'));
  expect(fleet.provisioning.requests).toEqual([]);
  clock.set(0);
  const set = Date.now();
  await program.until((line) => line.event === 'device.registered');
  expect(Date.now() - set).toBeLessThan(5000);
});

test('a clock that is years ahead is told apart from a bad certificate by the server’s Date', async () => {
  const fleet = await fleetWith();
  const clock = clockFile(fleet.dir, 20 * 365 * 86_400_000);
  const slow = { initialMs: 300_000, maxMs: 300_000, factor: 1, failedAfterMs: 0 };
  const program = launch(at(fleet, { retry: slow }), [], clock.env);
  expect(String((await program.until(failure('CLOCK_WRONG'))).cause)).toMatch(/ahead of the server/);
  clock.set(0);
  const { durationMs } = await program.until((line) => line.event === 'device.registered');
  expect(durationMs, 'a duration that the clock step did not touch').toBeLessThan(10_000);
  expect(durationMs).toBeGreaterThan(0);
});
