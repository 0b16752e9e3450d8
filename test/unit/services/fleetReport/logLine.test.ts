import { expect, test } from 'vitest';
import { parseLogLine } from '../../../../src/services/fleetReport/logLine.ts';

const line = (fields: Record<string, unknown>) =>
  JSON.stringify({
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    message: 'm',
    deviceId: 'd',
    ...fields,
  });

test.each([
  ['as onboardd writes it', (text: string) => text],
  ['with the syslog priority', (text: string) => `<6>${text}`],
  [
    'of journalctl -o json',
    (text: string) => JSON.stringify({ MESSAGE: text, _HOSTNAME: 'h', PRIORITY: '6' }),
  ],
  ['of journalctl -o json, as bytes', (text: string) => JSON.stringify({ MESSAGE: [...Buffer.from(text)] })],
  ['of journalctl -o short', (text: string) => `Nov 24 00:00:00 host onboardd[77]: ${text}`],
])('a line %s is read', (_, dress) => {
  const text = line({ event: 'state.changed', from: 'csr', to: 'provisioned', durationMs: 5, cause: 'ü' });
  expect(parseLogLine(dress(text))).toMatchObject({
    event: 'state.changed',
    deviceId: 'd',
    from: 'csr',
    to: 'provisioned',
    durationMs: 5,
    cause: 'ü',
  });
});

test('a message of bytes that are none is a line like any other', () => {
  expect(() => parseLogLine('{"MESSAGE":[{"toString":1,"valueOf":1}]}')).not.toThrow();
});
