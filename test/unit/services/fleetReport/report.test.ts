import fc from 'fast-check';
import { expect, test } from 'vitest';
import { reportJson } from '../../../../src/cli/format/reportJson.ts';
import { devicesThat, funnel, summarize } from '../../../../src/services/fleetReport/report.ts';
import { mergeTally, newTally } from '../../../../src/services/fleetReport/tally.ts';
import { fleetLines } from '../../../support/fleetLogs.ts';
import { hour, logLine as line, reportOf, tallyOf } from '../../../support/reportOf.ts';

const at = (text: string) => ({ timestamp: `2026-11-${text}.000Z` });
const registers = (deviceId: string, timestamp: object, more: object = {}) => [
  line({
    event: 'state.changed',
    from: 'registering',
    to: 'registered',
    durationMs: 900,
    deviceId,
    ...timestamp,
    ...more,
  }),
  line({
    event: 'device.registered',
    alias: null,
    durationMs: 5000,
    state: 'registered',
    deviceId,
    ...timestamp,
    ...more,
  }),
];

test('the funnel counts devices, not visits, takes who is further on for one that was there, and knows where each is now', () => {
  const report = reportOf([
    line({ event: 'state.changed', from: 'idle', to: 'keygen', durationMs: 1, ...at('24T00:00:01') }),
    line({ event: 'state.changed', from: 'keygen', to: 'csr', durationMs: 1, ...at('24T00:00:02') }),
    line({ event: 'state.changed', from: 'csr', to: 'failed', durationMs: 1, ...at('24T00:00:03') }),
    line({ event: 'state.changed', from: 'failed', to: 'idle', durationMs: 1, ...at('24T00:00:04') }),
    line({ event: 'state.changed', from: 'idle', to: 'csr', durationMs: 1, ...at('24T00:00:05') }),
    line({ event: 'state.changed', from: 'idle', to: 'registered', durationMs: 1, deviceId: 'e' }),
  ]);
  const rows = Object.fromEntries(funnel(report).map(({ state, reached, now }) => [state, [reached, now]]));
  expect(rows).toMatchObject({ idle: [2, 0], csr: [2, 1], failed: [1, 0], registered: [1, 1] });
});

test('a device that fails on and on is stuck, one that writes no more is silent, a registered one is neither', () => {
  const report = reportOf([
    line({ event: 'state.changed', from: 'keygen', to: 'csr', durationMs: 1, deviceId: 'quiet' }),
    line({ event: 'state.changed', from: 'keygen', to: 'csr', durationMs: 1, deviceId: 'busy' }),
    line({ event: 'step.failed', code: 'NATS_TLS', deviceId: 'busy', state: 'csr', ...at('24T01:29:00') }),
    line({ event: 'state.changed', from: 'idle', to: 'registered', durationMs: 1, deviceId: 'fine' }),
    line({ event: 'daemon.started', deviceId: 'new', state: 'idle', ...at('24T01:30:00') }),
  ]);
  expect(Object.fromEntries(report.devices.map(({ id, standing }) => [id, standing]))).toEqual({
    quiet: 'silent',
    busy: 'stuck',
    fine: 'registered',
    new: 'onboarding',
  });
  expect(devicesThat(report, 'stuck')[0]).toMatchObject({ unregisteredMs: 1.5 * hour, lastCode: 'NATS_TLS' });
  expect(devicesThat(report, 'silent')[0]?.last).toBe(Date.parse('2026-11-24T00:00:00Z'));
});

test('a device that goes from failure to failure through several states is stuck too', () => {
  const turns = Array.from({ length: 8 }, (_, turn) => [
    line({ event: 'state.changed', from: 'csr', to: 'failed', durationMs: 1, ...at(`24T0${turn}:00:00`) }),
    line({ event: 'state.changed', from: 'failed', to: 'csr', durationMs: 1, ...at(`24T0${turn}:15:00`) }),
  ]);
  expect(reportOf(turns.flat()).devices[0]).toMatchObject({ standing: 'stuck', state: 'csr' });
});

