import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Device, programFile } from './program.ts';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the program while the fleet, which lives in this process, answers. */
export async function runCommand(device: Device, ...args: string[]): Promise<CommandResult> {
  const child = spawn(process.execPath, [programFile, ...args, '--config', device.configFile]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const [status] = await once(child, 'close');
  return { status, stdout, stderr };
}
