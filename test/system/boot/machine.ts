import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { NotHere } from './image.ts';

const run = promisify(execFile);

/** A Debian tree, booted: systemd as PID 1 in a container with a network of its own, which has no way out. */
export interface Machine {
  /** Runs a command inside. @returns its output. @throws where it fails */
  run(...command: string[]): Promise<string>;
  /** Waits until a command's output, trimmed, is accepted. @throws after `limitMs`, with the last output */
  until(command: string[], accepts: (output: string) => boolean, limitMs?: number): Promise<string>;
  /** `systemctl show -P PROPERTY UNIT` */
  property(unit: string, name: string): Promise<string>;
  /** The servers of this host become reachable from inside, on the machine's own loopback and at `address`. */
  connect(ports: readonly number[], address?: string): Promise<void>;
  /** The network goes away: what listened inside is gone. */
  disconnect(): Promise<void>;
  powerOff(): Promise<void>;
}

const nothing = () => undefined;

/** @param options further ones of systemd-nspawn(1) */
export async function boot(tree: string, options: readonly string[] = []): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), 'machine-'));
  const container = spawn(
    'systemd-nspawn',
    [
      '-q',
      '-D',
      tree,
      '--register=no',
      '--keep-unit',
      '--private-network',
      '--console=read-only',
      ...options,
      '-b',
    ],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    },
  );
  const ended = once(container, 'exit');
  const leader = await leaderOf(container);
  const helpers = new Set<ChildProcess>();
  const ends: (() => void)[] = [];
  const inside = (command: readonly string[]) => ['-t', String(leader), '-a', '--', ...command];

  const machine: Machine = {
    run: async (...command) => (await run('nsenter', inside(command), { maxBuffer: 2 ** 26 })).stdout.trim(),
    async until(command, accepts, limitMs = 60_000) {
      const deadline = Date.now() + limitMs;
      for (;;) {
        const output = await run('nsenter', inside(command)).then(
          ({ stdout }) => stdout.trim(),
          ({ stdout }: { stdout?: string }) => (stdout ?? '').trim(),
        );
        if (accepts(output)) return output;
        if (Date.now() > deadline) throw new Error(`${command.join(' ')}: still ${output.slice(-2000)}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    property: (unit, name) => machine.run('systemctl', 'show', '-P', name, unit),
    async connect(ports, address) {
      if (address !== undefined) await machine.run('ip', 'address', 'add', `${address}/32`, 'dev', 'lo');
      const socket = join(folder, 'out');
      const gate = createServer((from) => {
        // The first line says which port is meant.
        from.once('data', (first: Buffer) => {
          const to = createConnection({ host: '127.0.0.1', port: Number(first.subarray(0, 5).toString()) });
          to.on('error', () => from.destroy());
          to.write(first.subarray(5));
          from.pipe(to).pipe(from);
        });
        from.on('error', nothing);
      });
      gate.listen(socket);
      await once(gate, 'listening');
      ends.push(() => gate.close());
      const relay = join(folder, 'relay.mjs');
      writeFileSync(relay, relaySource);
      const child = spawn(
        'nsenter',
        [
          '-t',
          String(leader),
          '-n',
          '--',
          process.execPath,
          relay,
          socket,
          address ?? '',
          ...ports.map(String),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      helpers.add(child);
      await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line');
    },
    async disconnect() {
      for (const child of helpers) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      helpers.clear();
      for (const end of ends.splice(0)) end();
    },
    async powerOff() {
      await machine.disconnect();
      // RTMIN+4: systemd powers the machine off.
      await run('kill', ['-s', 'RTMIN+4', String(leader)]).catch(nothing);
      const timer = setTimeout(() => {
        run('kill', ['-KILL', String(leader)]).catch(nothing);
        container.kill('SIGKILL');
      }, 30_000);
      await ended;
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await machine.until(
    ['systemctl', 'is-system-running'],
    (output) => /^(running|degraded)$/.test(output),
    180_000,
  );
  return machine;
}

/** PID 1 of the container, seen from outside. */
async function leaderOf(container: ChildProcess): Promise<number> {
  for (;;) {
    if (container.exitCode !== null) throw new NotHere(`systemd-nspawn ended with ${container.exitCode}`);
    try {
      const children = readFileSync(`/proc/${container.pid}/task/${container.pid}/children`, 'utf8').trim();
      const [first] = children.split(' ');
      const name = first && readFileSync(`/proc/${first}/comm`, 'utf8').trim();
      if (name === 'systemd' || name?.startsWith('qemu')) return Number(first);
    } catch {
      // Not yet there.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Listens inside, and leads to the host through a socket in the file system, which no network separates. */
const relaySource = `
import { createConnection, createServer } from 'node:net';
const [socket, address, ...ports] = process.argv.slice(2);
const hosts = ['127.0.0.1', ...(address ? [address] : [])];
await Promise.all(ports.flatMap((port) => hosts.map((host) => new Promise((resolve, reject) => {
  const server = createServer((from) => {
    const to = createConnection(socket);
    to.write(port.padStart(5, '0'));
    from.on('error', () => to.destroy());
    to.on('error', () => from.destroy());
    to.on('close', () => from.destroy());
    from.pipe(to).pipe(from);
  });
  server.once('error', reject);
  server.listen(Number(port), host, resolve);
}))));
console.log('ready');
`;
