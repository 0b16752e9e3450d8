import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { reportLines } from '../../src/cli/format/report.ts';
import { reportPage } from '../../src/cli/format/reportPage.ts';
import { addDuration, newDistribution, quantile } from '../../src/services/fleetReport/distribution.ts';
import { parseLogLine } from '../../src/services/fleetReport/logLine.ts';
import { addLine, funnel, newReport, type Report, stuck } from '../../src/services/fleetReport/report.ts';
import { checkLine, programFile, runToEnd } from '../program.ts';
import { fleetLines } from './logs.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'report-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const hour = 3_600_000;
const read = (lines: Iterable<string>): Report => {
  const report = newReport();
  for (const line of lines) addLine(report, parseLogLine(line));
  return report;
};
const page = (report: Report) => reportPage(report, hour, () => 'hash');
const line = (fields: Record<string, unknown>) =>
  JSON.stringify({
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    message: 'm',
    deviceId: 'd',
    ...fields,
  });

test('made-up logs are lines of the catalogue', () => {
  for (const text of fleetLines(20, 1)) checkLine(JSON.parse(text));
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

test('the funnel counts devices, not visits, takes who is further on for one that was there, and knows where each is now', () => {
  const report = read([
    line({ event: 'state.changed', from: 'idle', to: 'keygen', durationMs: 1 }),
    line({ event: 'state.changed', from: 'keygen', to: 'csr', durationMs: 1 }),
    line({ event: 'state.changed', from: 'csr', to: 'failed', durationMs: 1 }),
    line({ event: 'state.changed', from: 'failed', to: 'idle', durationMs: 1 }),
    line({ event: 'state.changed', from: 'idle', to: 'csr', durationMs: 1 }),
    line({ event: 'state.changed', from: 'idle', to: 'registered', durationMs: 1, deviceId: 'e' }),
  ]);
  const rows = Object.fromEntries(funnel(report).map(({ state, reached, now }) => [state, [reached, now]]));
  expect(rows).toMatchObject({ idle: [2, 0], csr: [2, 1], failed: [1, 0], registered: [1, 1] });
});

test('a device is stuck by the newest line of all, and a registered one never is', () => {
  const report = read([
    line({ event: 'state.changed', from: 'keygen', to: 'csr', durationMs: 1 }),
    line({ event: 'state.changed', from: 'idle', to: 'registered', durationMs: 1, deviceId: 'e' }),
    line({ event: 'daemon.stopped', signal: null, deviceId: 'f', timestamp: '2026-11-24T01:30:00.000Z' }),
  ]);
  expect(stuck(report, hour).map(({ id }) => id)).toEqual(['d']);
  expect(stuck(report, 2 * hour)).toEqual([]);
});

test('quantiles are right within two per cent', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 1e9 }), { minLength: 1, maxLength: 300 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, fraction) => {
        const distribution = newDistribution();
        for (const value of values) addDuration(distribution, value);
        const exact = values.sort((a, b) => a - b)[Math.ceil(values.length * fraction) - 1] ?? 0;
        expect(Math.abs(quantile(distribution, fraction) - exact)).toBeLessThanOrEqual(1 + exact * 0.02);
      },
    ),
  );
});

test('whatever stands in a log, the report is made and nothing of it becomes markup', () => {
  const evil = `</script><img src=x onerror=alert(1)>"'&\u0007`;
  const fields = fc.record(
    Object.fromEntries(
      [
        'timestamp',
        'event',
        'deviceId',
        'state',
        'from',
        'to',
        'durationMs',
        'step',
        'code',
        'cause',
        'alias',
        'notAfter',
        'MESSAGE',
        '_HOSTNAME',
        '__proto__',
      ].map((name) => [
        name,
        fc.oneof(
          fc.constantFrom(
            evil,
            'csr',
            'step.failed',
            'state.changed',
            '2026-11-24T00:00:00Z',
            'NATS_TLS',
            '__proto__',
          ),
          fc.jsonValue(),
          fc.double(),
        ),
      ]),
    ),
    { requiredKeys: [] },
  );
  const anything = fc.oneof(
    fields.map((value) => JSON.stringify(value)),
    fields.map((value) => line({ ...value })),
    fc.string(),
    fc.constant('{'.repeat(5000)),
  );
  fc.assert(
    fc.property(fc.array(anything, { maxLength: 30 }), (lines) => {
      const report = read(lines);
      expect(reportLines(report, hour).join('')).not.toContain('\u0007');
      const html = page(report);
      expect(html).not.toContain('<img');
      expect(html.match(/<\/script>/g)).toHaveLength(2);
    }),
    { numRuns: 300 },
  );
  const steering = JSON.stringify({
    ...JSON.parse(line({ event: 'step.failed', code: 'NATS_TLS', cause: evil })),
    deviceId: 0,
  });
  expect(reportLines(read([steering]), hour).join('')).not.toContain('\u0007');
  const html = page(
    read([
      line({ event: 'step.failed', step: evil, code: 'NATS_TLS', cause: evil, alias: evil }),
      line({ event: 'device.registered', alias: evil, durationMs: 1 }),
    ]),
  );
  expect(html).toContain('&lt;/script&gt;&lt;img');
  expect(html).not.toContain('<img');
});

test('the program reads files, compressed ones and standard input alike, and writes the page', async () => {
  const text = `${[...fleetLines(300, 7)].join('\n')}\nrubbish\n`;
  writeFileSync(join(folder, 'a.log'), text);
  writeFileSync(join(folder, 'a.log.gz'), gzipSync(text));
  const html = join(folder, 'out.html');
  const plain = runToEnd(['report', join(folder, 'a.log'), '--html', html]);
  expect(plain.status, plain.stderr).toBe(0);
  expect(plain.stdout).toMatch(/; 300 devices, 2026-11-20/);
  expect(plain.stdout).toMatch(/^ {2}idle +300 +100\.0 %/m);
  expect(plain.stdout).toMatch(/^ {4}remedy: Check the network, the name resolution/m);
  expect(readFileSync(html, 'utf8')).toContain('<h2>Stuck devices</h2>');
  expect(runToEnd(['report', join(folder, 'a.log.gz')]).stdout).toBe(plain.stdout);
  const child = spawn(process.execPath, [programFile, 'report']);
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stdin.end(text);
  await once(child, 'close');
  expect(stdout).toBe(plain.stdout);
});

test('a file that is not there is named, and the others are told', () => {
  writeFileSync(join(folder, 'a.log'), [...fleetLines(3, 7)].join('\n'));
  const { status, stdout, stderr } = runToEnd(['report', join(folder, 'none.log'), join(folder, 'a.log')]);
  expect(status).toBe(1);
  expect(stderr).toContain('none.log');
  expect(stdout).toContain('3 devices');
});

test('a message of bytes that are none is a line like any other', () => {
  expect(() => parseLogLine('{"MESSAGE":[{"toString":1,"valueOf":1}]}')).not.toThrow();
});
