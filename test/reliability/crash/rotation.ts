import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startFleet } from '../../../fleet/fleet.ts';
import { type Device, removeDevices, start } from '../../support/program.ts';
import { spawnProgram, spoiling } from '../../support/strace/strace.ts';
import { newLife } from '../../support/strace/tracedLife.ts';

/**
 * The crash matrix of a switch of keys: a device that holds a renewed certificate for a new key is killed at every rename,
 * every removal and every sync in the state directory, from its start on, and started again. What must hold is looked at from
 * outside: it ends with the new pair, nobody was asked for another certificate, and nothing was registered twice.
 *
 * `npm run test:crash:rotation -- [--calls rename,unlink,fsync] [--most N]`; needs strace.
 */
const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: 'rename,unlink,fsync' },
    most: { type: 'string', default: '1000' },
  },
});
const waitMs = 60_000;
const fleet = await startFleet();
const folder = mkdtempSync(join(tmpdir(), 'rotation-'));
const violations: string[] = [];
let kills = 0;
try {
  // The first certificate lives long enough for all kills, and is due some seconds after it was made: less than one second
  // could have passed already, since a certificate's dates have no fractions. The second cannot be tried at once.
  fleet.provisioning.behave = (_, n) =>
    n === 1
      ? {
          certificate: {
            notBefore: new Date(Date.now() - 3_600_000),
            notAfter: new Date(Date.now() + 3_600_000),
          },
        }
      : { after: fleet.nats.kill() };
  const { device } = newLife(fleet, { renewal: { at: 0.5005, newKey: true } });
  await toCandidate(device);
  const prepared = join(folder, 'state');
  cpSync(device.stateDir, prepared, { recursive: true });
  for (const call of values.calls.split(',')) {
    for (let number = 1; number <= Number(values.most); number++) {
      rmSync(device.stateDir, { recursive: true });
      cpSync(prepared, device.stateDir, { recursive: true });
      if (!(await killedAt(device, call, number))) break;
      kills += 1;
      await finish(device, `${call} ${number}`);
    }
  }
} finally {
  await fleet.stop();
  removeDevices();
  rmSync(folder, { recursive: true, force: true });
}
for (const violation of violations) console.log(`  ${violation}`);
console.log(`${kills} kills in a switch of keys, ${violations.length} violations`);
process.exitCode = violations.length > 0 || kills === 0 ? 1 : 0;

/** Registers, and goes on until NATS keeps the renewed certificate from being tried. */
async function toCandidate(device: Device): Promise<void> {
  const program = start(device);
  await program.until((line) => line.event === 'step.failed' && line.code === 'NATS_UNREACHABLE');
  program.child.kill('SIGKILL');
  await program.ended;
  await fleet.nats.restart();
}

/** @returns false if the program got to its end, a switch that is written out, without that call */
async function killedAt(device: Device, call: string, number: number): Promise<boolean> {
  const child = spawnProgram(
    device,
    spoiling(device, { call, number, on: 'disk' }, 'signal=SIGKILL'),
    [],
    'pipe',
  );
  const ended = once(child, 'exit');
  let output = '';
  const written = new Promise<'written'>((resolve) => {
    child.stdout?.on('data', (text) => {
      output += text;
      // The copies follow within the same second.
      if (output.includes('certificate.renewed')) setTimeout(() => resolve('written'), 1_000);
    });
  });
  if ((await Promise.race([ended, written])) !== 'written') return true;
  // Not strace: it would leave the program running.
  const [, pid = ''] = /"pid":(\d+)/.exec(output) ?? [];
  process.kill(Number(pid), 'SIGTERM');
  await ended;
  return false;
}

async function finish(device: Device, where: string): Promise<void> {
  const program = start(device);
  const isSettled = () => {
    const { provisioned, candidate } = JSON.parse(file(device, 'state.json') ?? '{}');
    return candidate === null && file(device, 'identity.crt') === provisioned.certificate;
  };
  const until = Date.now() + waitMs;
  await program.until(({ event }) => event === 'device.registered');
  while (!isSettled() && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 100));
  program.child.kill('SIGTERM');
  await program.ended;
  const [key, certificate] = [file(device, 'identity.key'), file(device, 'identity.crt')];
  const flaws = [
    !isSettled() && 'the renewed certificate is not in use',
    !(key && certificate && new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) &&
      'key and certificate are no pair',
    existsSync(join(device.stateDir, 'identity.key.next')) && 'the next key is left',
    fleet.provisioning.requests.length !== 2 && 'another certificate was requested',
    fleet.manager.requests.length !== 1 && 'the device registered again',
  ];
  for (const flaw of flaws) if (flaw) violations.push(`killed at ${where}: ${flaw}`);
}

function file({ stateDir }: Device, name: string): string | null {
  const path = join(stateDir, name);
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}
