import type { TokenSetting } from '../../config/tokenUri.ts';
import { OnboardingError } from '../../errors/onboardingError.ts';
import type { Token } from '../../pkcs11/part.ts';
import { files, type StateDirectory } from '../../services/state/deviceState.ts';
import { isInToken, keyOf, referenceTo } from './keyReference.ts';

/** Label of a key that was made and is not in use yet: a kill leaves one there, and the next attempt takes it. */
const newLabel = '.new';
/** What follows the label of the setting */
const labels: Readonly<Record<string, string>> = {
  [files.key]: '',
  [files.nextKey]: '.next',
  [files.previousKey]: '.previous',
};

export interface TokenKeys {
  /** The state directory with its keys in the token: what is read and written there is a reference to the key. */
  over(directory: StateDirectory): StateDirectory;
  /** @returns a reference to the key that the token holds for the name of a key file; null: none */
  find(name: string): string | null;
  /** @returns a reference to a new key, or to one that an interrupted attempt left */
  generate(): Promise<string>;
  /** Names of the key files for which the token holds something */
  names(): string[];
  /** Destroys what the token holds for the name of a key file. */
  destroy(name: string): void;
}

/**
 * Keys that lie in a token, told apart by their labels as key files are by their names. A key is relabelled where a file
 * would be copied: what it replaces is destroyed before, so that there is never a second key of one name. A device that
 * has its key in a file keeps it there until it gets another one.
 */
export function tokenKeys(
  token: Token,
  { object, keyType }: Pick<TokenSetting, 'object' | 'keyType'>,
): TokenKeys {
  const made = `${object}${newLabel}`;
  const labelOf = (name: string) => (Object.hasOwn(labels, name) ? `${object}${labels[name]}` : null);
  const find = (name: string) => {
    const label = labelOf(name);
    const key = label === null ? null : token.find(label);
    return key && referenceTo(token, key);
  };
  const destroy = (name: string) => {
    const label = labelOf(name);
    if (label !== null) token.destroy(label);
  };
  const put = (name: string, reference: string) => {
    const label = labelOf(name) ?? '';
    const { id } = keyOf(reference);
    if (token.find(label)?.id === id) return;
    token.destroy(label);
    token.relabel(id, label);
  };
  return {
    over: (directory) => overlay(directory, { labelOf, find, put, destroy }),
    find,
    async generate() {
      const left = token.find(made);
      if (left !== null) return referenceTo(token, left);
      // Half a pair, which no request was signed with
      token.destroy(made);
      return referenceTo(token, await token.generate(made, keyType));
    },
    names: () =>
      Object.keys(labels).filter(
        (name) => token.holds(labelOf(name) ?? '') || (name === files.key && token.holds(made)),
      ),
    destroy(name) {
      destroy(name);
      if (name === files.key) token.destroy(made);
    },
  };
}

interface Held {
  /** Null: the file is not that of a key */
  readonly labelOf: (name: string) => string | null;
  readonly find: (name: string) => string | null;
  readonly put: (name: string, reference: string) => void;
  readonly destroy: (name: string) => void;
}

function overlay(directory: StateDirectory, { labelOf, find, put, destroy }: Held): StateDirectory {
  return {
    ...directory,
    read: (name) => find(name) ?? directory.read(name),
    write(name, text, mode) {
      if (labelOf(name) !== null && isInToken(text)) {
        put(name, text);
        directory.remove(name);
      } else {
        directory.write(name, text, mode);
        destroy(name);
      }
    },
    quarantine(name) {
      if (find(name) === null) return directory.quarantine(name);
      throw new OnboardingError('STATE_CORRUPT', `the key "${labelOf(name)}" of the token cannot be used`);
    },
    remove(name) {
      destroy(name);
      directory.remove(name);
    },
  };
}
