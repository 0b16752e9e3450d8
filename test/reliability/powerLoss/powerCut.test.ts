import { expect, test } from 'vitest';
import { foldersAfterCut, type Operation, orderFlaws } from './powerCut.ts';

const bytes = Buffer.from('whole');
const durable: Operation[] = [
  { at: 0, kind: 'makeFolder' },
  { at: 1, kind: 'create', name: '.a.tmp' },
  { at: 2, kind: 'write', name: '.a.tmp', bytes },
  { at: 3, kind: 'syncFile', name: '.a.tmp' },
  { at: 4, kind: 'rename', name: '.a.tmp', to: 'state.json' },
  { at: 5, kind: 'syncFolder' },
];
const contents = (operations: readonly Operation[]) =>
  foldersAfterCut(operations).map((folder) =>
    Object.fromEntries([...(folder ?? [])].map(([name, content]) => [name, String(content)])),
  );

test('before the folder is made there is nothing, and after a durable write one state alone', () => {
  expect(foldersAfterCut([])).toEqual([null, new Map()]);
  expect(contents(durable)).toEqual([{ 'state.json': 'whole' }]);
});

test('what was written and not synced may be lost, torn, zeros or whole', () => {
  expect(contents(durable.slice(0, 3))).toEqual([
    {},
    { '.a.tmp': '' },
    { '.a.tmp': 'wh' },
    { '.a.tmp': '\0\0\0\0\0' },
    { '.a.tmp': 'whole' },
  ]);
});

test('a rename may be lost until the folder is synced, and then the temporary file stands', () => {
  expect(contents(durable.slice(0, 5))).toEqual([{}, { '.a.tmp': 'whole' }, { 'state.json': 'whole' }]);
});

test('without the file’s sync, the file itself may be half there after all', () => {
  const careless = durable.filter(({ kind }) => kind !== 'syncFile');
  expect(contents(careless)).toContainEqual({ 'state.json': 'wh' });
  expect(orderFlaws(careless)).toEqual(['state.json was renamed before it was synced']);
});

test('without the folder’s sync, what comes next is out of order', () => {
  const careless = durable.filter(({ kind }) => kind !== 'syncFolder');
  expect(orderFlaws(durable)).toEqual([]);
  expect(orderFlaws([...careless, { at: 9, kind: 'said', text: 'CSR' }])).toEqual([
    'said before the folder was synced after the rename to state.json',
  ]);
});

test('a copy waits for the folder’s sync only at the end, and bookkeeping for none', () => {
  const replacedBy = (name: string) =>
    durable.map((operation) => (operation.kind === 'rename' ? { ...operation, to: name } : operation));
  const copy = replacedBy('identity.crt').slice(0, 5);
  expect(orderFlaws([...copy, ...durable])).toEqual([]);
  expect(orderFlaws([...durable, ...copy])).toEqual([
    'the folder was not synced after the rename to identity.crt',
  ]);
  const careless = replacedBy('status.json').filter(({ kind }) => !kind.startsWith('sync'));
  expect(orderFlaws(careless)).toEqual([]);
});
