import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type GeneratedKeyType, keyTypes } from '../config/tokenUri.ts';
import { generateKey } from './keyPair.ts';

/**
 * A new device's key is begun as soon as this module is loaded, on a thread of its own, while the other modules load. The
 * launcher (src/launch.ts) loads it before the bundle, which finds what the launcher began. The command line and the
 * configuration are only guessed from here: a guess that is wrong costs the time of a key. Nothing is written.
 */
const largestConfigBytes = 1_000_000;

/** What a start needs that has no key yet; null: not a start of the daemon, or it has one. */
export function guessKeyType(
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
): GeneratedKeyType | null {
  try {
    const [command, ...rest] = argv.slice(2);
    if (command !== 'run' || rest.some((arg) => arg.startsWith('--env-file'))) return null;
    const config = readConfig(flagOf(rest, '--config') ?? '/etc/onboardd/config.json');
    const { ONBOARDD_STATE_DIR, ONBOARDD_IDENTITY_KEY_TYPE, STATE_DIRECTORY } = environment;
    const usual = STATE_DIRECTORY?.split(':')[0] || '/var/lib/onboardd';
    const stateDir = flagOf(rest, '--state-dir') ?? ONBOARDD_STATE_DIR ?? config.stateDir ?? usual;
    const type = ONBOARDD_IDENTITY_KEY_TYPE ?? config.identity?.keyType ?? 'rsa-2048';
    if (typeof stateDir !== 'string' || existsSync(join(stateDir, 'identity.key'))) return null;
    return keyTypes.find((known) => known === type) ?? null;
  } catch {
    return null;
  }
}

interface Guessed {
  readonly stateDir?: string;
  readonly identity?: { readonly keyType?: string };
}

/** @returns an empty object if there is no file. @throws {Error} if it is not a small regular file with valid JSON */
function readConfig(path: string): Guessed {
  const at = statSync(path, { throwIfNoEntry: false });
  if (at === undefined) return {};
  if (!at.isFile() || at.size > largestConfigBytes) throw new Error('not a small file');
  return JSON.parse(readFileSync(path, 'utf8'));
}

function flagOf(args: readonly string[], name: string): string | undefined {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
  if (at === -1) return undefined;
  return args[at] === name ? args[at + 1] : args[at]?.slice(name.length + 1);
}

interface EarlyKey {
  readonly type: GeneratedKeyType;
  /** PKCS#8 PEM */
  readonly pem: Promise<string>;
}

function begin(type: GeneratedKeyType | null): EarlyKey | null {
  if (type === null) return null;
  const pem = generateKey(type);
  // Whoever takes it hears of the failure.
  pem.catch(() => undefined);
  return { type, pem };
}

const place = Symbol.for('onboardd.earlyKey');
const shared = globalThis as { [place]?: EarlyKey | null };
if (shared[place] === undefined) shared[place] = begin(guessKeyType(process.argv, process.env));

/** @returns the key whose generation began at the start, once; null: there is none of this type */
export function takeEarlyKey(type: GeneratedKeyType): Promise<string> | null {
  const taken = shared[place];
  shared[place] = null;
  // What the launcher failed at is tried once more: its stack would name no line of the source.
  return taken?.type === type ? taken.pem.catch(() => generateKey(type)) : null;
}
