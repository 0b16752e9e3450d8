import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseLogLine } from '../../../../src/services/fleetReport/envelopes.ts';
import { newLineScanner } from '../../../../src/services/fleetReport/scanLine.ts';
import { fleetLines } from '../../../support/fleetLogs.ts';
import { logLine } from '../../../support/reportOf.ts';

const scan = newLineScanner();
const scanned = (text: string) => {
  const bytes = Buffer.from(`xx${text}yy`);
  const line = scan(bytes, 2, bytes.length - 2);
  return line && { ...line };
};

test('what the scanner reads is what a JSON parser reads, whatever the line', () => {
  const texts = fc.constantFrom(
    'csr',
    'step.failed',
    'NATS_TLS',
    'dns',
    'ü',
    '',
    'a"b',
    'a\\b',
    '2026-11-24T00:00:00Z',
  );
  const rare = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.double(), fc.string({ unit: 'binary' }));
  const value = fc.oneof(
    { arbitrary: texts, weight: 10 },
    { arbitrary: fc.nat(), weight: 5 },
    { arbitrary: fc.constant(null), weight: 2 },
    { arbitrary: rare, weight: 3 },
  );
  const names =
    'event timestamp deviceId version runId state from to step code reason cause alias durationMs attempt repeated message __proto__';
  const fields = fc.dictionary(fc.constantFrom(...names.split(' ')), value, { maxKeys: 5 });
  let read = 0;
  fc.assert(
    fc.property(fields, fc.boolean(), fc.nat(300), (some, isOwn, cut) => {
      const text = isOwn ? logLine({ event: 'step.failed', ...some }) : JSON.stringify(some);
      for (const line of [
        text,
        text.slice(0, cut),
        text.replace(':', ': '),
        text.replace(/"d"/, '"d","deviceId":"e"'),
      ]) {
        const found = scanned(line);
        if (found === undefined) continue;
        read++;
        expect(found).toEqual(parseLogLine(line));
      }
    }),
    { numRuns: 1000 },
  );
  expect(read).toBeGreaterThan(100);
});

test('every line of onboardd is scanned without a JSON parser, but those with an escape in a field that counts', () => {
  for (const line of fleetLines(50, 3)) expect(scanned(line), line).toEqual(parseLogLine(line));
  expect(
    scanned(logLine({ event: 'step.failed', message: 'a "b"', code: 'NATS_TLS', reason: null })),
  ).toMatchObject({
    code: 'NATS_TLS',
  });
  expect(scanned(logLine({ event: 'step.failed', cause: 'a "b"' }))).toBeUndefined();
});

test.each([
  '2026-02-31T00:00:00.000Z',
  '2026-11-24T00:00:00Z',
  '2026-11-24T24:00:00.000Z',
  '2026-11-24T00:00:00.00xZ',
])('the time %s is left to the JSON parser', (timestamp) => {
  expect(scanned(logLine({ event: 'daemon.started', timestamp }))).toBeUndefined();
});
