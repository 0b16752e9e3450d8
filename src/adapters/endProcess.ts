import { accessSync, constants } from 'node:fs';

/** What process.execve() replaces this process by: it ends at once, with the status that it is given. */
const shell = '/bin/sh';

/** @types/node 20 does not have it; Node.js 22.15 and 23.11 do. */
type Execve = (file: string, args: readonly string[], env: object) => never;

/**
 * Ends the process at once. exit(3) waits for the thread that looks up a name, and where no name server answers that takes longer
 * than a service manager waits for a stop. Where Node.js can replace the process, no thread is waited for.
 */
export function endProcess(code: number): never {
  const { execve } = process as { execve?: Execve };
  if (
    execve === undefined ||
    !process.getActiveResourcesInfo().includes('GetAddrInfoReqWrap') ||
    !canRun(shell)
  )
    process.exit(code);
  process.exitCode = code;
  process.emit('exit', code);
  // The listeners may have chosen another status.
  return execve.call(process, shell, ['sh', '-c', `exit ${Number(process.exitCode)}`], {});
}

function canRun(program: string): boolean {
  try {
    accessSync(program, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
