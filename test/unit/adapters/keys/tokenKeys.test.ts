import { beforeEach, expect, test } from 'vitest';
import { tokenKeys } from '../../../../src/adapters/keys/tokenKeys.ts';
import type { Token } from '../../../../src/pkcs11/part.ts';
import { files, type StateDirectory } from '../../../../src/services/state/deviceState.ts';

/** A token in memory: id → label. */
let held: Map<string, string>;
let disk: Map<string, string>;
let made = 0;

const token = {
  serial: () => 'S1',
  find(label) {
    const id = [...held].find(([, one]) => one === label)?.[0];
    return id === undefined ? null : { id, spki: Buffer.from(id, 'hex'), curve: 'P-256' };
  },
  holds: (label) => [...held.values()].includes(label),
  async generate(label) {
    const id = `0${++made}`;
    held.set(id, label);
    return { id, spki: Buffer.from(id, 'hex'), curve: 'P-256' };
  },
  relabel(id, label) {
    held.set(id, label);
  },
  destroy(label) {
    for (const [id, one] of held) if (one === label) held.delete(id);
  },
  sign: async () => Buffer.alloc(0),
  tls: () => ({ privateKeyEngine: 'pkcs11', privateKeyIdentifier: '' }),
} satisfies Token;

const plain = {
  read: (name: string) => disk.get(name) ?? null,
  write: (name: string, text: string) => void disk.set(name, text),
  remove: (name: string) => void disk.delete(name),
  quarantine: (name: string) => `${name}.damaged-1`,
} as unknown as StateDirectory;

beforeEach(() => {
  held = new Map();
  disk = new Map();
  made = 0;
});

const keys = tokenKeys(token, { object: 'door', keyType: 'ec-p256' });
const directory = keys.over(plain);

test('a key is made, and takes the place of the key file without a file', async () => {
  expect(directory.read(files.key)).toBeNull();
  const reference = await keys.generate();
  expect([...held.values()]).toEqual(['door.new']);
  directory.write(files.key, reference, 0o600);
  expect([...held.values()]).toEqual(['door']);
  expect(directory.read(files.key)).toBe(reference);
  expect(reference).toBe('pkcs11:serial=S1;id=%01;type=private');
  expect(disk.size).toBe(0);
});

test('what an interrupted attempt left is taken, and no second key is made', async () => {
  const first = await keys.generate();
  expect(await keys.generate()).toBe(first);
  expect(held.size).toBe(1);
});

test('a rotation moves the keys, and destroys what it replaces', async () => {
  const old = await keys.generate();
  directory.write(files.key, old, 0o600);
  const next = await keys.generate();
  directory.write(files.nextKey, next, 0o600);
  directory.write(files.previousKey, directory.read(files.key) ?? '', 0o600);
  directory.write(files.key, directory.read(files.nextKey) ?? '', 0o600);
  directory.remove(files.nextKey);
  expect([directory.read(files.key), directory.read(files.previousKey)]).toEqual([next, old]);
  expect(directory.read(files.nextKey)).toBeNull();
  directory.remove(files.previousKey);
  expect([...held.values()]).toEqual(['door']);
});

test('a key in a file stays in use until one of the token takes its place', async () => {
  disk.set(files.key, 'PEM');
  expect(directory.read(files.key)).toBe('PEM');
  directory.write(files.previousKey, 'PEM', 0o600);
  directory.write(files.key, await keys.generate(), 0o600);
  expect([...disk]).toEqual([[files.previousKey, 'PEM']]);
  expect(directory.read(files.key)).toMatch(/^pkcs11:/);
});

test('other files are those of the directory, and no key is set aside', () => {
  directory.write(files.state, '{}', 0o600);
  expect(disk.get(files.state)).toBe('{}');
  held.set('09', 'door');
  expect(() => directory.quarantine(files.key)).toThrow('cannot be used');
  expect(directory.quarantine(files.state)).toBe('state.json.damaged-1');
});

test('a reset hears of every key, also of one that was never used', async () => {
  expect(keys.names()).toEqual([]);
  await keys.generate();
  expect(keys.names()).toEqual([files.key]);
  held.set('09', 'door.previous');
  held.set('0a', 'somebody else');
  expect(keys.names()).toEqual([files.key, files.previousKey]);
  for (const name of keys.names()) keys.destroy(name);
  expect([...held.values()]).toEqual(['somebody else']);
});
