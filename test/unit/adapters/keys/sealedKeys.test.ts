import { expect, test, vi } from 'vitest';
import { isSealed, type Sealer, sealedKeys } from '../../../../src/adapters/keys/sealedKeys.ts';
import { files, type StateDirectory } from '../../../../src/services/state/deviceState.ts';

const pem = '-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n';
const sealer: Sealer = {
  seal: (name, text) => Buffer.from(`${name} ${text}`.padEnd(80)).toString('base64'),
  unseal(name, sealed) {
    const text = Buffer.from(sealed, 'base64').toString().trimEnd();
    if (!text.startsWith(`${name} `)) throw new Error('another name');
    return `${text.slice(name.length + 1)}\n`;
  },
};

function directoryWith(isOn: boolean) {
  const disk = new Map<string, string>();
  const plain = {
    read: (name: string) => disk.get(name) ?? null,
    write: (name: string, text: string) => void disk.set(name, text),
    restrict: () => undefined,
  } as unknown as StateDirectory;
  return { disk, directory: sealedKeys(plain, isOn, sealer), plain };
}

test('a key is sealed under the name of its file, and read as it was', () => {
  const { disk, directory } = directoryWith(true);
  for (const name of [files.key, files.nextKey]) {
    directory.write(name, pem, 0o600);
    expect(isSealed(disk.get(name) ?? '')).toBe(true);
    expect(directory.read(name)).toBe(pem);
  }
  directory.write(files.state, '{}', 0o600);
  expect(disk.get(files.state)).toBe('{}');
});

test('without the setting a key is plain, and one that is sealed is read', () => {
  const { disk, directory } = directoryWith(false);
  directory.write(files.key, pem, 0o600);
  expect(disk.get(files.key)).toBe(pem);
  disk.set(files.key, sealer.seal(files.key, pem));
  expect(directory.read(files.key)).toBe(pem);
});

test('a plain key is sealed with the next look, once the setting is on', () => {
  const { disk, directory } = directoryWith(true);
  for (const name of [files.key, files.nextKey, files.previousKey]) {
    directory.restrict(name, 0o600);
    expect(disk.has(name)).toBe(false);
    disk.set(name, pem);
    directory.restrict(name, 0o600);
    expect(isSealed(disk.get(name) ?? '')).toBe(true);
    expect(directory.read(name)).toBe(pem);
  }
});

test('a key that cannot be opened is a failure, never an absence', () => {
  const { disk, directory } = directoryWith(true);
  disk.set(files.key, sealer.seal(files.nextKey, pem));
  expect(() => directory.read(files.key)).toThrow('another name');
});

test('each key file is opened once, however they are looked at in turn, and anew once it has changed', () => {
  const { disk, plain } = directoryWith(true);
  const unseal = vi.fn(sealer.unseal);
  const directory = sealedKeys(plain, true, { ...sealer, unseal });
  const names = [files.key, files.nextKey, files.previousKey];
  for (const name of names) disk.set(name, sealer.seal(name, pem));
  for (const name of [...names, ...names]) expect(directory.read(name)).toBe(pem);
  expect(unseal).toHaveBeenCalledTimes(3);
  const other = pem.replace('abc', 'def');
  directory.write(files.key, other, 0o600);
  expect(directory.read(files.key)).toBe(other);
  expect(unseal).toHaveBeenCalledTimes(4);
});
