/** A whole machine for arm64, emulated by qemu: a kernel of its own, a disk, and a network card without a cable. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { NotHere } from './image.ts';
import { cloudKernel } from './kernel.ts';
import type { Machine } from './machine.ts';

/** Programs of the system that it needs. */
export const programsForVirtualMachines = ['qemu-system-aarch64', 'mke2fs', 'cpio'];
/** This host, as such a machine sees it. */
export const hostAddress = '10.0.2.2';

const longestPowerOffMs = 300_000;

/** One command a line, `ID BASE64`; answered by `ID STATUS =BASE64 =BASE64`, standard output and error. */
const agent = `#!/bin/sh
port=$(echo /dev/vport*p1)
exec <> "$port" >&0
while read -r id command; do
	printf %s "$command" | base64 -d > /run/agent.command
	sh /run/agent.command < /dev/null > /run/agent.out 2> /run/agent.err
	status=$?
	printf '%s %s =%s =%s\\n' "$id" "$status" "$(base64 -w0 /run/agent.out)" "$(base64 -w0 /run/agent.err)"
done
`;

/** Makes a disk of a Debian tree, which is given what runs commands in it. @returns the file */
export function diskOf(tree: string, file: string): string {
  writeFileSync(join(tree, 'root/agent.sh'), agent, { mode: 0o755 });
  const unit = 'etc/systemd/system/agent.service';
  writeFileSync(
    join(tree, unit),
    '[Service]\nExecStart=/root/agent.sh\nRestart=always\n[Install]\nWantedBy=multi-user.target\n',
  );
  const wanted = join(tree, 'etc/systemd/system/multi-user.target.wants/agent.service');
  if (!existsSync(wanted)) symlinkSync(`/${unit}`, wanted);
  // Without udev nothing tells systemd of the console, for which a login would wait a minute and a half.
  const login = join(tree, 'etc/systemd/system/serial-getty@ttyAMA0.service');
  if (!existsSync(login)) symlinkSync('/dev/null', login);
  const kibibytes = Number(execFileSync('du', ['-sk', tree], { encoding: 'utf8' }).split('\t')[0]);
  const options = ['-q', '-F', '-t', 'ext4', '-d', tree, file, `${Math.ceil(kibibytes * 1.2) + 800_000}k`];
  execFileSync('mke2fs', options, { stdio: ['ignore', 'ignore', 'inherit'] });
  return file;
}

/** @param disk of `diskOf`; what is written to it stays */
export async function bootVirtual(disk: string): Promise<Machine> {
  const kernel = cloudKernel();
  const folder = mkdtempSync(join(tmpdir(), 'machine-'));
  const socket = join(folder, 'control');
  const qemu = spawn(
    'qemu-system-aarch64',
    [
      ...['-M', 'virt', '-accel', 'tcg,thread=multi', '-cpu', 'cortex-a72', '-smp', '2', '-m', '1500'],
      ...['-nodefaults', '-nographic', '-no-reboot', '-serial', `file:${join(folder, 'console')}`],
      ...['-kernel', kernel.image, '-initrd', kernel.initramfs],
      ...['-append', 'console=ttyAMA0 panic=-1 rw quiet systemd.show_status=no'],
      ...[
        '-drive',
        `file=${disk},format=raw,if=none,id=disk,cache=unsafe`,
        '-device',
        'virtio-blk-pci,drive=disk',
      ],
      ...['-device', 'virtio-serial-pci', '-chardev', `socket,id=control,path=${socket},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=control,name=control'],
      ...[
        '-netdev',
        'user,id=net',
        '-device',
        'virtio-net-pci,netdev=net,romfile=',
        '-device',
        'virtio-rng-pci',
      ],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const ended = once(qemu, 'exit');
  const control = await controlOf(qemu, socket);
  const machine: Machine = {
    async run(...command) {
      const { status, stdout, stderr } = await control.run(command);
      if (status !== 0) throw new Error(`${command.join(' ')}: ended with ${status}: ${stdout}${stderr}`);
      return stdout.trim();
    },
    async until(command, accepts, limitMs = 600_000) {
      const deadline = Date.now() + limitMs;
      for (;;) {
        const output = (await control.run(command)).stdout.trim();
        if (accepts(output)) return output;
        if (Date.now() > deadline) throw new Error(`${command.join(' ')}: still ${output.slice(-2000)}`);
        await delay(500);
      }
    },
    property: (unit, name) => machine.run('systemctl', 'show', '-P', name, unit),
    async connect() {
      await machine.run('ip', 'address', 'replace', '10.0.2.15/24', 'dev', 'eth0');
      await machine.run('ip', 'link', 'set', 'eth0', 'up');
      await machine.run('ip', 'route', 'replace', 'default', 'via', hostAddress);
    },
    async disconnect() {
      await machine.run('ip', 'link', 'set', 'eth0', 'down');
    },
    async powerOff() {
      if (qemu.exitCode === null) {
        control.run(['systemctl', '--no-block', 'poweroff']).catch(() => undefined);
        const timer = setTimeout(() => qemu.kill('SIGKILL'), longestPowerOffMs);
        await ended;
        clearTimeout(timer);
      }
      control.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await machine.until(['systemctl', 'is-system-running'], (output) => /^(running|degraded)$/.test(output));
  return machine;
}

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Control {
  /** Runs a command inside, after those that were asked for before. */
  run(command: readonly string[]): Promise<Result>;
  end(): void;
}

/** The serial line to the agent inside, which takes what was sent once it is there. */
async function controlOf(qemu: ChildProcess, path: string): Promise<Control> {
  const line = await connected(qemu, path);
  const waiting = new Map<string, { resolve(result: Result): void; reject(error: Error): void }>();
  const decode = (text = '') => Buffer.from(text.slice(1), 'base64').toString();
  const lines = createInterface({ input: line });
  // Its end is told by the machine's own.
  lines.on('error', () => undefined);
  lines.on('line', (text) => {
    const [id = '', status, stdout, stderr] = text.split(' ');
    waiting.get(id)?.resolve({ status: Number(status), stdout: decode(stdout), stderr: decode(stderr) });
    waiting.delete(id);
  });
  line.on('error', () => undefined);
  qemu.once('exit', (status) => {
    for (const { reject } of waiting.values()) reject(new Error(`the machine ended with ${status}`));
    waiting.clear();
  });
  let count = 0;
  return {
    run(command) {
      const id = `${++count}`;
      const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
      return new Promise((resolve, reject) => {
        if (qemu.exitCode !== null) reject(new Error('the machine has ended'));
        waiting.set(id, { resolve, reject });
        line.write(`${id} ${Buffer.from(quoted).toString('base64')}\n`);
      });
    },
    end: () => line.destroy(),
  };
}

async function connected(qemu: ChildProcess, path: string): Promise<Socket> {
  for (;;) {
    if (qemu.exitCode !== null) throw new NotHere(`qemu ended with ${qemu.exitCode}`);
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch {
      // Not yet there.
      await delay(50);
    }
  }
}
