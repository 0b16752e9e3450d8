import { expect, test } from 'vitest';
import { tokenOf } from '../../../../src/adapters/keys/token.ts';
import { parseTokenUri } from '../../../../src/config/tokenUri.ts';
import type { Fault, Token } from '../../../../src/pkcs11/part.ts';

const setting = parseTokenUri('pkcs11:token=a?module-path=/m.so&pin-value=1');

/** A token whose every call fails. */
function failing(fault: Fault, message: string): Token {
  const throwing = () => {
    throw Object.assign(new Error(message), { fault });
  };
  return tokenOf(setting, () => ({ openToken: () => new Proxy({}, { get: () => throwing }) as Token }));
}

test.each([
  ['module', 'token-module', 'transient', 'message'],
  ['missing', 'token-missing', 'transient', 'the token "a" message'],
  ['pin', 'token-pin', 'permanent', 'the token "a" message'],
  ['engine', 'token-engine', 'transient', 'the token "a" message'],
  ['failed', 'token-failed', 'transient', 'the token "a" message'],
] as const)('a fault of the kind %s has the reason %s and is %s', async (fault, reason, kind, message) => {
  const token = failing(fault, 'message');
  const expected = { code: 'STATE_UNWRITABLE', reason, class: kind, message };
  expect(() => token.find('x')).toThrow(expect.objectContaining(expected));
  await expect(token.sign('01', Buffer.alloc(0))).rejects.toMatchObject(expected);
});

test('a bug is passed on as it is', () => {
  const token = tokenOf(setting, () => ({
    openToken: () => {
      throw new TypeError('a bug');
    },
  }));
  expect(() => token.serial()).toThrow(TypeError);
});

test('nothing is loaded before the first use', () => {
  let loads = 0;
  tokenOf(setting, () => {
    loads++;
    throw new Error('loaded');
  });
  expect(loads).toBe(0);
});
