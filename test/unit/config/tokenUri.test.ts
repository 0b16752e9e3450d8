import { expect, test } from 'vitest';
import { parseTokenUri, tokenInWords } from '../../../src/config/tokenUri.ts';

const module = 'module-path=/usr/lib/softhsm/libsofthsm2.so';

test('a URI names token, key, module and PIN', () => {
  const uri = `pkcs11:token=My%20token;serial=01;object=door;type=private?${module}&pin-source=file:/etc/pin&x-key-type=rsa-3072`;
  expect(parseTokenUri(uri)).toEqual({
    modulePath: '/usr/lib/softhsm/libsofthsm2.so',
    token: { label: 'My token', serial: '01', manufacturer: null, model: null },
    object: 'door',
    pin: { file: '/etc/pin' },
    keyType: 'rsa-3072',
    enginePath: null,
  });
  expect(tokenInWords(parseTokenUri(uri))).toBe('the token "My token" serial "01"');
});

test('what is left out has a default', () => {
  const { object, pin, keyType, enginePath } = parseTokenUri(`pkcs11:serial=7?${module}`);
  expect({ object, pin, keyType, enginePath }).toEqual({
    object: 'onboardd',
    pin: null,
    keyType: 'ec-p256',
    enginePath: null,
  });
});

test.each([
  ['pin-source=/etc/pin', { file: '/etc/pin' }],
  ['pin-source=file:/etc/pin', { file: '/etc/pin' }],
  ['pin-source=file:///etc/pin', { file: '/etc/pin' }],
  ['pin-source=file://localhost/etc/pin', { file: '/etc/pin' }],
  ['pin-value=12%263%3B4%20%22', { value: '12&3;4 "' }],
])('%s is a PIN', (attribute, pin) => {
  expect(parseTokenUri(`pkcs11:token=a?${module}&${attribute}`).pin).toEqual(pin);
});

test.each([
  ['http://token=a', 'a PKCS#11 URI begins with "pkcs11:"'],
  ['pkcs11:token=a?b?c', 'only one "?" is allowed'],
  [`pkcs11:object=a?${module}`, 'token= or serial= is missing'],
  ['pkcs11:token=a', 'module-path= must be an absolute path'],
  ['pkcs11:token=a?module-path=softhsm2.so', 'module-path= must be an absolute path'],
  [`pkcs11:token=a;id=%01?${module}`, 'unknown attribute "id"'],
  [`pkcs11:token=a;token=b?${module}`, 'token= must stand there once'],
  [`pkcs11:token?${module}`, 'token= must stand there once, with a value'],
  [`pkcs11:token=?${module}`, 'token= is empty'],
  [`pkcs11:token=%ff?${module}`, 'token= is not percent-encoded UTF-8'],
  [`pkcs11:token=a;type=cert?${module}`, 'type= can only be private'],
  [`pkcs11:token=a;object=%0a?${module}`, 'object= is not a label'],
  [`pkcs11:token=a?${module}&pin-value=1&pin-source=/p`, 'exclude each other'],
  [`pkcs11:token=a?${module}&pin-source=|askpass`, 'pin-source= must be an absolute path'],
  [`pkcs11:token=a?${module}&x-key-type=rsa-1024`, 'x-key-type= must be one of'],
  [`pkcs11:token=a?${module}&x-engine-path=/lib/engine.so`, 'x-engine-path= must end in /pkcs11.so'],
  [`pkcs11:token=My token?${module}`, 'token= holds a character that must be percent-encoded'],
  [`pkcs11:token=T\u00fcr?${module}`, 'token= holds a character that must be percent-encoded'],
  [`pkcs11:token=a?${module}&pin-value=my 81726354`, 'pin-value holds a character that must be'],
  [`pkcs11:token=a?${module}&pin-value=1"81726354`, 'pin-value holds a character that must be'],
  [`pkcs11:token=a?${module}&pin-value=1;81726354`, 'pin-value holds a character that must be'],
  [`pkcs11:token=a;constructor=1?${module}`, 'unknown attribute "constructor"'],
])('%s is refused: %s', (uri, why) => {
  expect(() => parseTokenUri(uri)).toThrow(why);
});

test.each([
  `pkcs11:token=a?${module}&pin-value=12&81726354`,
  `pkcs11:token=a?pin-value=12&81726354=1&${module}`,
  `pkcs11:token=a?${module}&PIN-VALUE=12&81726354`,
  `pkcs11:token=a;pin-value=12;81726354?${module}`,
  `pkcs11:token=a?${module}&pin_value=12&81726354`,
  `pkcs11:token=a?${module}&pin-value=81726354%ff`,
  `pkcs11:token=a?${module}&pin-value=1&pin-value=81726354`,
  `pkcs11:token=a?${module}&pin-value=1?81726354`,
])('%s is refused without a word of the PIN', (uri) => {
  let message = '';
  try {
    parseTokenUri(uri);
  } catch (error) {
    message = `${error}`;
  }
  expect(message).not.toBe('');
  expect(message).not.toContain('81726354');
});
