import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import {
  makeDirectory,
  type Owner,
  openStateDirectory,
  readOwned,
  temporaryOf,
} from '../adapters/disk/durableFile.ts';
import { lockDirectory } from '../adapters/disk/lock.ts';
import { refusalOfStateDirectory } from '../adapters/disk/lockedStateDirectory.ts';
import { type Removal, reasonToLeave, removeUnlessLeft } from '../adapters/disk/removal.ts';
import { createHooks } from '../adapters/hooks.ts';
import { hostDefaults } from '../adapters/host.ts';
import { keyStoreOf } from '../adapters/keys/keyStore.ts';
import type { TokenKeys } from '../adapters/keys/tokenKeys.ts';
import * as pki from '../adapters/pki.ts';
import { setRuntimeFlag } from '../adapters/runtimeFlag.ts';
import { exportsOf, keyTypeOf, resolveConfig, type Sources, stateDirOf } from '../config/resolve.ts';
import { isTokenUri } from '../config/tokenUri.ts';
import { OnboardingError } from '../errors/onboardingError.ts';
import { remedyOf } from '../errors/reasons.ts';
import { describeStatus, progressOf } from '../services/diagnostics/status.ts';
import { type DeviceState, files, isDeviceId, parseState } from '../services/state/deviceState.ts';
import { ownMode } from '../services/state/ownFiles.ts';
import { filesToRemove, forget } from '../services/state/reset.ts';
import { plainText } from '../text/plainText.ts';
import { layOut, terminalOf } from './format/terminal.ts';
import {
  type CommonFlags,
  exit,
  publishedStatusFile,
  readSources,
  refusedStateDirectory,
} from './options.ts';
import { recallFor } from './recalledProgress.ts';

export interface ResetFlags extends CommonFlags {
  /** Do not ask for confirmation. */
  readonly yes?: boolean;
  /** The device keeps its id. */
  readonly keepId?: boolean;
}

/** `onboardd reset`. @returns exit status */
export async function resetCommand(flags: ResetFlags, version: string): Promise<number> {
  const { sources, agent } = await readSources(flags);
  const folder = stateDirOf(sources, hostDefaults(process.env));
  const keepsId = flags.keepId === true;
  if (isRefused(folder)) return exit.configuration;
  const token = tokenOf(sources);
  if ('status' in token) return token.status;
  const { keys } = token;
  const holdsKeys = keys.names().length > 0;
  if (!existsSync(folder) && !holdsKeys) {
    process.stdout.write(`${plainText(folder)} does not exist: nothing to forget\n`);
    return exit.ok;
  }
  const outside = {
    exports: exportsOf(sources).map((path) => resolve(path)),
    agent: Object.values(agent.files).flatMap((path) => (path === null ? [] : [resolve(path)])),
  };
  show(folder, outside, keepsId, keys);
  if (flags.yes !== true && !(await confirmed(questionOf(folder, keepsId)))) {
    process.stderr.write(
      process.stdin.isTTY
        ? 'Nothing was changed.\n'
        : 'onboardd: reset needs --yes if standard input is not a terminal\n',
    );
    return process.stdin.isTTY ? exit.failed : exit.usage;
  }
  try {
    // The lock, and what the reset has done so far, lie in it.
    if (holdsKeys) makeDirectory(folder);
    const unlock = lockDirectory(folder);
    // The path may lead elsewhere by the time the question is answered.
    const refused = isRefused(folder);
    if (!refused) {
      const before = statusBefore(folder, version);
      forgetIn(folder, { outside, keepsId, keys });
      forgetPublished(flags);
      await runHooks(sources, before);
    }
    unlock();
    return refused ? exit.configuration : exit.ok;
  } catch (error) {
    if (!(error instanceof OnboardingError)) throw error;
    process.stderr.write(`onboardd: ${error.code}: ${plainText(error.message)}\n`);
    return error.code === 'STATE_LOCKED' ? exit.locked : exit.failed;
  }
}

/** What of the identity lies in a token; nothing for a device with its key in a file. */
type HeldKeys = Pick<TokenKeys, 'names' | 'destroy'>;

