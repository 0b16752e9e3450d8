import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { clientVersion } from '../../../../src/adapters/nats/transport.ts';

test('the NATS server is told the version of the client that is installed', () => {
  const { version } = JSON.parse(readFileSync('node_modules/nats/package.json', 'utf8'));
  expect(clientVersion).toBe(version);
});
