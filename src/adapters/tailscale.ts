import { execFile } from 'node:child_process';
import { isRecord } from '../text/json.ts';

const patienceMs = 3_000;
/** A large network's status is a few hundred kilobytes. */
const mostBytes = 16 * 1024 * 1024;

/**
 * Asks Tailscale on this device for the id of its node (`tailscale status --json`, `Self.ID`), peers left out.
 *
 * @param program by default the one in the path
 * @returns null if there is no Tailscale, it does not answer in three seconds, or it has no id
 */
export function tailscaleId(program = 'tailscale'): Promise<string | null> {
  const options = {
    timeout: patienceMs,
    killSignal: 'SIGKILL',
    maxBuffer: mostBytes,
    encoding: 'utf8',
  } as const;
  return new Promise((resolve) => {
    execFile(program, ['status', '--json', '--peers=false'], options, (error, stdout) => {
      resolve(error === null ? idIn(stdout) : null);
    });
  });
}

function idIn(status: string): string | null {
  try {
    const json: unknown = JSON.parse(status);
    const id = isRecord(json) && isRecord(json.Self) ? json.Self.ID : null;
    return typeof id === 'string' && /^[^\p{Cc}]{1,256}$/u.test(id) ? id : null;
  } catch {
    return null;
  }
}
