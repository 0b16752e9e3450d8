import { expect, test } from 'vitest';
import {
  currentState,
  type DeviceState,
  newState,
  writeState,
} from '../../../../src/services/state/deviceState.ts';
import { filesToRemove, forget, reset, stateWithId } from '../../../../src/services/state/reset.ts';
import { memoryDirectory } from '../../../support/memoryDirectory.ts';

const own = ['device_id.txt', 'identity.crt', 'identity.key', 'identity.key.damaged-1', 'state.json'];
const rotated = ['identity.key.next', 'identity.key.previous'];

/** A state directory that notes what is done, and ends at the step that the test names. */
function interrupted(at: string | null, keepsId = false): string[] {
  const done: string[] = [];
  const step = (name: string) => {
    if (name === at) throw new Error('the power is off');
    done.push(name);
    return true;
  };
  const run = () =>
    reset({
      list: () => ['notes.txt', ...own],
      mark: () => step('mark'),
      remove: step,
      removeExports: () => step('exports'),
      keepId: keepsId ? () => step('keep id') : null,
    });
  if (at === null) run();
  else expect(run).toThrow('the power is off');
  return done;
}

test('the state is marked first, then the keys go, and the state that knows the exported files goes last', () => {
  const done = interrupted(null);
  expect([...done].sort()).toEqual([...own, 'exports', 'mark'].sort());
  expect(done.slice(0, 4)).toEqual(['mark', 'identity.key', 'identity.key.damaged-1', 'exports']);
  expect(done.at(-1)).toBe('state.json');
});

test('what a mark that failed left half written goes, too', () => {
  const names = [...own];
  reset({
    list: () => [...names],
    mark: () => void names.push('.state.json.tmp'),
    remove: (name) => names.splice(names.indexOf(name), 1).length > 0,
    removeExports: () => undefined,
    keepId: null,
  });
  expect(names).toEqual([]);
});

test('the keys of a rotation under way go before the exported files, too', () => {
  const done: string[] = [];
  reset({
    list: () => [...own, ...rotated],
    mark: () => undefined,
    remove: (name) => done.push(name) > 0,
    removeExports: () => void done.push('exports'),
    keepId: null,
  });
  expect(done.slice(0, done.indexOf('exports'))).toEqual(expect.arrayContaining(rotated));
});

test('a device that keeps its id loses everything else, and last the mark', () => {
  expect(interrupted(null, true)).toEqual([
    'mark',
    'identity.key',
    'identity.key.damaged-1',
    'exports',
    'identity.crt',
    'keep id',
  ]);
});

test.each([
  'mark',
  'identity.key',
  'exports',
  'device_id.txt',
  'identity.crt',
  'state.json',
])('interrupted at %s, the state is there for the next try', (at) => {
  expect(interrupted(at)).not.toContain('state.json');
});

test('what is damaged or half written goes too, whatever is kept', () => {
  const names = ['state.json', '.state.json.tmp', 'state.json.damaged-1', 'device_id.txt', 'other'];
  expect(filesToRemove(names, true)).toEqual(['.state.json.tmp', 'state.json.damaged-1']);
});

const registration = { alias: 'a', at: new Date(0).toISOString(), result: '{}', announced: null };
const request = {
  ...{ messageId: 'q', firstAt: new Date(0).toISOString(), publishes: 1 },
  ...{ afterSequence: null, afterStoredAt: null, announced: null },
};

test.each<[string, Partial<DeviceState>, boolean]>([
  ['was registered', { registration }, true],
  ['registers anew', { formerRegistration: registration }, true],
  ['has asked', { request }, true],
  ['was never heard', {}, false],
])('a device that keeps its id and %s knows whether the fleet may know it', (_, changes, expected) => {
  const machine = { hardware: 'h', installation: null };
  const before = { ...newState('d1', true), machine, pinnedCa: 'CA', exported: ['/a'], ...changes };
  expect(stateWithId({ ...before, resetting: true })).toEqual({
    ...newState('d1'),
    machine,
    mayBeRegistered: expected,
  });
});

/** A state directory with these files; `marks`: whether the state said so at each file that was removed. */
function forgetting(contents: Map<string, string>, isFull = false) {
  const marks: boolean[] = [];
  const kept = memoryDirectory(contents);
  const directory = isFull
    ? memoryDirectory(contents, {
        write() {
          throw new Error('no space left');
        },
      })
    : kept;
  const ports = {
    directory,
    deviceId: () => contents.get('device_id.txt') ?? null,
    list: () => [...contents.keys()],
    remove(name: string) {
      marks.push(/"resetting":\s*true/.test(contents.get('state.json') ?? ''));
      return contents.delete(name);
    },
    removeExports: () => undefined,
  };
  return { ports, contents, marks, state: () => currentState(kept) };
}

const identity = (): [string, string][] => [
  ['identity.key', 'k'],
  ['identity.crt', 'c'],
  ['device_id.txt', 'd1'],
];

/** A device that was registered. */
function registered(isFull = false) {
  const device = forgetting(new Map(identity()), isFull);
  const state = { ...newState('d1', true), registration };
  writeState(memoryDirectory(device.contents), state);
  return { ...device, before: state };
}

test('an identity is marked as one that is forgotten before its first file goes, and nothing of it stays', () => {
  const { ports, contents, marks, before } = registered();
  forget(ports, before, false);
  expect(marks).toEqual([true, true, true, true]);
  expect([...contents.keys()]).toEqual([]);
});

test('on a full disk, which takes no mark, an identity can be forgotten, too', () => {
  const { ports, contents, before } = registered(true);
  forget(ports, before, false);
  expect([...contents.keys()]).toEqual([]);
});

test('an id that is kept is all that stays, without the mark, and the device knows that the fleet may know it', () => {
  const { ports, contents, before, state } = registered();
  forget(ports, before, true);
  expect([...contents.keys()].sort()).toEqual(['device_id.txt', 'state.json']);
  expect(state()).toEqual({ ...newState('d1'), mayBeRegistered: true });
});

test('an id that lies only beside a state that cannot be read is kept, and may be registered', () => {
  const { ports, contents, state } = forgetting(new Map([...identity(), ['state.json', '{']]));
  forget(ports, null, true);
  expect(contents.get('device_id.txt')).toBe('d1');
  expect(state()).toEqual({ ...newState('d1'), mayBeRegistered: true });
});

test('where there is nothing, no id can be kept, and nothing is wrong', () => {
  const { ports, contents } = forgetting(new Map([['notes.txt', 'n']]));
  forget(ports, null, true);
  expect([...contents.keys()]).toEqual(['notes.txt']);
});

test('where an id is to be kept that nobody can read, nothing is changed', () => {
  const { ports, contents } = forgetting(new Map([['identity.key', 'k']]));
  expect(() => forget(ports, null, true)).toThrow(/the device id cannot be read, .*nothing was changed/);
  expect([...contents.keys()]).toEqual(['identity.key']);
});
