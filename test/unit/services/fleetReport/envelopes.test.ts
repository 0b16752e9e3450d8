import { expect, test } from 'vitest';
import { parseLogLine } from '../../../../src/services/fleetReport/envelopes.ts';
import { logLine } from '../../../support/reportOf.ts';

const arrival = Date.parse('2026-11-24T00:00:05Z');
const gelf = (more: Record<string, unknown>) =>
  JSON.stringify({ version: '1.1', host: 'h', timestamp: arrival / 1000, level: 6, ...more });

test.each<[string, (text: string) => string, object]>([
  ['as onboardd writes it', (text) => text, { host: null }],
  ['with the syslog priority', (text) => `<6>${text}`, {}],
  [
    'of journalctl -o json',
    (text) =>
      JSON.stringify({
        MESSAGE: text,
        _HOSTNAME: 'h',
        _MACHINE_ID: 'abc',
        __REALTIME_TIMESTAMP: `${arrival}000`,
      }),
    { host: 'h', machine: 'abc', received: arrival },
  ],
  ['of journalctl -o json, as bytes', (text) => JSON.stringify({ MESSAGE: [...Buffer.from(text)] }), {}],
  ['of journalctl -o short', (text) => `Nov 24 00:00:00 host onboardd[77]: ${text}`, {}],
  [
    "of docker's json-file",
    (text) => JSON.stringify({ log: `${text}\n`, stream: 'stdout', time: '2026-11-24T00:00:05Z' }),
    { received: arrival },
  ],
  [
    'of logcli -o jsonl',
    (text) => JSON.stringify({ labels: { host: 'h' }, line: text, timestamp: '2026-11-24T00:00:05Z' }),
    { host: 'h', received: arrival },
  ],
  ['of GELF in short_message', (text) => gelf({ short_message: text }), { host: 'h', received: arrival }],
  ['of GELF in full_message', (text) => gelf({ short_message: 'm', full_message: text }), { host: 'h' }],
  [
    'of GELF as fields',
    (text) =>
      gelf({
        short_message: 'm',
        ...Object.fromEntries(Object.entries(JSON.parse(text)).map(([name, value]) => [`_${name}`, value])),
      }),
    { host: 'h' },
  ],
  [
    'of the native journal',
    () =>
      JSON.stringify({
        MESSAGE: 'csr → provisioned',
        _HOSTNAME: 'h',
        ONBOARDD_EVENT: 'state.changed',
        ONBOARDD_TIMESTAMP: '2026-11-24T00:00:00.000Z',
        ONBOARDD_DEVICE_ID: 'd',
        ONBOARDD_FROM: 'csr',
        ONBOARDD_TO: 'provisioned',
        ONBOARDD_DURATION_MS: '5',
        ONBOARDD_CAUSE: 'ü',
      }),
    { host: 'h' },
  ],
])('a line %s is read', (_, dress, more) => {
  const text = logLine({ event: 'state.changed', from: 'csr', to: 'provisioned', durationMs: 5, cause: 'ü' });
  expect(parseLogLine(dress(text))).toMatchObject({
    event: 'state.changed',
    at: Date.parse('2026-11-24T00:00:00Z'),
    deviceId: 'd',
    from: 'csr',
    to: 'provisioned',
    durationMs: 5,
    cause: 'ü',
    ...more,
  });
});

test('a message of bytes that are none is a line like any other', () => {
  expect(() => parseLogLine('{"MESSAGE":[{"toString":1,"valueOf":1}]}')).not.toThrow();
});

test.each([
  'nothing',
  '{"event":5}',
  '{"event":"click"}',
  '{"log":"text"}',
  '[]',
  '{"short_message":"{"}',
])('%s is no line of onboardd', (line) => {
  expect(parseLogLine(line)).toBeNull();
});
