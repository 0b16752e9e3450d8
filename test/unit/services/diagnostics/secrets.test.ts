import { expect, test } from 'vitest';
import { credentialsOf, maskSecrets, textsOf } from '../../../../src/services/diagnostics/secrets.ts';

test.each([
  ['a known secret', 'it is s3cr3t-token!', 'it is ***!', ['s3cr3t-token']],
  ['the longer of two', 'abcdefgh', '***', ['abcdef', 'abcdefgh']],
  ['nothing for a text that is too short', 'a short word', 'a short word', ['a']],
  ['user information of a URL', 'see http://me:pw@host/path', 'see http://***@host/path', []],
  [
    'a value that is named like a secret',
    '{"authToken": "a\\"b", "x": "y"}',
    '{"authToken": "***", "x": "y"}',
    [],
  ],
  ['a parameter of a URL', 'GET /p?device=1&api_key=abc&x=1', 'GET /p?device=1&api_key=***&x=1', []],
  ['a bearer token', 'authorization: Bearer abc.def-1', 'authorization: Bearer ***', []],
  [
    'a private key',
    'a -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- b',
    'a [private key] b',
    [],
  ],
  [
    'a line of an environment file',
    'A=1\nRABBITMQ_PASSWORD=hunter2 x\nB=2',
    'A=1\nRABBITMQ_PASSWORD=***\nB=2',
    [],
  ],
  ['a PIN with a blank', '"pkcs11:?pin-value=my S3CRET", 1', '"pkcs11:?pin-value=***", 1', []],
  ['a PIN with a quote', '{"k":"p:?pin-value=1\\"S3CRET","x":2}', '{"k":"p:?pin-value=***","x":2}', []],
  ['a PIN in capitals', '"pkcs11:?PIN-VALUE=S3CRET"', '"pkcs11:?PIN-VALUE=***"', []],
  ['a PIN behind escapes', '"p:\\u0026pin-value\\u003dS3CRET"', '"p:\\u0026pin-value\\u003d***"', []],
  ['a PIN of an encoded name', '"p:?pin%2Dvalue=S3CRET"', '"p:?pin%2Dvalue=***"', []],
  [
    'a PIN of an environment file',
    `A=1\nKEY='pkcs11:?pin-value=1"S3CRET'\nB=2`,
    "A=1\nKEY='pkcs11:?pin-value=***\nB=2",
    [],
  ],
  ['a line of a YAML file', '  UtmSecret: hunter2', '  UtmSecret: ***', []],
  ['a login without a scheme', '"proxy": "u:pw@proxy:3128"', '"proxy": "***@proxy:3128"', []],
  ['no file that holds a secret', 'SECRETS_AUTH_TOKEN_FILE=PAT.pat', 'SECRETS_AUTH_TOKEN_FILE=PAT.pat', []],
  ['no time', '2026-11-24T12:00:00Z at 10:00', '2026-11-24T12:00:00Z at 10:00', []],
  ['no path to a token', '"tokenFile": "/etc/token"', '"tokenFile": "/etc/token"', []],
])('%s is masked', (_, text, masked, known) => {
  expect(maskSecrets(text, known)).toBe(masked);
});

test('the texts of a JSON value are found with and without escapes', () => {
  expect(textsOf({ a: ['x\ny', { b: 'z' }], c: 1, d: null })).toEqual(['x\ny', 'x\\ny', 'z', 'z']);
});

test('the credentials of URLs are found', () => {
  expect(credentialsOf('http://me:pw@host and tls://token@nats')).toEqual(['me:pw', 'pw', 'token']);
});
