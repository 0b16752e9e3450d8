import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkoutProgram, launcher } from '../../../bench/contenders.ts';
import {
  bundleBytes,
  cacheBytes,
  countCallsOf,
  countLoaded,
  countRoundTrips,
} from '../../../bench/counts.ts';
import { type FleetProcess, startFleetProcess } from '../../../bench/fleetProcess.ts';
import limits from '../../../bench/limits.json' with { type: 'json' };
import { startRoundTripRelays } from '../../../bench/roundTrips.ts';
import { countCalls } from '../../../bench/systemCalls.ts';

const checkout = checkoutProgram(launcher);
let fleet: FleetProcess;

beforeAll(async () => {
  fleet = await startFleetProcess();
});
afterAll(() => fleet.stop());

test('an onboarding syncs no more often, and starts no more processes, than it did', () => {
  const { syncs, syncsByFile, children } = countCallsOf(checkout, fleet);
  expect(syncs, JSON.stringify(syncsByFile)).toBeLessThanOrEqual(limits.syncs);
  expect(children).toBeLessThanOrEqual(limits.children);
});

test('an onboarding waits for no more round trips than it did', async () => {
  expect(await countRoundTrips(checkout, fleet)).toBeLessThanOrEqual(limits.roundTrips);
});

test('no more is loaded before the first request than was', async () => {
  const { files, bytes, builtins } = await countLoaded(checkout, fleet);
  expect(files).toBeLessThanOrEqual(limits.filesLoaded);
  expect(bytes).toBeLessThanOrEqual(limits.bytesLoaded * 1.01);
  expect(builtins).toBeLessThanOrEqual(ofThisNode(limits.builtinsLoaded));
});

/** Node's own modules are cut differently in each release line; that of the packages holds for those not named. */
function ofThisNode(known: Readonly<Record<string, number>> & { readonly '24': number }): number {
  const [major = ''] = process.versions.node.split('.');
  return known[major] ?? known['24'];
}

test('the code cache, which is deserialised at every start, has not grown', async () => {
  expect(await cacheBytes(fleet)).toBeLessThanOrEqual(ofThisNode(limits.cacheBytes) * 1.03);
});

test('the bundle has not grown', () => {
  expect(bundleBytes()).toBeLessThanOrEqual(limits.bundleBytes * 1.01);
});

test('syncs, bytes and child processes of a program are counted', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const program = join(folder, 'program.cjs');
    const text = `
      const fs = require('node:fs');
      for (const name of ['a', 'a', 'b']) {
        const file = fs.openSync(${JSON.stringify(folder)} + '/.' + name + '.tmp', 'w');
        fs.writeSync(file, '12345');
        fs.fsyncSync(file);
        fs.renameSync(${JSON.stringify(folder)} + '/.' + name + '.tmp', ${JSON.stringify(folder)} + '/' + name);
      }
      require('node:child_process').spawnSync('true');`;
    writeFileSync(program, text);
    const counted = countCalls([process.execPath, program], { folder, stateDir: folder, env: process.env });
    expect(counted).toEqual({
      syncs: 3,
      syncsByFile: { a: 2, b: 1 },
      writes: 3,
      bytesWritten: 15,
      renames: 3,
      children: 1,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('questions that wait for one another are round trips, what is sent together is one', async () => {
  const echo = createServer((socket) => {
    socket.write('hello');
    socket.on('data', (data) => socket.write(data));
  });
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const { port } = echo.address() as { port: number };
  const to = { provisioningUrl: `http://127.0.0.1:${port}`, natsUrl: `tls://127.0.0.1:${port}` };
  const relays = await startRoundTripRelays(to, 50);
  try {
    const first = connect(Number(new URL(relays.natsUrl).port), '127.0.0.1');
    await answer(first);
    expect(relays.roundTrips()).toBe(0.5);
    first.write('one');
    await answer(first);
    first.write('two');
    first.write('three');
    await answer(first);
    expect(relays.roundTrips()).toBe(2.5);
    const second = connect(Number(new URL(relays.provisioningUrl).port), '127.0.0.1');
    await answer(second);
    expect(relays.roundTrips()).toBe(3);
    for (const socket of [first, second]) socket.destroy();
  } finally {
    await relays.stop();
    await new Promise((resolve) => echo.close(resolve));
  }
});

function answer(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('data', resolve));
}
