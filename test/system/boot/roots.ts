/** Root file systems that are not the device's only one, or that nobody can write to. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startFleet } from '../../../fleet/fleet.ts';
import { newerVersion } from '../package/life.ts';
import { type Architecture, freshTree, installIn, inTree, type Suite } from './image.ts';
import { boot, type Machine } from './machine.ts';

/** What these checks are of. */
export interface Subject {
  readonly architecture: Architecture;
  readonly suite: Suite;
  /** Path of the package */
  readonly deb: string;
  /** How many times longer everything may take */
  readonly slow: number;
  tell(what: string, since: number): void;
}

const target = 'onboardd-registered.target';
const away = '10.99.0.1';
const status = ['systemctl', 'show', '-P', 'StatusText', 'onboardd.service'];

/** An image: a tree with the package in it, and the line that a device needs, below /usr. */
function imageOf({ architecture, suite }: Subject, deb: string, url: string): ReturnType<typeof freshTree> {
  const image = freshTree(architecture, suite);
  const folder = join(image.tree, 'usr/lib/onboardd/config.d');
  // Of the user onboardd, another number in each image.
  if (deb.includes('+upgrade')) inTree(image.tree, 'useradd', '--system', 'earlier');
  installIn(image.tree, deb);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, '10-fleet.json'), JSON.stringify({ provisioning: { url } }));
  rmSync(join(image.tree, 'root/onboardd.deb'));
  return image;
}

async function startFleetAway() {
  const fleet = await startFleet({});
  const ports = [Number(new URL(fleet.provisioningUrl).port), fleet.nats.port];
  const asked = () => [fleet.provisioning.requests.length, fleet.manager.requests.length];
  return { fleet, ports, asked, url: `http://${away}:${ports[0]}` };
}

/**
 * An A/B update: the other root file system has a newer package, and another number for the user; both have the state and
 * the machine-id of the data partition. Then back to the first, which is what a failed update does.
 */
export async function abUpdate(subject: Subject): Promise<void> {
  const { fleet, ports, asked, url } = await startFleetAway();
  const work = mkdtempSync(join(tmpdir(), 'roots-'));
  const one = imageOf(subject, subject.deb, url);
  const other = imageOf(subject, newerVersion(subject.deb, work), url);
  let machine: Machine | undefined;
  try {
    const state = join(dirname(one.tree), 'state');
    const id = join(dirname(one.tree), 'machine-id');
    mkdirSync(state);
    chmodSync(state, 0o755);
    chownSync(state, 0, 0);
    writeFileSync(id, `${'a'.repeat(32)}\n`);
    const data = [`--bind=${state}:/var/lib/onboardd`, `--bind-ro=${id}:/etc/machine-id`];
    const registered = async (limitMs: number) => {
      const here = machine as Machine;
      await here.until(
        ['systemctl', 'is-active', target],
        (text) => text === 'active',
        limitMs * subject.slow,
      );
      return await here.run('sh', '-c', 'cat /var/lib/onboardd/device_id.txt; echo; id -u onboardd');
    };
    machine = await boot(one.tree, data);
    await machine.connect(ports, away);
    const [device, user] = (await registered(60_000)).split('\n');
    const before = asked();
    await machine.powerOff();
    const started = Date.now();
    for (const [tree, what] of [
      [other.tree, 'the other root file system, with a newer package'],
      [one.tree, 'back on the first one'],
    ] as const) {
      machine = await boot(tree, data);
      const [sameDevice, itsUser] = (await registered(60_000)).split('\n');
      assert.equal(sameDevice, device);
      if (tree === other.tree) assert.notEqual(itsUser, user, 'the user has the same number in both images');
      assert.match(await machine.run('onboardd', 'status'), /registered/);
      await machine.powerOff();
      subject.tell(`A/B update, ${what}: registered without a network`, started);
    }
    writeFileSync(id, `${'b'.repeat(32)}\n`);
    machine = await boot(other.tree, data);
    await machine.until(status, (text) => text.includes('STATE_CLONED'), 30_000 * subject.slow);
    assert.deepEqual(asked(), before, 'something was asked again');
    subject.tell('A/B update, with a machine-id of its own: STATE_CLONED, nothing sent', started);
  } finally {
    await machine?.powerOff();
    one.remove();
    other.remove();
    rmSync(work, { recursive: true, force: true });
    await fleet.stop();
  }
}

/** The root file system is read-only, /etc with it, and the machine-id is another one at each boot; the state is kept. */
export async function readOnlyRoot(subject: Subject): Promise<void> {
  const { fleet, ports, asked, url } = await startFleetAway();
  const image = imageOf(subject, subject.deb, url);
  let machine: Machine | undefined;
  try {
    const state = join(dirname(image.tree), 'state');
    mkdirSync(state);
    const options = ['--volatile=state', `--bind=${state}:/var/lib/onboardd`];
    const started = Date.now();
    const ids = new Set<string>();
    for (const isFirst of [true, false]) {
      machine = await boot(image.tree, options);
      await assert.rejects(machine.run('touch', '/etc/written'), /Read-only file system/);
      ids.add(await machine.run('cat', '/etc/machine-id'));
      if (isFirst) await machine.connect(ports, away);
      const before = asked();
      const isActive = (text: string) => text === 'active';
      await machine.until(['systemctl', 'is-active', target], isActive, 60_000 * subject.slow);
      if (!isFirst) assert.deepEqual(asked(), before, 'something was asked again');
      const failed = await machine.run('systemctl', 'list-units', '--failed', '--no-legend', '--plain');
      assert.doesNotMatch(failed, /onboardd/);
      await machine.powerOff();
      subject.tell(`a read-only root: registered at the ${isFirst ? 'first' : 'second'} boot`, started);
    }
    assert.equal(ids.size, 2, 'the machine-id was kept');
    assert.equal(fleet.manager.accepted.size, 1);
  } finally {
    await machine?.powerOff();
    image.remove();
    await fleet.stop();
  }
}
