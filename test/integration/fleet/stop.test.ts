import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../support/program.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const program = join(root, 'scripts/fleet.mjs');
const ports = ['--http-port', '--https-port', '--nats-port', '--page-port'].flatMap((name) => [name, '0']);
const groups = new Set<number>();
afterEach(() => {
  for (const group of groups) process.kill(-group, 'SIGKILL');
  groups.clear();
});

/** `npm run fleet` as the leader of a process group, as a shell starts it. */
async function startFleet(data: string) {
  const args = [program, '--data', data, '--no-mdns', ...ports];
  const child = spawn(process.execPath, args, {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid = 0 } = child;
  groups.add(pid);
  const ended = once(child, 'close').then(([code, signal]) => {
    groups.delete(pid);
    return code ?? signal;
  });
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      said.push(line);
      const [found] = /http:\/\/[\w.]+:\d+(?=\s|$)/.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
    ended.then((how) => reject(new Error(`ended with ${how}:\n${said.join('\n')}`)));
  });
  const hangUp = () => {
    child.stdout.destroy();
    child.stderr.destroy();
  };
  return { pid, url, ended, said, hangUp };
}

test.each([
  ['Ctrl-C', 'SIGINT'],
  ['a terminal that is closed', 'SIGHUP'],
] as const)('%s, which reaches each process of the terminal, ends the fleet in order: status 0, and the history is whole', async (_what, signal) => {
  const data = join(temporaryFolder(), 'fleet');
  const { pid, url, ended, said, hangUp } = await startFleet(data);
  await fetch(`${url}/nothing-here`);
  // Nobody reads any more what it says.
  if (signal === 'SIGHUP') hangUp();
  process.kill(-pid, signal);
  expect(await ended, said.join('\n')).toBe(0);
  expect(readFileSync(join(data, 'history.jsonl'), 'utf8')).toMatch(/^\{.*"request\.refused".*\}\n$/);
});
