/** Simulated time: what is due happens in order, and nothing else takes time. Milliseconds. */
export interface Loop {
  readonly now: () => number;
  /** Calls back at a moment; ties in the order of asking. @returns a function that calls it off */
  at(time: number, call: () => void): () => void;
  /** Runs what is due until the moment, or until `enough` says so. @returns whether `enough` did */
  run(until: number, enough: () => boolean, after: () => void): Promise<boolean>;
}

/** Of one run: a month of a storm takes a tenth of it, a machine that goes round in circles takes them all. */
const mostSteps = 20_000_000;

interface Due {
  readonly time: number;
  readonly order: number;
  call: (() => void) | null;
}

export function createLoop(start: number): Loop {
  const heap: Due[] = [];
  let now = start;
  let order = 0;
  return {
    now: () => now,
    at(time, call) {
      const due: Due = { time: Math.max(time, now), order: order++, call };
      push(heap, due);
      return () => {
        due.call = null;
      };
    },
    async run(until, enough, after) {
      for (let steps = 0; ; steps++) {
        if (steps > mostSteps) throw new Error(`${mostSteps} steps, and it is only ${now} of ${until}`);
        const next = heap[0];
        if (next === undefined || next.time > until) break;
        pop(heap);
        if (next.call === null) continue;
        now = next.time;
        next.call();
        await settled();
        after();
        if (enough()) return true;
      }
      now = until;
      return enough();
    },
  };
}

/** Everything that promises have pending has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const isBefore = (a: Due, b: Due) => a.time < b.time || (a.time === b.time && a.order < b.order);

function push(heap: Due[], due: Due): void {
  let index = heap.push(due) - 1;
  while (index > 0) {
    const above = (index - 1) >> 1;
    if (!isBefore(due, heap[above] as Due)) break;
    heap[index] = heap[above] as Due;
    index = above;
  }
  heap[index] = due;
}

function pop(heap: Due[]): void {
  const last = heap.pop() as Due;
  if (heap.length === 0) return;
  let index = 0;
  for (;;) {
    let below = 2 * index + 1;
    if (below >= heap.length) break;
    if (below + 1 < heap.length && isBefore(heap[below + 1] as Due, heap[below] as Due)) below++;
    if (!isBefore(heap[below] as Due, last)) break;
    heap[index] = heap[below] as Due;
    index = below;
  }
  heap[index] = last;
}
