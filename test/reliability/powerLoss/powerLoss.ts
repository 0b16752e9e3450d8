import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Fleet, startFleet } from '../../../fleet/fleet.ts';
import { files, parseState } from '../../../src/services/state/deviceState.ts';
import type { Device } from '../../support/program.ts';
import { writeSection } from '../../support/reliabilityPage.ts';
import { sample, seeded } from '../../support/sample.ts';
import { readTrace, runProgram, tracing } from '../../support/strace/strace.ts';
import { newLife, sightOf } from '../../support/strace/tracedLife.ts';
import {
  type Folder,
  foldersAfterCut,
  keyOf,
  mayBeTorn,
  type Operation,
  operationsOf,
  orderFlaws,
} from './powerCut.ts';

/**
 * Power cuts: one whole life of the real program is traced, and for every prefix of what it did to the disk each state
 * is made that a power cut there could leave (strace/powerCut.ts). The real program starts on each of them. NATS is in
 * plain text, so that the trace shows what was said: the key must be durable before the CSR is, the question before
 * it is asked.
 *
 * `npm run test:power-loss [-- --starts N] [-- --seed N] [-- --without syncFile|syncFolder]`; needs strace. `--without`
 * leaves these calls out of the trace, as if the program did not make them: then it must find something.
 */
const { values } = parseArgs({
  options: {
    starts: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    without: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});

/** What the fleet knew when the power went. */
type Said = 'nothing' | 'CSR' | 'question';
interface Cut {
  readonly folder: Folder;
  readonly said: Said;
}

/** Each kind with how often it was seen: a writer that does not sync breaks the same promise in thousands of states. */
const violations = new Map<string, number>();
const violate = (text: string) => {
  const seen = violations.get(text) ?? 0;
  if (seen === 0) console.log(`  ${text}`);
  violations.set(text, seen + 1);
};
const begun = performance.now();
const fleet = await startFleet({ nats: { tls: false }, api: 'plain' });
try {
  const { device, operations } = await tracedLife(fleet);
  const { id, key } = sightOf(device);
  if (id === null || key === null) throw new Error('the traced life left no identity');
  for (const flaw of orderFlaws(operations)) violate(flaw);
  const renames = operations.filter(({ kind }) => kind === 'rename').length;
  const cuts = cutsOf(operations);
  checkPromises(cuts, id, key);
  const taken = sample(cuts, Number(values.starts), seeded(Number(values.seed)));
  for (const cut of taken) await start(fleet, device, cut, id);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  const table = [
    '| operations traced | durable writes in order | distinct states after a cut | started on | violations |',
    '| --- | --- | --- | --- | --- |',
    `| ${operations.length} | ${renames} | ${cuts.length} | ${taken.length} | ${violations.size} |`,
  ];
  const summary = `${taken.length} starts in ${seconds} s, ${violations.size} kinds of violation`;
  for (const line of [...table, '', summary]) console.log(line);
  if (values.write && violations.size === 0)
    writeSection('powerLoss', 'test:power-loss', [...table, '', `${summary}.`]);
  if (renames === 0 || taken.length === 0) violate('nothing was tried');
} finally {
  await fleet.stop();
}
process.exitCode = violations.size > 0 ? 1 : 0;

async function tracedLife(fleet: Fleet): Promise<{ device: Device; operations: Operation[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-'));
  const { device } = newLife(fleet, { nats: { tls: 'optional' }, registration: { timeoutMs: 2000 } });
  const end = await runProgram(device, tracing(join(folder, 'trace')));
  if (end !== 0) throw new Error(`the traced life ended with ${end}`);
  const all = operationsOf(readTrace(join(folder, 'trace')), device.stateDir);
  rmSync(folder, { recursive: true, force: true });
  return { device, operations: all.filter(({ kind }) => kind !== values.without) };
}

/** Every state that a cut could leave, with what the fleet knew then. */
function cutsOf(operations: readonly Operation[]): Cut[] {
  let said: Said = 'nothing';
  const found = new Map<string, Cut>();
  for (let length = 0; length <= operations.length; length++) {
    const last = operations[length - 1];
    if (last?.kind === 'said') said = saidBy(last.text) ?? said;
    for (const folder of foldersAfterCut(operations.slice(0, length))) {
      found.set(`${said} ${keyOf(folder)}`, { folder, said });
    }
  }
  return [...found.values()];
}

function saidBy(text: string): Said | null {
  if (text.includes('/api/devices/provision')) return 'CSR';
  return /PUB device_actions\./.test(text) ? 'question' : null;
}

/** What must be durable once the fleet knows something, and that nothing is ever half there. */
function checkPromises(cuts: readonly Cut[], id: string, key: string): void {
  for (const said of ['CSR', 'question'] as const) {
    if (!cuts.some((cut) => cut.said === said)) violate(`the trace does not show the ${said}`);
  }
  for (const { folder, said } of cuts) {
    const text = (name: string) => folder?.get(name)?.toString('utf8') ?? null;
    if (said !== 'nothing' && text(files.key) !== key) violate('the CSR left before the key was durable');
    if (said !== 'nothing' && idIn(text(files.state)) !== id)
      violate('the CSR left before the id was durable');
    if (said === 'question' && !hasQuestion(text(files.state)))
      violate('the question left before it was recorded');
    for (const [name, bytes] of folder ?? []) {
      const temporary = name.startsWith('.');
      if (!temporary && !mayBeTorn(name) && (bytes.length === 0 || bytes.includes(0)))
        violate(`${name} was half there`);
    }
  }
}

function idIn(state: string | null): string | null {
  try {
    return state === null ? null : parseState(state).deviceId;
  } catch {
    return null;
  }
}

function hasQuestion(state: string | null): boolean {
  try {
    const { request, registration } = parseState(state ?? '');
    return request !== null || registration !== null;
  } catch {
    return false;
  }
}

/** Puts the state there, lets the fleet know what it knew then, and starts the program. */
async function start(fleet: Fleet, device: Device, { folder, said }: Cut, traced: string): Promise<void> {
  rmSync(device.stateDir, { recursive: true, force: true });
  if (folder !== null) mkdirSync(device.stateDir, { mode: 0o700 });
  for (const [name, bytes] of folder ?? [])
    writeFileSync(join(device.stateDir, name), bytes, { mode: 0o600 });
  const before = sightOf(device);
  fleet.manager.accepted.clear();
  await fleet.manager.registry.forget(traced);
  if (said === 'question') await fleet.manager.registry.create(traced, 'before the cut');
  const requests = fleet.provisioning.requests.length;
  const end = await runProgram(device);
  const after = sightOf(device);
  const what = `after ${said} was said, with ${[...(folder?.keys() ?? [])].join(' ') || 'nothing'} on disk`;
  if (end !== 0) violate(`${what}: ended with ${end}`);
  for (const flaw of [...before.flaws, ...after.flaws]) violate(`${what}: ${flaw}`);
  if (before.id !== null && after.id !== before.id) violate(`${what}: id ${before.id} became ${after.id}`);
  if (before.key !== null && after.key !== before.key) violate(`${what}: the key changed`);
  if (said !== 'nothing' && after.id !== traced) violate(`${what}: a new identity`);
  const accepted = [...fleet.manager.accepted.values()].reduce((sum, { count }) => sum + count, 0);
  if (accepted !== (said === 'question' ? 0 : 1)) violate(`${what}: accepted ${accepted} times more`);
  const shown = new Set(
    fleet.provisioning.requests.slice(requests).map(({ publicKeySha256 }) => publicKeySha256),
  );
  if (shown.size > 1) violate(`${what}: ${shown.size} keys were shown to the fleet`);
}
