import fc from 'fast-check';
import { processorMs } from '../../support/processorTime.ts';

/** A text of any size: what stands first, what is repeated, and what stands behind it. */
export interface Shape {
  readonly first: string;
  readonly repeated: string;
  readonly middle: string;
  /** Repeated as often behind the middle: what closes what was opened */
  readonly closing: string;
  readonly last: string;
}

const tokens = [
  ...'/-@:"\'\\[]{},.= \n\t`a0\0\u2028',
  '//',
  '/a@',
  '//a:b',
  '-----BEGIN ',
  '-----BEGIN PRIVATE KEY-----',
  '-----BEGIN CERTIFICATE-----',
  '-----BEGIN CERTIFICATE-----\nA',
  '-----END ',
  'PRIVATE KEY',
  'already ',
  'been ',
  '\\"',
  '\\u0000',
  '"a",',
  '"__proto__":{',
  'a,',
  'nats://',
  'x y',
];
const nesting = [
  ['[', ']'],
  ['{"a":', '}'],
  ['[{"payload":', '}]'],
] as const;
const around = [
  ['', ''],
  ['', 'x'],
  ['x', ''],
  ['//', ' '],
  ['-----BEGIN ', 'KEY-----'],
  ['-----BEGIN PRIVATE KEY-----', ''],
  ['-----BEGIN CERTIFICATE-----', '-----END'],
  ['already ', 'registered'],
  ['"', '"'],
  ['{"status":"failure","error":"', '"}'],
  ['{"status":"success","alias":"', '"}'],
  ['{"status":"success","x":', '}'],
  ['A=x', 'x'],
] as const;

/** The shapes that are always tried: every token in a row, in every surrounding, and every nesting. */
export function everyShape(): Shape[] {
  return around.flatMap(([first, last]) => [
    ...tokens.map((repeated) => ({ first, repeated, middle: '', closing: '', last })),
    ...nesting.map(([repeated, closing]) => ({ first, repeated, middle: '1', closing, last })),
  ]);
}

const token = fc.constantFrom(...tokens);
const some = fc.array(token, { maxLength: 2 }).map((parts) => parts.join(''));
/** Shapes of several tokens. */
export const anyShape: fc.Arbitrary<Shape> = fc.record({
  first: fc.oneof(some, fc.constantFrom(...around.map(([first]) => first))),
  repeated: fc.array(token, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('')),
  middle: some,
  closing: fc.constantFrom('', '', ']', '}', '"', ' '),
  last: fc.oneof(some, fc.constantFrom(...around.map(([, last]) => last))),
});

/** @param size characters, roughly */
export function textOf({ first, repeated, middle, closing, last }: Shape, size: number): string {
  const times = Math.ceil(size / (repeated.length + closing.length));
  return first + repeated.repeat(times) + middle + closing.repeat(times) + last;
}

/** Characters; the second text is twice as long as the first. */
const size = 16_384;
/** What passes for noise, milliseconds: no reader takes longer over the longer text. */
const floorMs = 20;
/** Of twice the text: linear is 2, quadratic 4. */
const mostGrowth = 3;

/** A reader that is slow for good is slow each time; a machine that does something else is not. */
const mostRuns = 12;
const hopelessMs = 500;

/** @returns what is wrong with how the time of a reader grows with its text; null: nothing */
export function growthFault(read: (text: string) => unknown, shape: Shape): string | null {
  const [short, long] = [textOf(shape, size), textOf(shape, 2 * size)];
  let [shortMs, longMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  // The best of several: whatever else the machine does only adds.
  for (let run = 0; run < mostRuns; run++) {
    longMs = Math.min(
      longMs,
      processorMs(() => read(long)),
    );
    if (longMs <= floorMs) return null;
    shortMs = Math.min(
      shortMs,
      processorMs(() => read(short)),
    );
    if (longMs > hopelessMs) break;
  }
  if (longMs <= mostGrowth * shortMs) return null;
  return `${2 * size} characters took ${longMs.toFixed(1)} ms, half of them ${shortMs.toFixed(1)} ms`;
}
