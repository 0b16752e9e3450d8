import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { version as kernelVersion, release } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../adapters/clock.ts';
import { readOwn } from '../adapters/disk/durableFile.ts';
import { ownerOf } from '../adapters/disk/lockStatus.ts';
import { hostDefaults } from '../adapters/host.ts';
import { readRegularFile } from '../adapters/regularFile.ts';
import { type ArchivedFile, tarArchive } from '../adapters/tarArchive.ts';
import { exportedItems, type Sources, stateDirOf } from '../config/resolve.ts';
import { describe } from '../errors/onboardingError.ts';
import { credentialsOf, maskSecrets, textsOf } from '../services/diagnostics/secrets.ts';
import { identityItems } from '../services/onboarding/exportFiles.ts';
import { files, parseState } from '../services/state/deviceState.ts';
import { plainText } from '../text/plainText.ts';
import { runChecks } from './check.ts';
import { layOut, terminalOf } from './format/terminal.ts';
import { type Build, type CommonFlags, exit, readSources } from './options.ts';
import { lookAtStatus } from './status.ts';

const mostLogLines = 5_000;
const journalMs = 20_000;

/** `onboardd bundle [FILE]`: everything that support asks for as one `.tar.gz`, secrets masked. @returns exit status */
export async function bundleCommand(
  file: string | undefined,
  flags: CommonFlags,
  build: Build,
): Promise<number> {
  const now = systemClock.now();
  const stamp = new Date(now).toISOString().replace(/[-:]|\..*/g, '');
  const path = file ?? `onboardd-bundle-${stamp}.tar.gz`;
  const { sources, files: read } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const { checks, warnings, ok } = await runChecks(flags, build);
  const parts: ArchivedFile[] = [
    { name: 'status.json', text: json(await lookAtStatus(flags, build.version)) },
    { name: 'check.json', text: json({ ok, checks, warnings }) },
    { name: 'versions.txt', text: versions(build.version) },
    { name: 'files.txt', text: listing(folder) },
    { name: 'environment.txt', text: environment(sources.environment) },
    ...Object.entries(read).map(([option, from], index) => ({
      name: `configuration-${index}.txt`,
      text: `# ${option}: ${from}\n${attempt(() => readRegularFile(from) ?? 'does not exist')}\n`,
    })),
    { name: 'log.txt', text: journal() },
  ];
  const secrets = secretsOf(folder, parts, sources);
  const masked = parts.map(({ name, text }) => ({
    name: `onboardd/${name}`,
    text: maskSecrets(text, secrets),
  }));
  try {
    writeFileSync(path, tarArchive(masked, now), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    process.stderr.write(`onboardd: cannot write ${plainText(path)}: ${describe(error)}\n`);
    return exit.failed;
  }
  const names = parts.map(({ name }) => name).join(', ');
  const done = `${plainText(path)}: ${names}; secrets are masked, read it before you send it`;
  process.stdout.write(
    `${layOut([{ text: done, hang: 2 }], terminalOf(process.stdout, process.env)).join('\n')}\n`,
  );
  return exit.ok;
}

/** What is secret on this device: its key, tokens, passwords of URLs, and all that the fleet's result holds. */
function secretsOf(folder: string, parts: readonly ArchivedFile[], sources: Sources): string[] {
  const text = (name: string) => secretIn(() => readOwn(join(folder, name)));
  const key = text(files.key)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('-----'));
  const all = parts.map((part) => part.text).join('\n');
  const tokens = [...all.matchAll(/"?tokenFile"?\s*[:=]\s*"?([^"\s,}]+)|TOKEN_FILE=(\S+)/g)].flatMap(
    ([, quoted = '', plain = '']) => [quoted, plain].filter((path) => path !== ''),
  );
  const state = text(files.state);
  return [
    ...key,
    ...[...tokens, ...secretExports(sources)].flatMap((path) =>
      partsOf(secretIn(() => readRegularFile(path))),
    ),
    ...resultTexts(state, text(files.registration)),
    ...credentialsOf(all),
    ...credentialsOf(state),
  ];
}

