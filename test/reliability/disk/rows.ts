import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { files } from '../../../src/services/state/deviceState.ts';
import type { Device } from '../../support/program.ts';
import { spoiling } from '../../support/strace/strace.ts';
import type { Made, Row } from './row.ts';

const isRoot = process.getuid?.() === 0;
const noMount = isRoot ? null : 'needs root, to mount a file system';
const noOwner = isRoot ? null : 'needs root, to give a file another owner';
const unwritable = ['STATE_UNWRITABLE'];
const corrupt = ['STATE_CORRUPT'];
/** The keys of a rotation are there only while one is under way. */
const names = Object.values(files).filter((name) => name !== files.nextKey && name !== files.previousKey);

const mount = (...args: string[]) => {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr}`);
};

/** A tiny disk of its own under the state directory, so full that the program cannot finish; mended, it is large. */
function full(kilobytes: number): Row {
  return {
    fault: `a disk of ${kilobytes} kB`,
    group: 'a disk that is full',
    codes: ['STATE_UNWRITABLE', 'none'],
    unable: noMount,
    make: (device) => {
      mkdirSync(device.stateDir, { mode: 0o700 });
      mount('-t', 'tmpfs', '-o', `size=${kilobytes}k,mode=700`, 'tmpfs', device.stateDir);
      return {
        mend: () => mount('-o', 'remount,size=1m', device.stateDir),
        clean: () => spawnSync('umount', ['-l', device.stateDir]),
      };
    },
  };
}

function readOnly(registeredBefore: boolean): Row {
  return {
    fault: `a disk that is read-only${registeredBefore ? ', registered before' : ' from the start'}`,
    codes: registeredBefore ? ['none'] : unwritable,
    registeredBefore,
    unable: noMount,
    make: (device) => {
      const kept = existsSync(device.stateDir)
        ? readdirSync(device.stateDir).map(
            (name) => [name, readFileSync(join(device.stateDir, name))] as const,
          )
        : [];
      mkdirSync(device.stateDir, { recursive: true, mode: 0o700 });
      mount('-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', device.stateDir);
      for (const [name, bytes] of kept) {
        writeFileSync(join(device.stateDir, name), bytes, { mode: name.endsWith('.key') ? 0o600 : 0o644 });
      }
      mount('-o', 'remount,ro', device.stateDir);
      return {
        ...(registeredBefore ? {} : { mend: () => mount('-o', 'remount,rw', device.stateDir) }),
        clean: () => spawnSync('umount', ['-l', device.stateDir]),
      };
    },
  };
}

/** One call of a kind fails with EIO, once. */
function inputOutput(call: string, number: number): Row {
  return {
    fault: `EIO at ${call} ${number}`,
    group: `EIO, once, at each ${call} of a life`,
    codes: ['STATE_UNWRITABLE', 'none'],
    // Node ends itself where it cannot close what it has read.
    mayEnd: call === 'close',
    make: (device) => {
      const trace = `${device.stateDir}.trace`;
      const straceArgs = spoiling(device, { call, number, on: 'disk' }, 'error=EIO', trace);
      const came = () => readFileSync(trace, 'utf8').includes('INJECTED');
      return { straceArgs, came };
    },
  };
}

function damaged(name: string, how: 'emptied' | 'overwritten with rubbish' | 'cut in half' | 'gone'): Row {
  const isKey = name === files.key;
  const matters = name === files.state || isKey;
  return {
    fault: `${name} ${how}`,
    codes: matters && how !== 'gone' ? corrupt : ['none'],
    registeredBefore: true,
    identity: isKey ? 'newKey' : 'kept',
    make: (device) => {
      const path = join(device.stateDir, name);
      const damage = spoil(path, how);
      return { check: () => (damage !== null && matters ? setAside(device, name, damage) : null) };
    },
  };
}

function spoil(path: string, how: string): Buffer | null {
  if (how === 'emptied') truncateSync(path, 0);
  else if (how === 'gone') rmSync(path);
  else if (how === 'cut in half') truncateSync(path, Math.floor(readFileSync(path).length / 2));
  else writeFileSync(path, Buffer.from(Array.from({ length: 700 }, (_, index) => (index * 73) % 256)));
  return how === 'gone' ? null : readFileSync(path);
}

/** @returns what is wrong where the damaged file was not kept beside, as it was */
function setAside({ stateDir }: Device, name: string, damage: Buffer): string | null {
  const kept = readdirSync(stateDir).filter((one) => one.startsWith(`${name}.damaged-`));
  const [first] = kept;
  if (kept.length !== 1 || first === undefined) return `${kept.length} files were set aside`;
  return readFileSync(join(stateDir, first)).equals(damage) ? null : `${first} is not the damaged file`;
}

/** A state that cannot be used beside a key that can: nothing is made in its place, and the backup brings all back. */
function untouchable(
  fault: string,
  codes: string[],
  spoilAll: (device: Device) => void,
  unable: string | null = null,
): Row {
  return {
    fault,
    codes,
    registeredBefore: true,
    unable,
    make: (device) => {
      const backup = `${device.stateDir}.backup`;
      spawnSync('cp', ['-a', device.stateDir, backup]);
      spoilAll(device);
      // File by file: the daemon runs, and holds the folder's lock.
      const mend = () => {
        for (const name of readdirSync(backup)) {
          const path = join(device.stateDir, name);
          if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) rmSync(path, { recursive: true });
          renameSync(join(backup, name), path);
        }
      };
      return { mend };
    },
  };
}

function newer(device: Device): Made {
  const path = join(device.stateDir, files.state);
  const state = readFileSync(path, 'utf8');
  const next = JSON.stringify({ ...JSON.parse(state), version: 2 });
  writeFileSync(path, next);
  let untouched = false;
  const mend = () => {
    untouched = readFileSync(path, 'utf8') === next;
    writeFileSync(path, state);
  };
  return { mend, check: () => (untouched ? null : 'the newer state was changed') };
}

function tooOpen(name: string): Row {
  return {
    fault: `${name} readable by all`,
    codes: ['none'],
    registeredBefore: true,
    make: (device) => {
      const path = join(device.stateDir, name);
      chmodSync(path, 0o666);
      const mode = () => (spawnSync('stat', ['-c', '%a', path], { encoding: 'utf8' }).stdout ?? '').trim();
      return { check: () => (mode() === '600' ? null : `its mode is ${mode()}`) };
    },
  };
}

export function diskRows(calls: Readonly<Record<string, number>>): Row[] {
  const each = Object.entries(calls).flatMap(([call, count]) =>
    Array.from({ length: count }, (_, index) => inputOutput(call, index + 1)),
  );
  return [
    ...[4, 8, 12, 16, 20, 24, 28, 32, 36, 40].map(full),
    readOnly(false),
    readOnly(true),
    ...each,
    ...names.flatMap((name) => [
      damaged(name, 'emptied'),
      damaged(name, 'cut in half'),
      damaged(name, 'overwritten with rubbish'),
      damaged(name, 'gone'),
    ]),
    untouchable('state.json and device_id.txt emptied, the key readable', corrupt, ({ stateDir }) => {
      truncateSync(join(stateDir, files.state), 0);
      truncateSync(join(stateDir, files.deviceId), 0);
    }),
    untouchable('state.json and device_id.txt gone, the key readable', corrupt, ({ stateDir }) => {
      rmSync(join(stateDir, files.state));
      rmSync(join(stateDir, files.deviceId));
    }),
    untouchable('identity.key is a folder', unwritable, ({ stateDir }) => {
      rmSync(join(stateDir, files.key));
      mkdirSync(join(stateDir, files.key));
    }),
    untouchable('state.json is a link to itself', unwritable, ({ stateDir }) => {
      rmSync(join(stateDir, files.state));
      symlinkSync(files.state, join(stateDir, files.state));
    }),
    { fault: 'state.json of a newer version', codes: corrupt, registeredBefore: true, make: newer },
    tooOpen(files.key),
    {
      fault: 'state directory of another owner',
      codes: ['none'],
      registeredBefore: true,
      unable: noOwner,
      make: ({ stateDir }) => {
        for (const name of ['.', ...readdirSync(stateDir)]) chownSync(join(stateDir, name), 65534, 65534);
        return {};
      },
    },
  ];
}
