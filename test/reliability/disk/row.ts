import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Fleet } from '../../../fleet/fleet.ts';
import type { Device, Line } from '../../support/program.ts';
import { sendSignal } from '../../support/sendSignal.ts';
import { runProgram, spawnProgram } from '../../support/strace/strace.ts';
import { newLife, type Sight, sightOf } from '../../support/strace/tracedLife.ts';

/** One disk fault with real parts. */
export interface Row {
  readonly fault: string;
  /** The codes of the log that tell of it; `none`: nothing to tell, the device registers. */
  readonly codes: readonly string[];
  /** Rows of one group are one line of the table. */
  readonly group?: string;
  /** Why the row cannot be run here; null where it can. */
  readonly unable?: string | null;
  /** Whether the device registered before the fault; false by default. */
  readonly registeredBefore?: boolean;
  /** What the identity may become by the fault: `kept` (default), `newKey` under the same id, or `new`. */
  readonly identity?: 'kept' | 'newKey' | 'new';
  /** Makes the fault while the program is not running. */
  readonly make: (device: Device) => Made;
  /** Whether the program may end by it, to be started again as a service is. */
  readonly mayEnd?: boolean;
}

export interface Made {
  readonly straceArgs?: string[];
  /** Mends the disk; the program runs on. Where there is nothing to mend, it is absent. */
  readonly mend?: () => void;
  /** Takes away what the fault needed. */
  readonly clean?: () => void;
  /** What must hold after the mending. @returns what is wrong */
  readonly check?: () => string | null;
  /** Whether the fault met the program at all, where the program may be done before. */
  readonly came?: () => boolean;
}

export interface Outcome {
  readonly row: Row;
  readonly code: string;
  readonly end: string;
}

const registered = ({ event }: Line) => event === 'device.registered';

/** @returns null where the fault did not come. @throws {Error} which says what the device did wrong */
export async function live(fleet: Fleet, row: Row): Promise<Outcome | null> {
  const { device } = newLife(fleet, { registration: { timeoutMs: 3000 } });
  let before: Sight | null = null;
  if (row.registeredBefore) {
    if ((await runProgram(device)) !== 0) throw new Error('did not register before the fault');
    before = sightOf(device);
  }
  const made = row.make(device);
  const program = follow(spawnProgram(device, made.straceArgs ?? [], [], 'pipe'));
  try {
    const first = await program.until(
      (line) => registered(line) || line.code !== undefined || line.event === 'device.failed',
    );
    const code = first === null ? 'none' : registered(first) ? 'none' : String(first.code);
    if (!row.codes.includes(code)) throw new Error(`${code}: ${first?.cause ?? first?.message}`);
    made.mend?.();
    let end = made.mend ? 'registered once it was mended' : 'registered by itself';
    if ((await program.until(registered)) === null) {
      const how = await program.ended;
      if (!row.mayEnd) throw new Error(`the program ended with ${how}`);
      if ((await runProgram(device)) !== 0) throw new Error('did not register when started again');
      end = 'the program ended, registered when started again';
    }
    if (made.came?.() === false) return null;
    const flaw = made.check?.() ?? flawOf(row, before, sightOf(device));
    if (flaw !== null) throw new Error(flaw);
    const id = sightOf(device).id ?? '';
    const count = fleet.manager.accepted.get(id)?.count;
    if (count !== 1) throw new Error(`${id} was accepted ${count} times`);
    return { row, code, end };
  } finally {
    program.end();
    await program.ended;
    made.clean?.();
  }
}

function flawOf(row: Row, before: Sight | null, after: Sight): string | null {
  const identity = row.identity ?? 'kept';
  if (before === null) return null;
  if (identity !== 'new' && before.id !== after.id) return `id ${before.id} became ${after.id}`;
  if (identity === 'kept' && before.key !== after.key) return 'the key changed';
  if (identity === 'newKey' && before.key === after.key) return 'the damaged key came back';
  return null;
}

/** The program's log, with a limit to how long a line is waited for. */
function follow(child: ChildProcess) {
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  let over = false;
  const look = () => {
    for (const one of [...waiting]) one();
  };
  if (child.stdout === null) throw new Error('the log is not piped');
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(JSON.parse(text));
    look();
  });
  const ended = once(child, 'close').then(([code, signal]) => {
    over = true;
    look();
    return code ?? signal;
  });
  /** Null where the program ends before such a line. */
  const until = (accepts: (line: Line) => boolean) =>
    new Promise<Line | null>((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(late);
        waiting.delete(one);
        reject(new Error(`${why}; last: ${JSON.stringify(lines.slice(-2))}`));
      };
      const one = () => {
        const line = lines.find(accepts);
        if (line === undefined && !over) return;
        clearTimeout(late);
        waiting.delete(one);
        resolve(line ?? null);
      };
      const late = setTimeout(() => fail('nothing within 30 s'), 30_000);
      waiting.add(one);
      one();
    });
  // strace heeds no signal while it has a tracee: the program itself is ended, which says its process id.
  const end = () => {
    const pid = lines.find(({ event }) => event === 'daemon.started')?.pid;
    if (over) return;
    if (typeof pid === 'number') sendSignal(pid, 'SIGKILL');
    else child.kill('SIGKILL');
  };
  return { until, ended, end };
}