/** The token, looked at once: one that cannot be reached ends the command before anything is changed. */
function tokenOf(sources: Sources): { readonly keys: HeldKeys } | { readonly status: number } {
  const none: HeldKeys = { names: () => [], destroy: () => undefined };
  const keyType = keyTypeOf(sources);
  if (typeof keyType !== 'string' || !isTokenUri(keyType)) return { keys: none };
  try {
    const keys = keyStoreOf({ keyType: keyType as `pkcs11:${string}` }) ?? none;
    keys.names();
    return { keys };
  } catch (error) {
    if (error instanceof OnboardingError) {
      const { code, reason, message } = error;
      process.stderr.write(`onboardd: ${code}: ${plainText(message)}\n${remedyOf(code, reason)}\n`);
      return { status: exit.failed };
    }
    const { message } = error as Error;
    process.stderr.write(`onboardd: CONFIG_INVALID: identity.keyType: ${plainText(message)}\n`);
    return { status: exit.configuration };
  }
}

function questionOf(folder: string, keepsId: boolean): string {
  const loss = keepsId
    ? 'The device keeps its id and registers anew with a fresh key.'
    : 'The fleet will not recognize this device any more.';
  const question = `Forget the identity in ${plainText(folder)}? ${loss} [y/N]`;
  return `${layOut([{ text: question }], terminalOf(process.stdout, process.env)).join('\n')} `;
}

/** Prints why, if the folder is not a state directory. */
function isRefused(folder: string): boolean {
  const refusal = refusalOfStateDirectory(folder);
  if (refusal === null) return false;
  process.stderr.write(`onboardd: CONFIG_INVALID: ${plainText(refusedStateDirectory(folder, refusal))}\n`);
  return true;
}

/**
 * It is the service manager's place: what cannot be removed there goes with the next boot. Units that are bound to the
 * registration are stopped.
 */
function forgetPublished(flags: CommonFlags): void {
  const path = publishedStatusFile(flags);
  if (path === null) return;
  const folder = dirname(path);
  setRuntimeFlag(folder, 'unregistered', true);
  // A daemon that was killed left `registered` there.
  for (const left of [join(folder, 'registered'), path]) {
    try {
      rmSync(left, { force: true });
    } catch {
      // It is replaced once the daemon runs.
    }
  }
}

/** What the hooks hear: whose identity was forgotten. */
function statusBefore(folder: string, version: string): object | null {
  const { state } = stateOf(folder);
  return (
    state &&
    describeStatus(state, progressOf(state, recallFor(folder)), { reader: pki, version, running: false })
  );
}

/** Runs the hooks, and waits for them. */
async function runHooks(sources: Sources, before: object | null): Promise<void> {
  const resolved = resolveConfig(sources, hostDefaults(process.env));
  if ('problems' in resolved) {
    process.stderr.write('onboardd: no hooks are run, as the configuration is invalid\n');
    return;
  }
  const hooks = createHooks(resolved.config.hooks.dir, (level, _event, message) => {
    if (level !== 'debug') process.stderr.write(`onboardd: ${plainText(message)}\n`);
  });
  hooks.run('reset', before);
  await hooks.idle();
}

/** Every file that will go, and every one that was exported and stays. */
function show(folder: string, outside: Outside, keepsId: boolean, keys: HeldKeys): void {
  for (const name of keys.names()) process.stdout.write(`will destroy ${name} in the token\n`);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const own = filesToRemove(names, keepsId).map((name) => ownRemoval(folder, name));
  const removable = removableOf(folder, outside, keys);
  for (const removal of [...own, ...exportsToRemove(stateOf(folder), removable)]) {
    const reason = reasonToLeave(removal);
    if (reason === undefined) continue;
    const what = reason === null ? `will remove ${removal.path}` : `will leave ${removal.path}: ${reason}`;
    process.stdout.write(`${plainText(what)}\n`);
  }
  const unknown = outside.exports.filter((path) => !removable.exports.includes(path) && existsSync(path));
  for (const path of unknown)
    process.stdout.write(plainText(`will leave ${path}: nothing says that onboardd wrote it`).concat('\n'));
  if (keepsId) process.stdout.write(`will keep the device id ${idOf(folder) ?? '(there is none)'}\n`);
}

