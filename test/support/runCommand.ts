import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Device, programFile } from './program.ts';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the program while the fleet, which lives in this process, answers. */
export const runCommand = (device: Device, ...args: string[]) => runCommandIn({}, device, ...args);

/** The same, with more in its environment. */
export async function runCommandIn(
  environment: Readonly<Record<string, string>>,
  device: Device,
  ...args: string[]
): Promise<CommandResult> {
  const child = spawn(process.execPath, [programFile, ...args, '--config', device.configFile], {
    env: { ...process.env, ...environment },
  });
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
