import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';

/** The built program, as package.json names it. */
export const programFile = fileURLToPath(new URL('../../dist/onboardd.cjs', import.meta.url));

/** A line of the log. */
export type Line = Readonly<Record<string, unknown>> & { readonly event: string };

/** One device: a state directory and a configuration file in a temporary folder. */
export interface Device {
  readonly stateDir: string;
  readonly configFile: string;
  /** Further options of `run` */
  readonly args?: readonly string[];
}

const schemas = formats
  .default(new Ajv2020({ strictTypes: false }))
  .addSchema(
    JSON.parse(readFileSync(new URL('../../docs/events.schema.json', import.meta.url), 'utf8')),
    'events',
  );

/** Holds a line to docs/events.schema.json. @throws {Error} which says what is wrong with it */
export function checkLine(line: Line): void {
  const valid = schemas.getSchema(`events#/$defs/${line.event}`);
  const wrong =
    valid === undefined ? 'there is no such event' : !valid(line) && schemas.errorsText(valid.errors);
  if (wrong) throw new Error(`a line that is not in the catalogue: ${wrong}: ${JSON.stringify(line)}`);
}

const folders = new Set<string>();
const children = new Set<ChildProcess>();
const quick = { initialMs: 50, maxMs: 500, factor: 2, failedAfterMs: 1000 };

/**
 * @param config sections of the configuration. Without them waits are short, and the key is one that takes no time to make.
 *     An `identity` without `keyType`, or `undefined`, is that of a device whose configuration does not say: RSA.
 */
export function newDevice(config: Record<string, unknown>): Device {
  const folder = temporaryFolder();
  const configFile = join(folder, 'config.json');
  const stateDir = join(folder, 'state');
  writeFileSync(
    configFile,
    JSON.stringify({
      stateDir,
      device: { type: 'mobile' },
      retry: quick,
      identity: { keyType: 'ec-p256' },
      log: { format: 'json' },
      ...config,
    }),
  );
  return { stateDir, configFile };
}

/** A folder that goes with the devices. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'device-'));
  folders.add(folder);
  return folder;
}

export function killPrograms(): void {
  for (const child of children) child.kill('SIGKILL');
}

/** Ends the programs that still run, and removes the folders of all devices. */
export function removeDevices(): void {
  killPrograms();
  for (const folder of folders) {
    // Whether or not it can be removed: who comes after has nothing to do with it.
    folders.delete(folder);
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

export interface Running {
  readonly child: ChildProcess;
  readonly lines: Line[];
  readonly stderr: () => string;
  /** Resolves with the first line, past or to come, that the test accepts; rejects where the program ends before. */
  until(accepts: (line: Line) => boolean): Promise<Line>;
  /** Exit status, or the signal's name; rejects where a line of its log is not in the catalogue */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** Starts `onboardd run` as its own process. */
export function start(
  device: Device,
  args: string[] = [],
  env: Record<string, string> = {},
  onLine: (line: Line) => void = () => {},
): Running {
  const child = spawn(process.execPath, [programFile, 'run', '--config', device.configFile, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  let stderr = '';
  let closed = false;
  let flaw: unknown;
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const notify = () => {
    for (const look of [...waiting]) look();
  };
  const output = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  output.on('line', (line) => {
    const parsed = JSON.parse(line) as Line;
    try {
      checkLine(parsed);
    } catch (error) {
      flaw ??= error;
    }
    lines.push(parsed);
    onLine(parsed);
    notify();
  });
  const ended = Promise.all([once(child, 'exit'), once(output, 'close')]).then(([[code, signal]]) => {
    closed = true;
    notify();
    if (flaw) throw flaw;
    return (code ?? signal) as number | NodeJS.Signals;
  });
  const until = (accepts: (line: Line) => boolean) =>
    new Promise<Line>((resolve, reject) => {
      const look = () => {
        const line = lines.find(accepts);
        if (line === undefined && flaw === undefined && !closed) return;
        waiting.delete(look);
        if (flaw) reject(flaw);
        else if (line) resolve(line);
        else reject(new Error(`the program ended before: ${JSON.stringify(lines.slice(-5))} ${stderr}`));
      };
      waiting.add(look);
      look();
    });
  return { child, lines, stderr: () => stderr, until, ended };
}

/** Runs the program to its end. @param timeoutMs after which it is killed, where it might not end by itself */
export function runToEnd(args: string[], env: Record<string, string> = {}, timeoutMs?: number) {
  return spawnSync(process.execPath, [programFile, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: 'SIGKILL' as const }),
  });
}
