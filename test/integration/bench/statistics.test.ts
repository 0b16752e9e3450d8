import { expect, test } from 'vitest';
import { barPlot } from '../../../bench/barPlot.ts';
import { attemptsDuring } from '../../../bench/diskWear.ts';
import { phasesOf } from '../../../bench/phases.ts';
import { pairRatios, quantile, spreadOf } from '../../../bench/statistics.ts';
import { table } from '../../../bench/table.ts';

test('quantiles lie between the values next to them', () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(spreadOf([5, 1, 3, 2, 4])).toEqual({
    count: 5,
    least: 1,
    lowerQuartile: 2,
    median: 3,
    upperQuartile: 4,
    most: 5,
  });
  expect(() => quantile([], 0.5)).toThrow('no values');
});

test('a pair is judged by itself, whatever the machine did before and after', () => {
  expect(pairRatios([20, 300], [10, 100])).toEqual([2, 3]);
  expect(() => pairRatios([1], [])).toThrow('without a partner');
});

test('the phases of a run add up to its time', () => {
  const states = ['keygen', 'csr', 'provisioned', 'registering', 'registered'];
  const lines = states.map((to, at) => ({
    event: 'state.changed',
    to,
    timestamp: new Date(1_000 + at * 10).toISOString(),
  }));
  const phases = phasesOf(lines, 900, 150);
  expect(phases).toEqual({ start: 100, keygen: 10, csr: 10, provisioned: 10, registering: 10, end: 10 });
  expect(() => phasesOf(lines.slice(1), 900, 150)).toThrow('the log tells of no keygen');
});

test('attempts in an outage grow apart up to the longest wait', () => {
  const retry = { initialMs: 1000, maxMs: 4000, factor: 2 };
  // Waits of half a second, one, two, two and two seconds.
  expect(attemptsDuring(7_000, retry)).toBe(5);
});

test('a table of Markdown lines its columns up', () => {
  expect(table(['what', 'ms'], [['a', '10']])).toBe('| what |  ms |\n| ---- | --: |\n| a    |  10 |');
});

test('a plot of bars draws each part and refuses what cannot be drawn', () => {
  const plot = { title: 'a & b', subtitle: '', unit: 'ms', parts: ['one', 'two'] };
  const svg = barPlot({ ...plot, bars: [{ name: 'x', values: [1, 3] }] });
  expect(svg).toContain('a &#38; b');
  expect(svg.match(/<rect [^>]*height="20"[^>]*>/g)).toEqual([
    '<rect x="190" y="71" width="120" height="20" fill="#0072b2"/>',
    '<rect x="310" y="71" width="360" height="20" fill="#d55e00"/>',
  ]);
  expect(() => barPlot({ ...plot, bars: [{ name: 'x', values: [Number.NaN] }] })).toThrow(RangeError);
});