test('a registered device is silent once two of its heartbeats are missing', () => {
  const beat = line({ event: 'daemon.heartbeat', state: 'registered', deviceId: 'a' });
  const other = (day: string) =>
    line({ event: 'daemon.heartbeat', state: 'registered', deviceId: 'b', ...at(day) });
  expect(devicesThat(reportOf([beat, other('25T12:00:00')]), 'silent')).toEqual([]);
  expect(devicesThat(reportOf([beat, other('26T12:00:00')]), 'silent').map(({ id }) => id)).toEqual(['a']);
});

test.each([
  '1970-01-01T00:00:09.000Z',
  '2099-01-01T00:00:00.000Z',
])('a device with its clock at %s distorts neither the span nor the standing of others, and its durations count', (timestamp) => {
  const sane = [...fleetLines(20, 4)];
  const before = reportOf(sane);
  const after = reportOf([...sane, ...registers('odd', { timestamp })]);
  expect([after.first, after.last]).toEqual([before.first, before.last]);
  expect(after.timeline).toEqual(before.timeline);
  expect(after.devices.filter(({ id }) => id !== 'odd')).toEqual(before.devices);
  expect(after.devices.find(({ id }) => id === 'odd')).toMatchObject({ last: null, standing: 'registered' });
  expect(after.toRegistered.count).toBe(before.toRegistered.count + 1);
  expect(after.wrongClock).toEqual({ lines: 2, devices: 1 });
});

test('a clock of last year is recognized by the other devices', () => {
  const sane = [...fleetLines(20, 4)];
  const report = reportOf([...sane, ...registers('odd', { timestamp: '2025-06-01T00:00:00.000Z' })]);
  expect(report.first).toBe(reportOf(sane).first);
  expect(report.wrongClock.devices).toBe(1);
});

test('what a device tells after its clock was set back is later than what it told before', () => {
  const report = reportOf([
    line({
      event: 'state.changed',
      from: 'idle',
      to: 'csr',
      durationMs: 1,
      timestamp: '2099-01-01T00:00:00.000Z',
    }),
    ...registers('d', at('24T00:00:09')),
  ]);
  expect(report.devices[0]).toMatchObject({ state: 'registered', standing: 'registered' });
});

test('the time of arrival stands in for a wrong clock', () => {
  const wrong = line({ event: 'daemon.started', timestamp: '1970-01-01T00:00:09.000Z' });
  const stored = JSON.stringify({ log: `${wrong}\n`, stream: 'stdout', time: '2026-11-24T00:00:05Z' });
  expect(reportOf([stored]).devices[0]?.last).toBe(Date.parse('2026-11-24T00:00:05Z'));
});

test('a first onboarding is told from restarts', () => {
  const report = reportOf([
    ...registers('new', at('24T00:00:01')),
    line({ event: 'device.registered', alias: null, durationMs: 20, deviceId: 'new', ...at('24T03:00:00') }),
    line({ event: 'state.changed', from: 'idle', to: 'registered', durationMs: 9, deviceId: 'old' }),
    line({ event: 'device.registered', alias: null, durationMs: 30, deviceId: 'old' }),
  ]);
  expect([report.toRegistered.count, report.toRegistered.max]).toEqual([1, 5000]);
  expect(report.restarts.count).toBe(2);
  expect(report.restarts.max).toBeLessThan(32);
});

const journal = (text: string, fields: object) => JSON.stringify({ MESSAGE: text, ...fields });

test('a device that was reset counts once, as what it is now; hosts of one name that live at the same time count each', () => {
  const host = { _HOSTNAME: 'gate', _MACHINE_ID: 'm1' };
  const reset = reportOf([
    ...registers('before', at('24T00:00:01')).map((text) => journal(text, host)),
    ...registers('after', at('24T05:00:01')).map((text) => journal(text, host)),
  ]);
  expect(reset.devices.map(({ id }) => id)).toEqual(['after']);
  expect(reset.replaced).toBe(1);
  const twins = reportOf(
    [
      ...registers('one', at('24T00:00:01')),
      ...registers('two', at('24T00:00:00')),
      ...registers('one', at('23T00:00:00')),
    ].map((text) => journal(text, { _HOSTNAME: 'raspberrypi' })),
  );
  expect(twins.devices).toHaveLength(2);
});

