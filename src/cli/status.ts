import { join } from 'node:path';
import { systemClock } from '../adapters/clock.ts';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { isLocked, ownerOf } from '../adapters/disk/lockStatus.ts';
import { hostDefaults } from '../adapters/host.ts';
import * as pki from '../adapters/pki.ts';
import { readRuntimeStatus } from '../adapters/runtimeStatus.ts';
import { stateDirOf } from '../config/resolve.ts';
import { describe, OnboardingError } from '../errors/onboardingError.ts';
import { remedyOf } from '../errors/reasons.ts';
import { type Status, statusOf } from '../services/diagnostics/status.ts';
import { files } from '../services/state/deviceState.ts';
import { plainJson, plainText } from '../text/plainText.ts';
import { statusLines } from './format/status.ts';
import { terminalOf } from './format/terminal.ts';
import { type CommonFlags, exit, publishedStatusFile, readSources } from './options.ts';
import { recallFor } from './recalledProgress.ts';

export interface StatusFlags extends CommonFlags {
  readonly json?: boolean;
  readonly watch?: boolean;
}

const lookEveryMs = 500;

/** `onboardd status`. @returns exit status; with --watch that of the last state shown */
export async function statusCommand(flags: StatusFlags, version: string): Promise<number> {
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const published = publishedStatusFile(flags);
  const look = () => read(folder, version, published);
  if (flags.watch) return await watch(look, flags.json ?? false);
  const seen = look();
  if ('problem' in seen) process.stderr.write(`onboardd: ${plainText(seen.problem)}\n`);
  else process.stdout.write(shown(seen, flags.json ?? false));
  return exitOf(seen);
}

type Seen = Status | { readonly problem: string };

/** @param published file to read if the state directory cannot be read; null: none */
function read(folder: string, version: string, published: string | null): Seen {
  const running = isLocked(folder);
  try {
    return statusOf(readOwn(join(folder, files.state)), recallFor(folder), { reader: pki, version, running });
  } catch (error) {
    const status = isDenied(error) && published !== null ? readRuntimeStatus(published) : null;
    if (status !== null) return { ...status, running };
    const daemon = running === null ? 'unknown' : running ? 'running' : 'not running';
    return { problem: `${isDenied(error) ? deniedTo(folder) : messageOf(error)}; daemon: ${daemon}` };
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof OnboardingError)) return describe(error);
  const remedy = remedyOf(error.code, error.reason).replace(/\.$/, '');
  return `${error.code}: ${error.message}; remedy: ${remedy}`;
}

function isDenied(error: unknown): boolean {
  const { cause } = error as { cause?: NodeJS.ErrnoException };
  return cause?.code === 'EACCES' || cause?.code === 'EPERM';
}

/** The state holds secrets: only its owner and root can read it. Without a published status, names the command that works. */
function deniedTo(folder: string): string {
  const owner = ownerOf(folder);
  const who = owner === null || owner === 'root' ? 'root' : `root and ${owner}`;
  const as = owner === null || owner === 'root' ? '' : `, or \`sudo -u ${owner} onboardd status\``;
  return `${join(folder, files.state)} holds secrets; only ${who} can read it: run \`sudo onboardd status\`${as}`;
}

function shown(status: Status, json: boolean): string {
  if (json) return `${plainJson(status)}\n`;
  const lines = statusLines(status, systemClock.now(), terminalOf(process.stdout, process.env));
  return `${lines.join('\n')}\n`;
}

function exitOf(seen: Seen): number {
  if ('problem' in seen) return exit.notRegistered;
  return { registered: exit.ok, failed: exit.failed }[seen.state as 'registered'] ?? exit.notRegistered;
}

/** Redraws as time passes on a terminal; elsewhere prints again if something changed. */
async function watch(look: () => Seen, json: boolean): Promise<number> {
  const redraws = process.stdout.isTTY && !json;
  let last = '';
  let seen = look();
  const show = () => {
    seen = look();
    const key = JSON.stringify(seen);
    if (key === last && !redraws) return;
    const text = 'problem' in seen ? `onboardd: ${plainText(seen.problem)}\n` : shown(seen, json);
    if (redraws) process.stdout.write(`\x1b[H\x1b[J${text}\nPress Ctrl-C to stop.\n`);
    else if ('problem' in seen) process.stderr.write(text);
    else process.stdout.write(last === '' || json ? text : `\n${text}`);
    last = key;
  };
  const end = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    // The reader closed the pipe: end the watch.
    process.stdout.once('error', () => resolve());
  });
  if (redraws) process.stdout.write('\x1b[2J');
  show();
  const timer = setInterval(show, lookEveryMs);
  await end;
  clearInterval(timer);
  return exitOf(seen);
}
