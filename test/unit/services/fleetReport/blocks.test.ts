import fc from 'fast-check';
import { expect, test } from 'vitest';
import { reportJson } from '../../../../src/cli/format/reportJson.ts';
import { newBlockCutter } from '../../../../src/services/fleetReport/blocks.ts';
import { newBlockReader } from '../../../../src/services/fleetReport/readLog.ts';
import { summarize } from '../../../../src/services/fleetReport/report.ts';
import { newSeenLines, newSharedTable } from '../../../../src/services/fleetReport/seenLines.ts';
import { mergeTally, newCounter, newTally } from '../../../../src/services/fleetReport/tally.ts';
import { fleetLines } from '../../../support/fleetLogs.ts';
import { hour, reportOf, scope } from '../../../support/reportOf.ts';

const docker = (log: string) => JSON.stringify({ log, stream: 'stdout', time: '2026-11-24T00:00:05Z' });
const plain = [...fleetLines(12, 9, 6)];
/** As docker stores a line: cut after so many characters. */
const parted = plain.slice(0, 30).flatMap((line) => {
  const text = `${line}\n`;
  return [text.slice(0, 90), text.slice(90, 180), text.slice(180)].filter((part) => part !== '').map(docker);
});
const lines = [...plain, ...plain.slice(5, 9), 'rubbish', ...parted, 'x'.repeat(5000), ...plain.slice(50)];
const bytes = Buffer.from(`${lines.join('\n')}\n`);

test('blocks read by several threads in any order, with one table of what was seen, give the report of the whole', () => {
  const expected = reportJson(reportOf(lines));
  fc.assert(
    fc.property(
      fc.integer({ min: 6000, max: 40_000 }),
      fc.integer({ min: 1, max: 30_000 }),
      fc.infiniteStream(fc.nat(2)),
      (blockSize, chunkSize, chance) => {
        const cutter = newBlockCutter(blockSize);
        const blocks: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; at += chunkSize)
          for (const block of cutter.push(bytes.subarray(at, at + chunkSize))) {
            if (block === null) throw new Error('no line is longer than a block');
            blocks.push(block);
          }
        const last = cutter.end();
        if (last !== null) blocks.push(last);
        const table = newSharedTable(1000);
        const threads = [0, 1, 2].map(() => {
          const tally = newTally();
          return { tally, read: newBlockReader(newCounter(tally, scope, newSeenLines([table]))) };
        });
        for (const block of blocks.reverse()) threads[chance.next().value ?? 0]?.read(block);
        const merged = newTally();
        for (const { tally } of threads) mergeTally(merged, tally);
        expect(reportJson(summarize(merged, hour))).toEqual(expected);
      },
    ),
    { numRuns: 40 },
  );
});

test('a line longer than a block is one foreign line, and the lines around it are read', () => {
  const text = `${plain[0]}\n${'x'.repeat(30_000)}\n${plain[1]}\n`;
  const cutter = newBlockCutter(6000);
  const parts = [...cutter.push(Buffer.from(text)), cutter.end()];
  expect(parts.map((part) => part && Buffer.from(part).toString())).toEqual([
    `${plain[0]}\n`,
    null,
    `${plain[1]}\n`,
  ]);
});
