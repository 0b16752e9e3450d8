import fc from 'fast-check';
import { expect, test } from 'vitest';
import { reportLines } from '../../../../src/cli/format/report.ts';
import { reportPage } from '../../../../src/cli/format/reportPage.ts';
import type { Report } from '../../../../src/services/fleetReport/report.ts';
import { hour, logLine as line, reportOf as read } from '../../../support/reportOf.ts';

const page = (report: Report) => reportPage(report, hour, () => 'hash');
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
