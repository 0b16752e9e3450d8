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
  ['a block of a YAML file', 'password: |\n  one\n  two\nnext: 1', 'password: ***\nnext: 1', []],
  ['a value of two lines', 'API_TOKEN="one\ntwo"\nB=1', 'API_TOKEN=***\nB=1', []],
  [
    'a name in other words',
    'API_KEY=1\nDB_PASS=2\nexport AWS_SECRET_ACCESS_KEY=3\nPSK=4\nApiKey: 5\nCOMPASS=north\nKEYTYPE=rsa',
    'API_KEY=***\nDB_PASS=***\nexport AWS_SECRET_ACCESS_KEY=***\nPSK=***\nApiKey: ***\nCOMPASS=north\nKEYTYPE=rsa',
    [],
  ],
  [
    'no section that is named for secrets',
    'Secrets:\n  AuthTokenFile: PAT.pat',
    'Secrets:\n  AuthTokenFile: PAT.pat',
    [],
  ],
  ['a value without an end', '{"a": 1 "password": "S3CRET\n', '{"a": 1 "password": "***\n', []],
  [
    'a value in JSON within JSON',
    JSON.stringify({ MESSAGE: JSON.stringify({ cause: '{"password":"S3CRET","b":1}' }) }),
    JSON.stringify({ MESSAGE: JSON.stringify({ cause: '{"password":"***","b":1}' }) }),
    [],
  ],
  [
    'a login of a header',
    '{"M":"Proxy-Authorization: Basic dTpw","b":1}',
    '{"M":"Proxy-Authorization: Basic ***","b":1}',
    [],
  ],
  ['a login of a header in one word', 'Authorization: sk_live_x\nX: y', 'Authorization: ***\nX: y', []],
  ['what follows a quoted value', "A_PASSWORD='it'\\''s3cret'\nB=1", 'A_PASSWORD=***\nB=1', []],
  ['what follows a value in double quotes', 'TOKEN="abc"def', 'TOKEN=***', []],
  [
    'a value whose quote is closed by the next one',
    'A_PASSWORD="abc\nB_TOKEN="S3CRETS3CRET"\nC=1',
    'A_PASSWORD=***\nC=1',
    [],
  ],
  ['a cookie', '{"M":"set-cookie: session=1; x=2","b":1}', '{"M":"set-cookie: ***","b":1}', []],
  ['a web token', '"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJq.c2ln-"', '"***"', []],
  [
    'no word for a secret in a message',
    '"message": "the token is wrong: HTTP 401"',
    '"message": "the token is wrong: HTTP 401"',
    [],
  ],
  ['a login without a scheme', '"proxy": "u:pw@proxy:3128"', '"proxy": "***@proxy:3128"', []],
  ['no file that holds a secret', 'SECRETS_AUTH_TOKEN_FILE=PAT.pat', 'SECRETS_AUTH_TOKEN_FILE=PAT.pat', []],
  ['no time', '2026-11-24T12:00:00Z at 10:00', '2026-11-24T12:00:00Z at 10:00', []],
  ['no path to a token', '"tokenFile": "/etc/token"', '"tokenFile": "/etc/token"', []],
])('%s is masked', (_, text, masked, known) => {
  expect(maskSecrets(text, known)).toBe(masked);
});

test('long foreign text is masked in linear time', () => {
  const text = `${'a"'.repeat(100_000)}${'token'.repeat(20_000)}\n"token": "${'x\\'.repeat(100_000)}`;
  expect(maskSecrets(text, [])).not.toContain('x\\x');
});

test('the texts of a JSON value are found with and without escapes', () => {
  expect(textsOf({ a: ['x\ny', { b: 'z' }], c: 1, d: null })).toEqual(['x\ny', 'x\\ny', 'z', 'z']);
});

test('the credentials of URLs are found', () => {
  expect(credentialsOf('http://me:pw@host and tls://token@nats')).toEqual(['me:pw', 'pw', 'token']);
});
