import { parentPort, workerData } from 'node:worker_threads';
import { newBlockReader } from '../services/fleetReport/readLog.ts';
import { newSeenLines } from '../services/fleetReport/seenLines.ts';
import { newCounter, newTally, type Scope, type Tally } from '../services/fleetReport/tally.ts';

/** What a thread is started with. */
export interface ThreadData {
  readonly scope: Scope;
  readonly tables: readonly Int32Array[];
}

/** A block of whole lines; null: no more come. `table` is to be used from now on. */
export interface ToThread {
  readonly block: Uint8Array | null;
  readonly table: Int32Array | null;
}

/** After each block: its lines that onboardd wrote, and the places taken in the newest table; the tally at the end. */
export interface FromThread {
  readonly own: number;
  readonly used: number;
  readonly tally: Tally | null;
}

const { scope, tables } = workerData as ThreadData;
const tally = newTally();
const seen = newSeenLines(tables);
const read = newBlockReader(newCounter(tally, scope, seen));

parentPort?.on('message', ({ block, table }: ToThread) => {
  if (table !== null) seen.extend(table);
  const own = block === null ? 0 : read(block);
  const answer: FromThread = { own, used: seen.used, tally: block === null ? tally : null };
  parentPort?.postMessage(answer);
  if (block === null) parentPort?.close();
});
