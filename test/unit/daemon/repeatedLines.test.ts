import { expect, test } from 'vitest';
import { nothingWritten, summarised, thinned } from '../../../src/daemon/repeatedLines.ts';
import type { EventName } from '../../../src/events.ts';

const failure = { step: 'csr', code: 'PROVISIONING_UNREACHABLE', reason: 'refused' };
const hour = 3_600_000;

/** What is written of lines, each at its time: the time, and `repeated` if there is one. */
function written(lines: readonly (readonly [number, EventName, Record<string, unknown>])[]) {
  let memory = nothingWritten;
  return lines.flatMap(([at, event, fields]) => {
    const { memory: next, repeated } = thinned(memory, event, fields, at);
    memory = next;
    return repeated === null ? [] : [repeated === 0 ? at : ([at, repeated] as const)];
  });
}

const failures = (count: number, everyMs: number, fields = failure) =>
  Array.from({ length: count }, (_, index) => [index * everyMs, 'step.failed', fields] as const);

test.each<[string, Parameters<typeof written>[0], unknown[]]>([
  ['a few failures are all written', failures(4, 100), [0, 100, 200, 300]],
  [
    'then they are written after gaps that double, with the number of those in between',
    failures(40, 500),
    [0, 500, 1000, 1500, 2000, [3000, 1], [5000, 3], [9000, 7], [17_000, 15]],
  ],
  [
    'a failure for another reason is written at once',
    [...failures(6, 100), [600, 'step.failed', { ...failure, reason: 'dns' }]],
    [0, 100, 200, 300, 400, 600],
  ],
  [
    'a failure whose level rises is written at once',
    [...failures(6, 100), [600, 'step.failed', { ...failure, level: 'error' }]],
    [0, 100, 200, 300, 400, 600],
  ],
  [
    'a failure in another step is written at once',
    [...failures(6, 100), [600, 'step.failed', { ...failure, step: 'renewing' }]],
    [0, 100, 200, 300, 400, 600],
  ],
  [
    'what belongs to a repeated failure comes with it',
    Array.from({ length: 6 }, (_, index) => [
      [index * 1000, 'step.failed', failure] as const,
      [index * 1000 + 1, 'device.failed', { code: failure.code }] as const,
    ]).flat(),
    [0, 1, 1000, 1001, 2000, 2001, 3000, 3001, 4000, 4001, 5000, 5001],
  ],
  [
    'a change of state that goes round in circles is written a few times',
    Array.from({ length: 9 }, (_, index) => [index * hour, 'state.changed', { from: 'csr', to: 'failed' }]),
    [0, hour, 2 * hour, 3 * hour],
  ],
  [
    'a device that got on starts anew',
    [...failures(6, 100), [600, 'device.registered', {}], [700, 'step.failed', failure]],
    [0, 100, 200, 300, 400, 600, 700],
  ],
  [
    'other lines are always written',
    Array.from({ length: 9 }, (_, index) => [index, 'config.warning', { key: 'stateDir' }]),
    [0, 1, 2, 3, 4, 5, 6, 7, 8],
  ],
  [
    'a configuration that is refused at a reload is always written',
    failures(9, 1, { ...failure, step: 'reload' }),
    [0, 1, 2, 3, 4, 5, 6, 7, 8],
  ],
])('%s', (_, lines, expected) => {
  expect(written(lines)).toEqual(expected);
});

test('the longest gap is an hour', () => {
  const times = written(failures(24 * 60, 60_000)).map((line) => Number([line].flat()[0]));
  const gaps = times.slice(1).map((at, index) => at - Number(times[index]));
  expect(Math.max(...gaps)).toBe(hour);
  expect(gaps.at(-1)).toBe(hour);
});

test('a line that is written carries how many were left out', () => {
  const lines: unknown[] = [];
  let now = 0;
  const log = summarised(
    (_, event, __, fields) => lines.push({ event, ...fields }),
    () => now,
  );
  const fields = { ...failure, class: 'transient', attempt: 1, retryInMs: 1, cause: 'x' } as const;
  for (; now < 4000; now += 500)
    log('warn', 'step.failed', 'failed', { ...fields, code: 'PROVISIONING_UNREACHABLE', reason: 'refused' });
  expect(lines).toHaveLength(6);
  expect(lines.at(0)).toEqual({ event: 'step.failed', ...fields });
  expect(lines.at(-1)).toEqual({ event: 'step.failed', ...fields, repeated: 1 });
});
