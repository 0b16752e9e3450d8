import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Time of the processor that a process and its living children have used, milliseconds. */
export function processorMsOf(pid: number): number {
  const own = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Fields behind the name, which may hold blanks: proc_pid_stat(5), 14 and 15.
  const fields = own.slice(own.lastIndexOf(')') + 2).split(' ');
  const ms = ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
  return childrenOf(pid).reduce((sum, child) => sum + processorMsOf(child), ms);
}

export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** Resident set of a process now, and the largest that it ever had; bytes. */
export function residentOf(pid: number): { now: number; most: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
  return { now: field('VmRSS'), most: field('VmHWM') };
}
