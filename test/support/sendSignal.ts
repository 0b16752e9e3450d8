/**
 * For a process that this one is not the parent of, such as a program under strace: it may have ended meanwhile.
 *
 * @returns false if there is no such process any more
 */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  // 0 and -1 are process groups: this one's, and everybody's.
  if (!(pid > 1)) throw new Error(`${pid} is no process id`);
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
