/**
 * docs/workbench.md, followed word for word on two machines: the workbench in a network namespace, and a Debian tree with
 * systemd as PID 1 behind a cable to it. `npm run test:workbench` needs root; it takes the newest package of `dist`, or makes one.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { freshTree, missingForTrees, NotHere, sayNotHere, unavailable } from '../boot/image.ts';
import { boot, type Machine } from '../boot/machine.ts';

const page = readFileSync(join(root, 'docs/workbench.md'), 'utf8');
const [fleetCommand = '', packageCommand = '', deviceCommands = ''] = [
  ...page.matchAll(/^ *```sh\n([\s\S]*?)^ *```$/gm),
].map(([, text = '']) => text.replace(/^ +/gm, ''));
const namespace = `workbench-${process.pid}`;
const [here, there] = ['10.77.0.1', '10.77.0.2'];

const missing = [...missingForTrees('amd64'), ...missingAfterInstalling(['ip'])];
if (missing.length > 0) {
  console.log(`not tested here: it needs ${missing.join(', ')}`);
  process.exit(unavailable);
}
const home = mkdtempSync(join(tmpdir(), 'workbench-'));
const ends: (() => unknown)[] = [() => rmSync(home, { recursive: true, force: true })];
try {
  const deb = newestPackage();
  const { tree, remove } = freshTree('amd64');
  ends.push(remove);
  addNamespace();
  ends.push(() => ip('netns', 'delete', namespace));
  const machine = await boot(tree);
  ends.push(() => machine.powerOff());
  await connect(machine, tree);
  let fleet = await startFleet();
  ends.push(() => fleet.stop());

  const started = Date.now();
  cpSync(deb, join(tree, 'root', basename(deb)));
  const script = deviceCommands.replace('FINGERPRINT', fleet.fingerprint).replace('ADDRESS', fleet.address);
  const said = await machine.run('sh', '-ec', `cd /root\n${script}`);
  assert.match(said, /registered/);
  assert.doesNotMatch(said, /FINGERPRINT=FINGERPRINT|ADDRESS/);
  tell('the second machine followed the page, and is registered', started);
  const id = await machine.run('cat', '/var/lib/onboardd/device_id.txt');
  await fleet.says(new RegExp(`registration\\.accepted +${id}`));
  tell('the workbench saw it', started);

  const again = Date.now();
  await fleet.stop();
  fleet = await startFleet();
  await fleet.says(/1 devices? known/);
  await machine.run('systemctl', 'restart', 'onboardd');
  assert.match(
    await machine.run('sh', '-ec', 'onboardd wait --timeout 60; onboardd check'),
    /pass {2}nats-server/,
  );
  tell('the workbench started again; the device is registered, and every check passes', again);
  console.log('all of it held');
} catch (error) {
  sayNotHere(error);
} finally {
  for (const end of ends.reverse()) await end();
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function addNamespace(): void {
  try {
    ip('netns', 'add', namespace);
  } catch (error) {
    throw new NotHere(`no network namespaces: ${error instanceof Error ? error.message.trim() : error}`);
  }
  ip('-n', namespace, 'link', 'set', 'lo', 'up');
}

/** A cable between the workbench and the machine. */
async function connect(machine: Machine, tree: string): Promise<void> {
  const leader = leaderOf(tree);
  ip('-n', namespace, 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan0', 'netns', leader);
  ip('-n', namespace, 'address', 'add', `${here}/24`, 'dev', 'lan0');
  ip('-n', namespace, 'link', 'set', 'lan0', 'up');
  await machine.run('ip', 'address', 'add', `${there}/24`, 'dev', 'lan0');
  await machine.run('ip', 'link', 'set', 'lan0', 'up');
}

/** PID 1 of the container that runs on this tree, seen from outside. */
function leaderOf(tree: string): string {
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .find((pid) => isLeader(pid, tree));
  if (found === undefined) throw new NotHere('the container cannot be found');
  return found;
}

function isLeader(pid: string, tree: string): boolean {
  try {
    const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return (
      readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'systemd' &&
      readFileSync(`/proc/${parent}/cmdline`, 'utf8').split('\0').includes(tree)
    );
  } catch {
    return false;
  }
}

interface Fleet {
  address: string;
  fingerprint: string;
  /** Resolves once its output, past or coming, holds this. */
  says(what: RegExp): Promise<RegExpMatchArray>;
  stop(): Promise<void>;
}

/** The page's command, on the workbench. */
async function startFleet(): Promise<Fleet> {
  const child: ChildProcess = spawn('ip', ['netns', 'exec', namespace, 'sh', '-c', fleetCommand], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
    env: { ...process.env, HOME: home, XDG_DATA_HOME: '' },
  });
  let output = '';
  const ended = once(child, 'exit');
  const waiting = new Set<() => void>();
  child.stdout?.on('data', (text: Buffer) => {
    output += text;
    for (const look of waiting) look();
  });
  const says = (what: RegExp) =>
    new Promise<RegExpMatchArray>((resolve, reject) => {
      const look = () => {
        const found = what.exec(output);
        if (found === null) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
      ended.then(() => reject(new Error(`the fleet ended: ${output.slice(-2000)}`)));
    });
  const [, address = ''] = await says(/ONBOARDD_PROVISIONING_URL=http:\/\/([\d.]+):8080/);
  const [, fingerprint = ''] = await says(/FLEET_CA_FINGERPRINT=([0-9A-F:]{95})/);
  return {
    ...{ address, fingerprint, says },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      process.kill(-(child.pid ?? 0), 'SIGTERM');
      await ended;
    },
  };
}

function newestPackage(): string {
  const packages = () =>
    readdirSync(join(root, 'dist'))
      .filter((name) => /^onboardd_.*_amd64\.deb$/.test(name))
      .map((name) => join(root, 'dist', name))
      .sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
  const [known] = packages();
  if (known !== undefined) return known;
  // This machine is no Raspberry Pi.
  execFileSync('sh', ['-c', packageCommand.replace('arm64', 'amd64')], { cwd: root, stdio: 'inherit' });
  const [made] = packages();
  if (made === undefined) throw new NotHere('no package could be made');
  return made;
}

function tell(what: string, since: number): void {
  console.log(`${((Date.now() - since) / 1000).toFixed(1).padStart(6)} s  ${what}`);
}
