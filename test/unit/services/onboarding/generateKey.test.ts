import { expect, test } from 'vitest';
import { generateKey } from '../../../../src/services/onboarding/generateKey.ts';
import { files, newState, type StateDirectory } from '../../../../src/services/state/deviceState.ts';

const at = '2026-12-20T00:00:00Z';
const provisioned = {
  certificate: 'C',
  caCertificate: 'CA',
  natsUrl: 'tls://a:4222',
  renewAt: at,
  opened: true,
};

/** A device with this on its disk that makes a key. */
async function generate(held: Map<string, string>) {
  const replaced: unknown[] = [];
  const directory = {
    read: (name: string) => held.get(name) ?? null,
    write: (name: string, text: string) => void held.set(name, text),
  } as unknown as StateDirectory;
  await generateKey(
    { directory, newKey: async () => 'new key', onReplaced: (...what) => void replaced.push(what) },
    new AbortController().signal,
  );
  return replaced;
}

test.each([
  ['first', null, []],
  ['that takes the place of one with a certificate', provisioned, [['key-lost', 'd1']]],
])('a key %s is made, and the log hears of a replacement', async (_, has, expected) => {
  const held = new Map<string, string>([
    [files.state, JSON.stringify({ ...newState('d1'), provisioned: has })],
  ]);
  expect(await generate(held)).toEqual(expected);
  expect(held.get(files.key)).toBe('new key');
});

test('a key that is there stays, and nothing is replaced', async () => {
  const held = new Map<string, string>([
    [files.state, JSON.stringify({ ...newState('d1'), provisioned })],
    [files.key, 'old key'],
  ]);
  expect(await generate(held)).toEqual([]);
  expect(held.get(files.key)).toBe('old key');
});

test('a key that the disk gives back differently is not used', async () => {
  const held = new Map<string, string>([[files.state, JSON.stringify(newState('d1'))]]);
  const directory = {
    read: (name: string) => (name === files.key && held.has(name) ? 'half a key' : (held.get(name) ?? null)),
    write: (name: string, text: string) => void held.set(name, text),
  } as unknown as StateDirectory;
  const ports = { directory, newKey: async () => 'new key', onReplaced: () => undefined };
  await expect(generateKey(ports, new AbortController().signal)).rejects.toMatchObject({
    ...{ code: 'STATE_UNWRITABLE', message: 'identity.key reads back differently than it was written' },
  });
});
