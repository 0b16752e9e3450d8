import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseObject } from '../../../../src/services/fleetReport/envelopes.ts';
import { noEnvelope, readFields } from '../../../../src/services/fleetReport/logLine.ts';
import { scanLine } from '../../../../src/services/fleetReport/scanLine.ts';
import { fleetLines } from '../../../support/fleetLogs.ts';
import { logLine } from '../../../support/reportOf.ts';

const scan = (text: string) => {
  // Other lines stand around it.
  const bytes = Buffer.from(`{"event":"a.b"}\n${text}\n{"event":"c.d"}`);
  return scanLine(bytes, 16, bytes.length - 16);
};
const parse = (text: string) => {
  const json = parseObject(text);
  return json === null ? null : readFields(json, noEnvelope);
};

test('every line that onboardd writes is read without a whole parser, and as JSON.parse reads it', () => {
  const lines = [...fleetLines(50, 3)];
  for (const line of lines) expect(scan(line)).toEqual(parse(line));
  expect(lines.filter((line) => scan(line) === null)).toEqual([]);
});

const names = [
  ...['timestamp', 'event', 'deviceId', 'version', 'runId', 'state', 'from', 'to', 'durationMs', 'step'],
  ...[
    'code',
    'reason',
    'cause',
    'alias',
    'attempt',
    'repeated',
    'message',
    'pid',
    'ev\\u0065nt',
    '__proto__',
  ],
];
const values = fc.oneof(
  fc.constantFrom(
    ...['"step.failed"', '"csr"', '"registered"', '"NATS_TLS"', '"http-404"', 'null', 'true', 'false', 'nul'],
    ...['0', '-1', '00', '1.5', '1e3', '12', '999999999', '1000000000', '1e15', '999999999999999', '-', '-0'],
    ...[
      '"2026-11-24T00:00:00.000Z"',
      '"2026-02-30T00:00:00.000Z"',
      '"2026-12-31T23:59:59.999Z"',
      '"1970-01-01"',
    ],
    ...[
      '"2026-11-24T24:00:00.000Z"',
      '"2026-11-24T00:00:00+02:00"',
      '"2026-13-24T00:00:00.000Z"',
      '""',
      '"\\\\"',
    ],
    ...[
      '"\\u00fc"',
      '"\\u00"',
      '"\\x"',
      '"a\\"b"',
      '"a\tb"',
      '"\u00fc\u2192"',
      '{}',
      '[1]',
      '"',
      '"open',
      ' 1',
    ],
    ...[
      '"22981f8929e68cfed51fa6b87ba2cba8"',
      '"2298 f8929e68cfed51fa6b87ba2cba8"',
      '"22981f8929e68cfed51fa6b87ba2cba',
    ],
  ),
  fc.string().map((text) => JSON.stringify(text)),
  fc.integer().map(String),
);
const object = fc
  .array(fc.tuple(fc.constantFrom(...names), values, fc.constantFrom(':', ':', ':', ' :', ': ', '')), {
    maxLength: 12,
  })
  .map((fields) => fields.map(([name, value, colon]) => `"${name}"${colon}${value}`).join(','));

test('whatever a line holds, it is read as JSON.parse reads it, or left to it', () => {
  let read = 0;
  fc.assert(
    fc.property(object, fc.constantFrom('', ',', ' ', '}', 'x'), (fields, tail) => {
      const text = `{"timestamp":"2026-11-24T00:00:00.000Z","event":"step.failed"${fields && ','}${fields}${tail}}`;
      const found = scan(text);
      if (found === null) return;
      read++;
      expect(found).toEqual(parse(text));
    }),
    { numRuns: 3000 },
  );
  expect(read).toBeGreaterThan(50);
});

test('a line that was changed in one place is read as JSON.parse reads it, or left to it', () => {
  const line = logLine({ event: 'step.failed', code: 'NATS_TLS', attempt: 3, deviceId: 'd'.repeat(32) });
  fc.assert(
    fc.property(fc.nat(line.length - 1), fc.constantFrom(...'"\\{}:,x 0\u0001\u00fc'), (at, character) => {
      const text = line.slice(0, at) + character + line.slice(at + 1);
      const found = scan(text);
      if (found !== null) expect(found).toEqual(parse(text));
    }),
    { numRuns: 2000 },
  );
});
