import { statSync } from 'node:fs';
import { systemClock } from '../adapters/clock.ts';
import { hostDefaults } from '../adapters/host.ts';
import { stateDirOf } from '../config/resolve.ts';
import type { Problem } from '../errors/reasons.ts';
import { problemsOf, type Status } from '../services/diagnostics/status.ts';
import { plainJson, plainText } from '../text/plainText.ts';
import { statusLines } from './format/status.ts';
import { terminalOf } from './format/terminal.ts';
import { lookAtConfiguration, lookAtDirectory } from './localChecks.ts';
import { type CommonFlags, configure, exit, publishedStatusFile, readSources } from './options.ts';
import { isUnreadable, readStatus, type Seen, type Unreadable, unreadableWords } from './readStatus.ts';

export interface StatusFlags extends CommonFlags {
  readonly json?: boolean;
  readonly watch?: boolean;
  readonly plain?: boolean;
}

const lookEveryMs = 500;

/** `onboardd status`. @returns exit status; with --watch that of the last state shown */
export async function statusCommand(flags: StatusFlags, version: string): Promise<number> {
  const look = await statusLook(flags, version);
  if (flags.watch) return await watch(look, flags.json ?? false, flags.plain ?? false);
  const seen = look();
  if (isUnreadable(seen)) process.stderr.write(complaint(seen));
  if (flags.json || !isUnreadable(seen)) process.stdout.write(shown(seen, flags.json ?? false));
  return exitOf(seen);
}

/** What `status` shows. */
export async function lookAtStatus(flags: CommonFlags, version: string): Promise<Seen> {
  return (await statusLook(flags, version))();
}

/** @returns a function that looks again; the configuration and the disk are looked at once */
async function statusLook(flags: CommonFlags, version: string): Promise<() => Seen> {
  const { sources } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const published = publishedStatusFile(flags);
  const problems = await problemsHere(flags, folder);
  return () => withProblems(readStatus(folder, version, published), problems);
}

/** What keeps the daemon from working, as `check` finds it on this device. Only the service's user and root can tell. */
async function problemsHere(flags: CommonFlags, folder: string): Promise<Problem[]> {
  const me = process.geteuid?.();
  const owner = uidOf(folder);
  if (me !== 0 && owner !== null && owner !== me) return [];
  return problemsOf([lookAtConfiguration(await configure(flags)), lookAtDirectory(folder)]);
}

function uidOf(path: string): number | null {
  try {
    return statSync(path).uid;
  } catch {
    return null;
  }
}

function withProblems(seen: Seen, problems: readonly Problem[]): Seen {
  // Why the state cannot be read is what is wrong here, in the words of `check`.
  if (isUnreadable(seen)) return problems.length === 0 ? seen : { ...seen, problems };
  return { ...seen, problems: [...seen.problems, ...problems] };
}

/** Nothing of a device whose state cannot be read is known. */
const unknown = {
  ...{ since: null, deviceId: null, alias: null, attempt: null, nextRetryAt: null, lastError: null },
  ...{ certificate: null, natsUrl: null, history: [], waitsFor: null },
};

function complaint(seen: Unreadable): string {
  return `onboardd: ${plainText(unreadableWords(seen))}\n`;
}

function shown(status: Seen, json: boolean): string {
  if (json) return `${plainJson(isUnreadable(status) ? { ...unknown, ...status } : status)}\n`;
  if (isUnreadable(status)) return complaint(status);
  const lines = statusLines(status, systemClock.now(), terminalOf(process.stdout, process.env));
  return `${lines.join('\n')}\n`;
}

function exitOf(seen: Seen): number {
  if (isUnreadable(seen)) return exit.notRegistered;
  return { registered: exit.ok, failed: exit.failed }[seen.state as 'registered'] ?? exit.notRegistered;
}

/** Only the verdict, in one line. */
function verdictOf(status: Status): string {
  const terminal = { ...terminalOf(process.stdout, process.env), columns: null };
  return `${statusLines(status, systemClock.now(), terminal)[0]}\n`;
}

/**
 * Redraws as time passes on a terminal that can; elsewhere prints again if something changed.
 *
 * @param plain after the first look one line for each change, as on a dumb terminal: a screen reader reads each redraw
 */
async function watch(look: () => Seen, json: boolean, plain: boolean): Promise<number> {
  const isDumb = process.stdout.isTTY && process.env.TERM === 'dumb';
  const isBrief = (plain || isDumb) && !json;
  const redraws = process.stdout.isTTY && !json && !isBrief;
  let last = '';
  let seen = look();
  const show = () => {
    seen = look();
    const key = JSON.stringify(seen);
    if (key === last && !redraws) return;
    const text = shown(seen, json);
    if (redraws) process.stdout.write(`\x1b[H\x1b[J${text}\nPress Ctrl-C to stop.\n`);
    else if (json) process.stdout.write(text);
    else if (isUnreadable(seen)) process.stderr.write(text);
    else if (isBrief && last !== '') process.stdout.write(verdictOf(seen));
    else process.stdout.write(last === '' ? text : `\n${text}`);
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
