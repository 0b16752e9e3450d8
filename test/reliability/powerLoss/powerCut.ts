import { relative } from 'node:path';
import { files } from '../../../src/services/state/deviceState.ts';
import { type Call, descriptorOf, textsOf } from '../../support/strace/strace.ts';

/** One operation on the state directory, or something said on the wire. */
export type Operation = { readonly at: number } & (
  | { readonly kind: 'makeFolder' }
  | { readonly kind: 'create'; readonly name: string }
  | { readonly kind: 'write'; readonly name: string; readonly bytes: Buffer }
  | { readonly kind: 'syncFile'; readonly name: string }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string }
  | { readonly kind: 'unlink'; readonly name: string }
  | { readonly kind: 'syncFolder' }
  | { readonly kind: 'said'; readonly text: string }
);

/** The operations of a trace, in their order. @throws {Error} for a change of the directory that is none of these */
export function operationsOf(calls: readonly Call[], stateDir: string): Operation[] {
  const inside = (path: string) => (path.startsWith(`${stateDir}/`) ? relative(stateDir, path) : null);
  return calls.flatMap((call): Operation[] => {
    const { at, name, result, args } = call;
    const [first = '', second = ''] = textsOf(call).map(String);
    const descriptor = descriptorOf(call);
    const file = inside(descriptor);
    const path = inside(first);
    if (/^(TCP|TCPv6|socket):/.test(descriptor) && /^(write|writev|sendto|sendmsg)$/.test(name)) {
      return [{ at, kind: 'said', text: textsOf(call).map(String).join('') }];
    }
    if (result < 0) return [];
    if (name === 'mkdir' && first === stateDir) return [{ at, kind: 'makeFolder' }];
    if (name === 'openat' && path !== null) {
      if (/O_CREAT/.test(args)) return [{ at, kind: 'create', name: path }];
      if (/O_WRONLY|O_RDWR|O_TRUNC/.test(args)) throw new Error(`${path} is opened for writing in place`);
      return [];
    }
    if (name === 'write' && file !== null) {
      return [
        { at, kind: 'write', name: file, bytes: (textsOf(call)[0] ?? Buffer.of()).subarray(0, result) },
      ];
    }
    if (name === 'fsync' && file !== null) return [{ at, kind: 'syncFile', name: file }];
    if (name === 'fsync' && descriptor === stateDir) return [{ at, kind: 'syncFolder' }];
    if (name === 'rename' && path !== null)
      return [{ at, kind: 'rename', name: path, to: inside(second) ?? '' }];
    if (name === 'unlink' && path !== null) return [{ at, kind: 'unlink', name: path }];
    const harmless = /^(openat|close|fchmod|flock|fsync|socket|connect|shutdown|execve|write|writev|mkdir)$/;
    if ((path !== null || file !== null) && !harmless.test(name))
      throw new Error(`${name} on ${path ?? file}`);
    return [];
  });
}

/** A file: what the program wrote, and what of it is sure to outlive a power cut. */
interface Inode {
  bytes: Buffer;
  synced: Buffer;
}
type Names = ReadonlyMap<string, Inode>;

/** File contents by name; null where there is not even a folder. */
export type Folder = ReadonlyMap<string, Buffer> | null;

/**
 * The folders that a power cut right after the last of the operations could leave. What was not synced may be there,
 * whole, torn, as zeros, or not at all; new names, renames and removals since the folder's last sync may be lost, the
 * later ones first.
 */
export function foldersAfterCut(operations: readonly Operation[]): Folder[] {
  const found: Folder[] = operations.some(({ kind }) => kind === 'makeFolder') ? [] : [null];
  for (const names of foldersOf(operations)) {
    let variants: Map<string, Buffer>[] = [new Map()];
    for (const [name, inode] of names) {
      variants = variants.flatMap((before) =>
        contentsOf(inode).map((bytes) => new Map([...before, [name, bytes]])),
      );
    }
    found.push(...variants);
  }
  return [...new Map(found.map((folder) => [keyOf(folder), folder])).values()];
}

/** One text for each content of a folder. */
export function keyOf(folder: Folder): string {
  if (folder === null) return 'no folder';
  const names = [...folder.keys()].sort();
  return JSON.stringify(names.map((name) => [name, folder.get(name)?.toString('latin1')]));
}

/** The files that decide, and the one that is only bookkeeping; every other one is a copy of what `state.json` holds. */
const deciding: ReadonlySet<string> = new Set([files.state, files.key]);
const bookkeeping: string = files.status;

/** Whether a file may hold anything after a power cut. */
export function mayBeTorn(name: string): boolean {
  return name === bookkeeping;
}

/**
 * What is wrong with the order: a rename of what is not synced, or anything before the folder's sync after the rename of
 * a file that decides; the end of all, before the copies are in place durably.
 */
export function orderFlaws(operations: readonly Operation[]): string[] {
  const flaws: string[] = [];
  const unsynced = new Set<string>();
  let renamed: string | null = null;
  let copied: string | null = null;
  for (const operation of operations) {
    if (renamed !== null && operation.kind !== 'syncFolder') {
      flaws.push(`${operation.kind} before the folder was synced after the rename to ${renamed}`);
      renamed = null;
    }
    if (operation.kind === 'create' || operation.kind === 'write') unsynced.add(operation.name);
    if (operation.kind === 'syncFile') unsynced.delete(operation.name);
    if (operation.kind === 'syncFolder') [renamed, copied] = [null, null];
    if (operation.kind === 'rename') {
      if (unsynced.has(operation.name) && !mayBeTorn(operation.to))
        flaws.push(`${operation.to} was renamed before it was synced`);
      if (deciding.has(operation.to)) renamed = operation.to;
      else if (!mayBeTorn(operation.to)) copied = operation.to;
    }
  }
  if (copied !== null) flaws.push(`the folder was not synced after the rename to ${copied}`);
  return flaws;
}

function contentsOf({ bytes, synced }: Inode): Buffer[] {
  if (synced.equals(bytes)) return [bytes];
  const torn = bytes.subarray(0, Math.floor(bytes.length / 2));
  const all = [synced, torn, Buffer.alloc(bytes.length), bytes];
  return all.filter((one, index) => all.findIndex((other) => other.equals(one)) === index);
}

/** The folder as it was at its last sync, and after each change of it since: a journal loses a tail of these. */
function foldersOf(operations: readonly Operation[]): Names[] {
  let seen: Names = new Map();
  let since: Names[] = [seen];
  const turnInto = (next: Names) => {
    seen = next;
    since.push(next);
  };
  for (const operation of operations) {
    switch (operation.kind) {
      case 'create':
        turnInto(new Map([...seen, [operation.name, { bytes: Buffer.of(), synced: Buffer.of() }]]));
        break;
      case 'write': {
        const inode = seen.get(operation.name);
        if (inode) inode.bytes = Buffer.concat([inode.bytes, operation.bytes]);
        break;
      }
      case 'syncFile': {
        const inode = seen.get(operation.name);
        if (inode) inode.synced = inode.bytes;
        break;
      }
      case 'rename': {
        const inode = seen.get(operation.name);
        const rest = [...seen].filter(([name]) => name !== operation.name && name !== operation.to);
        if (inode) turnInto(new Map([...rest, [operation.to, inode]]));
        break;
      }
      case 'unlink':
        turnInto(new Map([...seen].filter(([name]) => name !== operation.name)));
        break;
      case 'syncFolder':
        since = [seen];
        break;
    }
  }
  return since;
}