/** Files with a field of the fleet's result or with the key: a state that is lost does not tell what they hold. */
function secretExports(sources: Sources): string[] {
  return exportedItems(sources)
    .filter(([item]) => !Object.hasOwn(identityItems, item) || /key/i.test(item))
    .map(([, path]) => path);
}

/** The whole, each line, and of a line such as `user token` what follows the user. */
function partsOf(text: string): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  const words = lines.length > 2 ? [] : lines.flatMap((line) => line.split(/\s+/).slice(1));
  return [text.trim(), ...lines.filter((line) => !line.startsWith('-----')), ...words];
}

/** @returns what is read; empty if it cannot be: why not is no secret */
function secretIn(read: () => string | null): string {
  try {
    return read() ?? '';
  } catch {
    return '';
  }
}

/** The texts of the fleet's result, but for what everybody may know. @param copy if the state cannot be read */
function resultTexts(stateText: string, copy: string): string[] {
  const known = new Set(['success']);
  let result = copy;
  try {
    const { deviceId, registration } = parseState(stateText);
    if (registration !== null) result = registration.result;
    known.add(deviceId).add(registration?.alias ?? deviceId);
  } catch {
    // The copy has the same secrets.
  }
  try {
    const texts = textsOf(JSON.parse(result)).filter((text) => !known.has(text));
    return texts.flatMap((text) => [
      text,
      ...text.split(/\\n|\n/).filter((line) => !line.startsWith('-----')),
    ]);
  } catch {
    return [];
  }
}

function listing(folder: string): string {
  const line = (name: string) => {
    const path = join(folder, name);
    const { mode, size, mtime } = lstatSync(path);
    const owner = ownerOf(path) ?? '?';
    return `${(mode & 0o7777).toString(8).padStart(4, '0')} ${owner} ${size} ${mtime.toISOString()} ${name}`;
  };
  return `${folder}\n${attempt(() => ['.', ...readdirSync(folder).sort()].map(line).join('\n'))}\n`;
}

function environment(variables: Readonly<Record<string, string | undefined>>): string {
  const own = Object.entries(variables).filter(([name]) => name.startsWith('ONBOARDD_'));
  return `${own.map(([name, value]) => `${name}=${value}`).join('\n')}\n`;
}

function versions(version: string): string {
  const { node, openssl } = process.versions;
  const system = attempt(
    () => /^PRETTY_NAME=(.*)$/m.exec(readRegularFile('/etc/os-release') ?? '')?.[1] ?? '?',
  );
  const systemd = outputOf('systemctl', ['--version']).split('\n')[0];
  return `${[
    `onboardd ${version}`,
    `node ${node}, openssl ${openssl}, ${process.arch}`,
    `system ${system}`,
    `kernel ${release()} ${kernelVersion()}`,
    `systemd ${systemd}`,
  ].join('\n')}\n`;
}

/**
 * What has control characters comes from the journal as a list of bytes, the value of a field, in which no secret would be found.
 * A list within a text stays: a quote would stand before its end.
 */
export function withTexts(lines: string): string {
  return lines.replace(/(?<=[^\\]":)\[\d{1,3}(?:,\d{1,3})*\](?=[,}])/g, (bytes) =>
    JSON.stringify(Buffer.from(bytes.slice(1, -1).split(',').map(Number)).toString('utf8')),
  );
}

/** The last lines of the unit, in the form that `onboardd report` reads. */
function journal(): string {
  const lines = outputOf('journalctl', [
    ...['--unit', 'onboardd', '--lines', String(mostLogLines), '--output', 'json', '--no-pager'],
  ]);
  return withTexts(lines);
}

function outputOf(command: string, args: readonly string[]): string {
  const { stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: journalMs,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) return `${command} cannot be run: ${describe(error)}\n`;
  return stdout === '' ? stderr : stdout;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** @returns what is read, or why it cannot be */
function attempt(read: () => string): string {
  try {
    return read();
  } catch (error) {
    return `cannot be read: ${describe(error)}`;
  }
}
