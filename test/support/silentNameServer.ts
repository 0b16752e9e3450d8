import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Answers no question, and says when it listens and when it is asked. */
const nameServer = `
const server = require('node:dgram').createSocket('udp4');
server.once('message', () => console.log('asked'));
server.bind(53, '127.0.0.1', () => console.log('listening'));
`;

/** A network and files of the system of its own: needs root, and a machine that allows it. */
export const mayUnshare = spawnSync('unshare', ['-mn', 'true']).status === 0;

/**
 * Starts a program where no name server answers, and stops it by SIGTERM while it looks up a name.
 *
 * @param program and its arguments
 * @param folder an empty one; the program's output is left there
 * @returns exit status, and how long the stop took, in milliseconds
 */
export function stopInLookUp(program: readonly string[], folder: string): { status: number; ms: number } {
  writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  writeFileSync(join(folder, 'server.cjs'), nameServer);
  const script = `
    ip link set lo up || ifconfig lo up
    mount --bind '${folder}/resolv.conf' /etc/resolv.conf
    coproc SERVER { exec '${process.execPath}' '${folder}/server.cjs'; }
    read -r listening <&"\${SERVER[0]}"
    "$@" >'${folder}/output' 2>&1 &
    read -r asked <&"\${SERVER[0]}"
    begun=$(date +%s%3N)
    kill $!
    wait $!
    echo "$? $(($(date +%s%3N) - begun))"
    kill "$SERVER_PID"
  `;
  const { stdout, stderr } = spawnSync('unshare', ['-mn', 'bash', '-c', script, 'bash', ...program], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const [, status, ms] = /^(\d+) (\d+)\n$/.exec(stdout) ?? [];
  if (status === undefined) throw new Error(`it did not come to an end: ${stdout}${stderr}`);
  return { status: Number(status), ms: Number(ms) };
}