interface Forgotten {
  readonly outside: Outside;
  readonly keepsId: boolean;
  readonly keys: HeldKeys;
}

/** @throws {OnboardingError} STATE_* */
function forgetIn(folder: string, { outside, keepsId, keys }: Forgotten): void {
  const found = stateOf(folder);
  const removable = removableOf(folder, outside, keys);
  const ports = {
    directory: openStateDirectory(folder, undefined, ownMode),
    list: () => [...new Set([...keys.names(), ...readdirSync(folder)])],
    remove(name: string) {
      const isInToken = keys.names().includes(name);
      if (isInToken) {
        keys.destroy(name);
        process.stdout.write(`destroyed ${name} in the token
`);
      }
      return remove(ownRemoval(folder, name)) || isInToken;
    },
    removeExports: () => exportsToRemove(found, removable).forEach(remove),
    deviceId: () => idOf(folder),
  };
  forget(ports, found.state, keepsId);
}

function idOf(folder: string): string | null {
  const { state } = stateOf(folder);
  if (state !== null) return state.deviceId;
  try {
    const id = readOwned(join(folder, files.deviceId))?.text.trim();
    return isDeviceId(id) ? id : null;
  } catch {
    return null;
  }
}

function ownRemoval(folder: string, name: string): Removal {
  return { path: join(folder, name), user: null, contents: null };
}

/** Absolute paths outside the state directory. */
interface Outside {
  /** That the configuration exports now */
  readonly exports: readonly string[];
  /** Of the earlier agent: an identity that stayed there would be adopted again. */
  readonly agent: readonly string[];
}

/**
 * What was ever exported, what the configuration names, and what the earlier agent left. An export that the state never
 * wrote to is somebody else's; where a state cannot be read, the configuration is all that says where secrets may lie.
 */
function exportsToRemove({ state, user }: Found, { exports, agent }: Outside): Removal[] {
  const ours = (path: string) => ({ path, user: null, contents: null });
  // A kill while it is written leaves a secret beside its place.
  const withTemporary = (removal: Removal) => [
    removal,
    { ...removal, path: temporaryOf(removal.path), contents: null },
  ];
  if (state === null) return [...new Set([...exports, ...agent])].map(ours).flatMap(withTemporary);
  const { exported, exportDigests } = state;
  const written = exported
    .filter((path) => !agent.includes(path))
    .map((path) => ({
      path,
      user: exports.includes(path) ? null : user,
      contents: exportDigests[path] ?? null,
    }));
  return [...written.flatMap(withTemporary), ...agent.map(ours)];
}

interface Found {
  /** As far as it can be read */
  readonly state: DeviceState | null;
  /** Who could have written what it says; null: root or we */
  readonly user: Owner | null;
}

function stateOf(folder: string): Found {
  try {
    const read = readOwned(join(folder, files.state));
    const owners = [statSync(folder), ...(read === null ? [] : [read.owner])];
    const other = process.geteuid?.() === 0 ? owners.find(({ uid }) => uid !== 0) : undefined;
    return { state: parseState(read?.text ?? ''), user: other ?? null };
  } catch {
    return { state: null, user: null };
  }
}

/**
 * Without the configured exports in a folder that holds nothing of onboardd's, where no key is in a token: nothing says that it
 * wrote there.
 */
function removableOf(folder: string, outside: Outside, keys: HeldKeys): Outside {
  const isEmpty = keys.names().length === 0 && filesToRemove(readdirSync(folder), false).length === 0;
  return isEmpty ? { ...outside, exports: [] } : outside;
}

/** Removes a file, and says so. @returns whether it is gone. @throws {OnboardingError} STATE_UNWRITABLE */
function remove(removal: Removal): boolean {
  const reason = removeUnlessLeft(removal);
  if (reason === undefined) return false;
  const what = reason === null ? `removed ${removal.path}` : `left ${removal.path}: ${reason}`;
  process.stdout.write(`${plainText(what)}\n`);
  return reason === null;
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl-C and Ctrl-D are a no: the question then fails, or with older versions of Node never settles.
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  const answer = await Promise.race([terminal.question(question).catch(() => ''), closed]);
  terminal.close();
  if (answer === '') process.stdout.write('\n');
  return /^y(es)?$/i.test(answer.trim());
}
