import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Device, newDevice, programFile, temporaryFolder } from '../../support/program.ts';

/** Runs the program with code that is loaded before it, as a fault of Node or of the program would be. */
function runWith(fault: string, device: Device) {
  const preload = join(temporaryFolder(), 'fault.cjs');
  writeFileSync(preload, fault);
  return spawnSync(
    process.execPath,
    ['--require', preload, programFile, 'run', '--config', device.configFile],
    { encoding: 'utf8', timeout: 20_000 },
  );
}
/** Ends the program with 7 once it has logged a failed step. */
const endAtFailure = `const { write } = process.stdout;
  process.stdout.write = function (text, ...rest) {
    if (/step.failed/.test(text)) setImmediate(() => process.exit(7));
    return write.call(this, text, ...rest);
  };`;
const device = () => newDevice({ provisioning: { url: 'http://127.0.0.1:9' } });
/** The lines of the source that a trace names. */
const placesOf = (trace: string) => trace.match(/src\/[\w/]+\.ts:\d+:\d+/g) ?? [];

/** What stands in the source where the trace says. */
function sourceAt(place: string | undefined): string {
  const [file = '', line] = place?.split(':') ?? [];
  return readFileSync(file, 'utf8').split('\n')[Number(line) - 1] ?? '';
}

test('a bug that ends the program names the line of the source, and ends it with 1', () => {
  const fault = "require('node:os').hostname = () => { throw new RangeError('no name'); };";
  const { status, stderr } = runWith(fault, device());
  expect(status).toBe(1);
  expect(stderr).toMatch(/^onboardd: RangeError: no name\n {4}at /);
  expect(sourceAt(placesOf(stderr)[0])).toContain('hostname()');
  expect(stderr).toContain('src/cli/run.ts:');
  expect(stderr).not.toMatch(/(onboardd|program)\.cjs:/);
});

test('an error that nobody catches names the line of the source, and ends the program with 1', () => {
  // The look at the clock is called by nobody but the event loop.
  const fault = `const { abs } = Math;
  Math.abs = (value) => {
    const [, , , caller = ''] = new Error().stack.split('\\n');
    if (/processImmediate/.test(caller)) throw new RangeError('uncaught');
    return abs(value);
  };`;
  const { status, stderr } = runWith(fault, device());
  expect(status).toBe(1);
  expect(stderr).toMatch(/^onboardd: RangeError: uncaught\n {4}at /);
  expect(stderr).toContain('src/adapters/clock.ts:');
});

test('a bug in a step is told with the line of the source, and the device tries again', () => {
  const fault = "require('node:crypto').generateKeyPair = () => { throw new RangeError('no\\nkey'); };";
  const { status, stdout, stderr } = runWith(fault + endAtFailure, device());
  expect(status).toBe(7);
  expect(stdout).toMatch(/"code":"INTERNAL"/);
  expect(stderr).toMatch(/^onboardd: RangeError: no key\n {4}at /);
  expect(stderr).toContain('src/adapters/keyPair.ts:');
});

test('an error of the catalogue leaves no trace', () => {
  const { status, stderr } = runWith(endAtFailure, device());
  expect({ status, stderr }).toEqual({ status: 7, stderr: '' });
});
