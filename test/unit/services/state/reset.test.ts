import { expect, test } from 'vitest';
import { type DeviceState, newState } from '../../../../src/services/state/deviceState.ts';
import { filesToRemove, reset, stateWithId } from '../../../../src/services/state/reset.ts';

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
