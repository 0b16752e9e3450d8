import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { startThread } from '../adapters/thread.ts';
import { blockBytes } from '../services/fleetReport/blocks.ts';
import { newBlockReader, type OnLine } from '../services/fleetReport/readLog.ts';
import { isFull, newSeenLines, newSharedTable } from '../services/fleetReport/seenLines.ts';
import { mergeTally, newCounter, newTally, type Scope, type Tally } from '../services/fleetReport/tally.ts';
import type { FromThread, ThreadData, ToThread } from './reportThread.ts';

/** Counts lines on several threads; which thread counts which line does not matter. */
export interface LogCounter {
  /** Counts lines that have to be read in their order. */
  readonly onLine: OnLine;
  /**
   * Counts a block of whole lines, here or on another thread.
   *
   * @param onOwn receives how many of its lines onboardd wrote, once they are read
   */
  take(block: Uint8Array<ArrayBuffer>, onOwn: (lines: number) => void): Promise<void>;
  /** @returns the tally of all lines. @throws {Error} if a thread failed */
  end(): Promise<Tally>;
}

export interface CounterOptions {
  /** At most so many threads, this one included */
  readonly threads: number;
  /** About so many bytes come; null: not known */
  readonly bytes: number | null;
}

/** So much is read before another thread is worth its start. */
const aloneBytes = 3 * blockBytes;
/** Blocks that a thread may have before it */
const mostQueued = 2;
/** The shortest line of onboardd that is counted */
const shortestLine = 40;
const usualLine = 250;
const fewestLines = 500_000;

export const usualThreads = () => Math.min(4, availableParallelism());

interface Thread {
  readonly worker: Worker;
  readonly queue: ((lines: number) => void)[];
  used: number;
  tables: number;
}

export function newLogCounter(scope: Scope, { threads: most, bytes }: CounterOptions): LogCounter {
  const tally = newTally();
  const mayUseThreads = most > 1;
  const firstTable = () => newSharedTable(Math.max(fewestLines, (bytes ?? 0) / usualLine));
  const seen = newSeenLines(mayUseThreads ? [firstTable()] : undefined);
  const onLine = newCounter(tally, scope, seen);
  const read = newBlockReader(onLine);
  const crew = new Crew({ scope, tables: seen.tables });
  let taken = 0;

  /** A new table beside the full one. No thread may still add to the old one while another one looks there. */
  async function makeRoom(): Promise<void> {
    const table = seen.tables.at(-1) as Int32Array;
    const coming = ((crew.queued + 1) * blockBytes) / shortestLine;
    if (!isFull(table, seen.used + crew.used + coming)) return;
    await crew.until(() => crew.queued === 0);
    if (isFull(table, seen.used + crew.used + blockBytes / shortestLine)) {
      seen.extend(newSharedTable(table.length * 1.4));
      crew.forget();
    }
  }

  return {
    onLine,
    async take(block, onOwn) {
      taken += block.length;
      if (mayUseThreads) {
        if (taken > aloneBytes) crew.start(most - 1);
        await makeRoom();
        if (crew.post(block, onOwn)) return;
      }
      onOwn(read(block));
      // Messages of the threads come between two blocks.
      await new Promise((resolve) => setImmediate(resolve));
    },
    async end() {
      for (const part of await crew.end()) mergeTally(tally, part);
      return tally;
    },
  };
}

/** The other threads. */
class Crew {
  private readonly threads: Thread[] = [];
  private readonly tallies: Tally[] = [];
  private readonly waiting = new Set<() => void>();
  private failure: Error | null = null;
  private isStarted = false;
  private readonly data: ThreadData;

  /** @param data what each of them is started with; its tables grow */
  constructor(data: ThreadData) {
    this.data = data;
  }

  get queued(): number {
    return this.threads.reduce((sum, { queue }) => sum + queue.length, 0);
  }

  /** Places that they took in the newest table */
  get used(): number {
    return this.threads.reduce((sum, { used }) => sum + used, 0);
  }

  /** What is used is counted anew, for a new table. */
  forget(): void {
    for (const thread of this.threads) thread.used = 0;
  }

  start(amount: number): void {
    for (let index = 0; index < amount && !this.isStarted; index++) {
      const worker = startThread('reportThread.cjs', this.data);
      if (worker !== null) this.add(worker);
    }
    this.isStarted = true;
  }

  /** @returns false if every thread is busy. @throws {Error} if one failed */
  post(block: Uint8Array<ArrayBuffer>, onOwn: (lines: number) => void): boolean {
    if (this.failure !== null) throw this.failure;
    const free = this.threads.find(({ queue }) => queue.length < mostQueued);
    if (free === undefined) return false;
    free.queue.push(onOwn);
    this.send(free, block);
    return true;
  }

  async end(): Promise<Tally[]> {
    for (const thread of this.threads) this.send(thread, null);
    await this.until(() => this.tallies.length === this.threads.length);
    return this.tallies;
  }

  /** @throws {Error} if a thread failed */
  async until(isSo: () => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!isSo() && this.failure === null) return;
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
      look();
    });
    if (this.failure !== null) throw this.failure;
  }

  private add(worker: Worker): void {
    const thread: Thread = { worker, queue: [], used: 0, tables: this.data.tables.length };
    this.threads.push(thread);
    const wake = () => {
      for (const look of [...this.waiting]) look();
    };
    worker.on('message', ({ own, used, tally }: FromThread) => {
      thread.used = used;
      if (tally === null) thread.queue.shift()?.(own);
      else this.tallies.push(tally);
      wake();
    });
    worker.on('error', (error) => {
      this.failure ??= error;
      wake();
    });
  }

  private send(thread: Thread, block: Uint8Array<ArrayBuffer> | null): void {
    const { tables } = this.data;
    const table = thread.tables < tables.length ? (tables.at(-1) as Int32Array) : null;
    thread.tables = tables.length;
    const message: ToThread = { block, table };
    thread.worker.postMessage(message, block === null ? [] : [block.buffer]);
  }
}
