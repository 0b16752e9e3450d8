import { expect, test } from 'vitest';
import { parseLogLine } from '../../../../src/services/fleetReport/logLine.ts';
import {
  addLine,
  funnel,
  newReport,
  type Report,
  stuck,
} from '../../../../src/services/fleetReport/report.ts';

const hour = 3_600_000;
const read = (lines: Iterable<string>): Report => {
  const report = newReport();
  for (const line of lines) addLine(report, parseLogLine(line));
  return report;
};
const line = (fields: Record<string, unknown>) =>
  JSON.stringify({
    timestamp: '2026-11-24T00:00:00.000Z',
    level: 'info',
    message: 'm',
    deviceId: 'd',
    ...fields,
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
