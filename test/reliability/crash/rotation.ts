import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startFleet } from '../../../fleet/fleet.ts';
import { type Device, removeDevices, start } from '../../support/program.ts';
import { sendSignal } from '../../support/sendSignal.ts';
import { type Spot, spawnProgram, spoiling } from '../../support/strace/strace.ts';
import { newLife } from '../../support/strace/tracedLife.ts';

/**
 * The crash matrix of a rotation of keys. A device with `renewal.newKey` is killed at every rename, every removal and every
 * sync in the state directory, from its start on, and started again, in each of three parts of the way:
 *
 * - `request`: its certificate is due; a new key is made, certified, tried and put in the place of the one before
 * - `switch`: the renewed certificate is there, and could not be tried yet
 * - `verification`: both pairs are there; once the new one is verified, the one before goes
 *
 * What must hold is looked at from outside: it ends with the new pair, no third key was certified, nothing was registered
 * twice, and where the renewed certificate was there, nobody was asked for another.
 *
 * `npm run test:crash:rotation -- [--parts request,switch,verification] [--calls rename,unlink,fsync] [--most N]`; needs strace.
 */
const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: 'request,switch,verification' },
    calls: { type: 'string', default: 'rename,unlink,fsync' },
    most: { type: 'string', default: '1000' },
  },
});
type Part = 'request' | 'switch' | 'verification';
const waitMs = 60_000;
const fleet = await startFleet();
const folder = mkdtempSync(join(tmpdir(), 'rotation-'));
const violations: string[] = [];
let kills = 0;
try {
  // The first certificate lives long enough for all kills, and is due some seconds after it was made: less than one second
  // could have passed already, since a certificate's dates have no fractions. The second cannot be tried at once.
  fleet.provisioning.behave = (_, n) => {
    if (n === 2) return { after: fleet.nats.kill() };
    const hour = 3_600_000;
    const dates = { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + hour) };
    return n === 1 ? { certificate: dates } : undefined;
  };
  // A device that is late to verify does so within three times `retry.maxMs`.
  const retry = { initialMs: 50, maxMs: 200, factor: 2, failedAfterMs: 1000 };
  const { device } = newLife(fleet, { renewal: { at: 0.5005, newKey: true }, retry });
  await toRegistered(device);
  keep(device, 'request');
  await toCandidate(device);
  keep(device, 'switch');
  await toBothPairs(device);
  keep(device, 'verification');
  for (const part of values.parts.split(',') as Part[])
    for (const call of values.calls.split(',')) await killAtEach(device, part, call);
} finally {
  await fleet.stop();
  removeDevices();
  rmSync(folder, { recursive: true, force: true });
}
for (const violation of violations) console.log(`  ${violation}`);
console.log(`${kills} kills in a rotation of keys, ${violations.length} violations`);
process.exitCode = violations.length > 0 || kills === 0 ? 1 : 0;

function keep({ stateDir }: Device, part: Part): void {
  cpSync(stateDir, join(folder, part), { recursive: true });
}

async function killAtEach(device: Device, part: Part, call: string): Promise<void> {
  for (let number = 1; number <= Number(values.most); number++) {
    rmSync(device.stateDir, { recursive: true });
    cpSync(join(folder, part), device.stateDir, { recursive: true });
    const before = fleet.provisioning.requests.length;
    if (!(await killedAt(device, part, { call, number, on: 'disk' }))) return;
    kills += 1;
    await finish(device, part, { before, where: `${part}, ${call} ${number}` });
  }
}

async function toRegistered(device: Device): Promise<void> {
  const program = start(device, ['--once']);
  if ((await program.ended) !== 0) throw new Error('the device did not register');
}

/** Goes on until NATS keeps the renewed certificate from being tried. */
async function toCandidate(device: Device): Promise<void> {
  const program = start(device);
  await program.until((line) => line.event === 'step.failed' && line.code === 'NATS_UNREACHABLE');
  program.child.kill('SIGKILL');
  await program.ended;
  await fleet.nats.restart();
}

/** The new pair is in use, and is to be verified: it was last a week ago. */
async function toBothPairs(device: Device): Promise<void> {
  const program = start(device);
  await program.until(({ event }) => event === 'certificate.renewed');
  await passed(() => isSettled(device, 'switch'));
  program.child.kill('SIGTERM');
  await program.ended;
  const verifiedAt = new Date(Date.now() - 7 * 86_400_000).toISOString();
  writeFileSync(join(device.stateDir, 'state.json'), JSON.stringify({ ...stateOf(device), verifiedAt }));
}

/**
 * @returns false if the program got through the part without that call
 * @throws {Error} if it ended by itself
 */
async function killedAt(device: Device, part: Part, spot: Spot): Promise<boolean> {
  const child = spawnProgram(device, spoiling(device, spot, 'signal=SIGKILL'), [], 'pipe');
  const ended = once(child, 'exit');
  let output = '';
  child.stdout?.on('data', (text) => {
    output += text;
  });
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  await passed(() => isOver() || isSettled(device, part));
  // Not to strace: it would leave the program running.
  const [, pid] = /"pid":(\d+)/.exec(output) ?? [];
  if (!isOver()) sendSignal(Number(pid), 'SIGTERM');
  // The files say that the part is over before its last call: how the program ended tells whether that was reached.
  const [status, signal] = await ended;
  if (signal === 'SIGKILL') return true;
  if (status !== 0 || !isSettled(device, part))
    throw new Error(`${part}: the program ended with ${status ?? signal}`);
  return false;
}

/** Whether the part is behind the device, and its files say so. */
function isSettled(device: Device, part: Part): boolean {
  const { provisioned, candidate, previous } = stateOf(device);
  const isRenewed =
    provisioned !== undefined &&
    candidate === null &&
    file(device, 'identity.crt') === provisioned.certificate;
  const isTidy = part === 'verification' ? previous === null : previous !== null;
  const isThere = existsSync(join(device.stateDir, 'identity.key.previous'));
  const isNext = existsSync(join(device.stateDir, 'identity.key.next'));
  return isRenewed && isTidy && isThere === (part !== 'verification') && !isNext;
}

interface Killed {
  /** Requests for certificates until then */
  readonly before: number;
  readonly where: string;
}

async function finish(device: Device, part: Part, { before, where }: Killed): Promise<void> {
  const program = start(device);
  await program.until(({ event }) => event === 'device.registered');
  await passed(() => isSettled(device, part)).catch(() => undefined);
  program.child.kill('SIGTERM');
  await program.ended;
  const [key, certificate] = [file(device, 'identity.key'), file(device, 'identity.crt')];
  const asked = fleet.provisioning.requests.slice(before);
  const keys = new Set(asked.map(({ publicKeySha256 }) => publicKeySha256));
  const flaws = [
    !isSettled(device, part) && 'the rotation did not come to its end',
    !(key && certificate && new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) &&
      'key and certificate are no pair',
    part === 'request' && keys.size !== 1 && `${keys.size} keys were certified`,
    part !== 'request' && asked.length > 0 && 'another certificate was requested',
    fleet.manager.requests.length !== 1 && 'the device registered again',
  ];
  for (const flaw of flaws) if (flaw) violations.push(`killed at ${where}: ${flaw}`);
}

/** Looks again and again. @throws {Error} if it does not come true in a minute */
async function passed(isSo: () => boolean): Promise<void> {
  const until = Date.now() + waitMs;
  while (!isSo()) {
    if (Date.now() > until) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function stateOf(device: Device) {
  return JSON.parse(file(device, 'state.json') ?? '{}');
}

function file({ stateDir }: Device, name: string): string | null {
  const path = join(stateDir, name);
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}
