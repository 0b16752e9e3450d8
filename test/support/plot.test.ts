import { expect, test } from 'vitest';
import { histogram, linePlot } from './plot.ts';

const labels = { title: 'a < b', xLabel: 'seconds', yLabel: 'requests' };

test('a plot names its title, axes and series, and escapes them', () => {
  const svg = linePlot({
    ...labels,
    series: [
      {
        name: 'x & y',
        points: [
          [0, 1],
          [2, 30],
        ],
      },
    ],
  });
  for (const part of ['a &#60; b', 'seconds', 'requests', 'x &#38; y', '<polyline', '</svg>'])
    expect(svg).toContain(part);
});

test('the highest point lies below the top tick, and a line starts where the axis does', () => {
  const svg = linePlot({
    ...labels,
    series: [
      {
        name: 'n',
        points: [
          [0, 0],
          [10, 97],
        ],
      },
    ],
  });
  expect(svg).toContain('>100</text>');
  expect(svg).toMatch(/points="70,322 736,\d+/);
});

test('bars, dots and marks are drawn', () => {
  const svg = linePlot({
    ...labels,
    series: [
      {
        name: 'bars',
        style: 'bars',
        points: [
          [0, 1],
          [1, 2],
        ],
      },
      { name: 'dots', style: 'dots', points: [[0, 1]] },
    ],
    marks: [{ name: 'the mean', y: 1.5 }],
  });
  for (const part of ['<circle', 'fill-opacity', 'the mean', 'stroke-dasharray']) expect(svg).toContain(part);
});

test('nothing to draw is an error', () => {
  expect(() => linePlot({ ...labels, series: [{ name: 'n', points: [] }] })).toThrow(RangeError);
  expect(() => linePlot({ ...labels, series: [{ name: 'n', points: [[0, Number.NaN]] }] })).toThrow(
    RangeError,
  );
});

test('a histogram counts what falls into each step', () => {
  expect(histogram([0, 0.5, 1, 3.9], 0, 1)).toEqual([
    [0.5, 2],
    [1.5, 1],
    [2.5, 0],
    [3.5, 1],
  ]);
});
