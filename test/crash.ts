import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { startFleet } from './fleet/fleet.ts';
import { type Device, newDevice, programFile } from './program.ts';

/**
 * The crash matrix: the real program is killed at every call that changes the disk or the wire, one after the other,
 * and started again. What must hold is looked at from outside after each life: one id, one key, the key on disk before
 * the fleet saw it, accepted at most once, registered in the end.
 *
 * `npm run test:crash [-- --every N]`; needs strace.
 */
const { values } = parseArgs({ options: { every: { type: 'string', default: '1' } } });
const every = Number(values.every);
const calls = [
  'mkdir',
  'openat',
  'write',
  'writev',
  'fchmod',
  'fsync',
  'close',
  'rename',
  'unlink',
  'connect',
  'sendto',
  'shutdown',
];

interface Life {
  readonly call: string;
  readonly number: number;
  readonly reached: boolean;
  readonly violations: readonly string[];
}

if (spawnSync('strace', ['-V']).status !== 0) {
  console.error('strace is not installed: apt-get install strace');
  process.exit(1);
}

const fleet = await startFleet();
const lives: Life[] = [];
try {
  for (const call of calls) {
    for (let number = 1; ; number += every) {
      const life = await live(call, number);
      lives.push(life);
      for (const violation of life.violations) console.log(`  ${call} ${number}: ${violation}`);
      if (!life.reached) break;
    }
    const killed = lives.filter((life) => life.call === call && life.reached);
    const bad = killed.filter(({ violations }) => violations.length > 0);
    console.log(`${call.padEnd(10)} ${String(killed.length).padStart(4)} kills, ${bad.length} violations`);
  }
} finally {
  await fleet.stop();
}
const bad = lives.filter(({ violations }) => violations.length > 0);
console.log(`${lives.length - bad.length} passed, ${bad.length} failed`);
process.exitCode = bad.length > 0 ? 1 : 0;

/** One device, killed at the n-th such call of its main thread, then started until it is registered. */
async function live(call: string, number: number): Promise<Life> {
  const device = newDevice({
    provisioning: { url: fleet.provisioningUrl },
    identity: { keyType: 'ec-p256' },
  });
  const inject = [
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${call}:signal=SIGKILL:when=${number}`,
  ];
  const first = await run('strace', [...inject, process.execPath], device);
  const before = look(device);
  const second = await run(process.execPath, [], device);
  const after = look(device);
  const violations: string[] = [];
  if (second !== 0) violations.push(`did not register after the kill: ${second}`);
  if (before.id !== null && before.id !== after.id) violations.push(`id ${before.id} became ${after.id}`);
  if (before.key !== null && before.key !== after.key) violations.push('the key changed');
  const known = fleet.provisioning.requests.filter(({ id }) => id === after.id);
  if (new Set(known.map(({ publicKeySha256 }) => publicKeySha256)).size > 1)
    violations.push('two keys were certified');
  if (fleet.manager.accepted.get(after.id ?? '')?.count !== 1) violations.push('not accepted exactly once');
  rmSync(dirname(device.stateDir), { recursive: true, force: true });
  return { call, number, reached: first !== 0, violations };
}

function look(device: Device): { id: string | null; key: string | null } {
  const read = (name: string) => {
    const path = join(device.stateDir, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : null;
  };
  const state = read('state.json');
  return { id: state === null ? null : JSON.parse(state).deviceId, key: read('identity.key') };
}

function run(program: string, args: string[], device: Device): Promise<number | null> {
  const all = [...args, programFile, 'run', '--once', '--config', device.configFile];
  const child = spawn(program, all, { stdio: 'ignore' });
  return new Promise((resolve) => child.once('exit', resolve));
}
