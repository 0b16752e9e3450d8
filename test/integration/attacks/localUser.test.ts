import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { at, fleetWith, launch } from '../../support/harness.ts';

const listens = '0A';

/** Inodes of the TCP sockets of a process that wait for connections. */
function listening(pid: number): string[] {
  const own = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return ''; // closed meanwhile
    }
  });
  return ['tcp', 'tcp6'].flatMap((family) =>
    readFileSync(`/proc/${pid}/net/${family}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , status, , , , , , inode]) => status === listens && own.includes(`socket:[${inode}]`))
      .map((columns) => columns[9] ?? ''),
  );
}

test('SIGUSR1 opens no debugger: no socket of the daemon listens', async () => {
  const program = launch(at(await fleetWith()));
  await program.until((line) => line.event === 'device.registered');
  program.child.kill('SIGUSR1');
  // Heard after it, in the same process.
  program.child.kill('SIGHUP');
  await program.until((line) => line.event === 'config.reloaded');
  expect(listening(Number(program.child.pid))).toEqual([]);
  expect(listening(process.pid).length, 'the fleet, which does listen, is seen').toBeGreaterThan(0);
  expect(program.stderr()).toBe('');
});