test('a line counts once, however often and in whatever dress it is read', () => {
  const lines = [...fleetLines(20, 4)];
  const once = reportOf(lines);
  const twice = reportOf([
    ...lines,
    ...lines.map((text) =>
      JSON.stringify({ log: `${text}\n`, stream: 'stdout', time: JSON.parse(text).timestamp }),
    ),
  ]);
  expect(twice.duplicates).toBe(lines.length);
  expect({ ...twice, lines: 0, duplicates: 0 }).toEqual({ ...once, lines: 0, duplicates: 0 });
});

test('a summary of repeated failures counts as the lines left out and itself', () => {
  const report = reportOf([line({ event: 'step.failed', code: 'NATS_TLS', state: 'csr', repeated: 40 })]);
  expect([report.errors.get('NATS_TLS')?.count, report.devices[0]?.failures]).toEqual([41, 41]);
});

test('a host that cannot start is told by its name, and is the device that it becomes', () => {
  const refused = line({ event: 'device.failed', code: 'CONFIG_INVALID', remedy: 'r', deviceId: undefined });
  const dressed = journal(refused, { _HOSTNAME: 'gate' });
  expect(reportOf([dressed]).devices).toMatchObject([{ id: null, host: 'gate' }]);
  const both = reportOf([
    dressed,
    ...registers('d', at('24T01:00:00')).map((text) => journal(text, { _HOSTNAME: 'gate' })),
  ]);
  expect(both.devices.map(({ id, codes }) => [id, codes.has('CONFIG_INVALID')])).toEqual([['d', true]]);
});

test('--since leaves out what is older, --device what is of others', () => {
  const lines = [...registers('d', at('24T00:00:01')), ...registers('e', at('24T06:00:00'))];
  expect(reportOf(lines, { since: Date.parse('2026-11-24T01:00Z') }).devices.map(({ id }) => id)).toEqual([
    'e',
  ]);
  expect(reportOf(lines, { device: 'd' }).devices.map(({ id }) => id)).toEqual(['d']);
});

test('the order of lines and files changes nothing, and neither does how they are split', () => {
  const odd = [
    ...registers('odd', { timestamp: '1970-01-01T00:00:09.000Z' }),
    ...registers('odd', at('20T06:00:09')),
    ...registers('late', { timestamp: '2099-01-01T00:00:09.000Z' }),
    ...registers('host', at('20T06:00:09')).map((text) =>
      journal(text, { _HOSTNAME: 'h', _MACHINE_ID: 'm' }),
    ),
    journal(line({ event: 'device.failed', code: 'CONFIG_INVALID', deviceId: undefined }), {
      _HOSTNAME: 'h',
    }),
    'rubbish',
  ];
  const lines = [...fleetLines(12, 9, 6), ...odd];
  const all = [...lines, ...lines.slice(40, 60)];
  const expected = reportJson(reportOf(all));
  fc.assert(
    fc.property(
      fc.shuffledSubarray(all, { minLength: all.length }),
      fc.array(fc.nat(all.length), { maxLength: 5 }),
      (shuffled, cuts) => {
        expect(reportJson(reportOf(shuffled))).toEqual(expected);
        const ends = [...cuts, all.length].sort((a, b) => a - b);
        const unique = shuffled.filter((text, index) => shuffled.indexOf(text) === index);
        const merged = newTally();
        ends.reduce((begin, end) => {
          mergeTally(merged, tallyOf(unique.slice(begin, end)));
          return end;
        }, 0);
        expect(reportJson(summarize(merged, hour))).toEqual(reportJson(reportOf(unique)));
      },
    ),
    { numRuns: 60 },
  );
});
