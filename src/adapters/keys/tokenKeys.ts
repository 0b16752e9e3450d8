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
  const labelOf = (name: string) => (Object.hasOwn(labels, name) ? `${object}${labels[name]}` : null);
  const find = (name: string) => {
    const label = labelOf(name);
    const key = label === null ? null : token.find(label);
    return key && referenceTo(token, key);
  };
  const put = (name: string, label: string, reference: string, directory: StateDirectory) => {
    const { id } = keyOf(reference);
    if (token.find(label)?.id !== id) {
      token.destroy(label);
      token.relabel(id, label);
    }
    directory.remove(name);
  };
  const destroy = (name: string) => {
    const label = labelOf(name);
    if (label !== null) token.destroy(label);
    if (name === files.key) token.destroy(`${object}${newLabel}`);
  };
  return {
    over: (directory) => ({
      ...directory,
      read: (name) => find(name) ?? directory.read(name),
      write(name, text, mode) {
        const label = labelOf(name);
        if (label !== null && isInToken(text)) return put(name, label, text, directory);
        directory.write(name, text, mode);
        if (label !== null) token.destroy(label);
      },
      quarantine(name) {
        const label = labelOf(name);
        if (label === null || token.find(label) === null) return directory.quarantine(name);
        throw new OnboardingError('STATE_CORRUPT', `the key "${label}" of the token cannot be used`);
      },
      remove(name) {
        const label = labelOf(name);
        if (label !== null) token.destroy(label);
        directory.remove(name);
      },
    }),
    find,
    async generate() {
      const label = `${object}${newLabel}`;
      const left = token.find(label);
      if (left !== null) return referenceTo(token, left);
      // Half a pair, which no request was signed with
      token.destroy(label);
      return referenceTo(token, await token.generate(label, keyType));
    },
    names: () =>
      Object.keys(labels).filter(
        (name) =>
          token.holds(`${object}${labels[name]}`) ||
          (name === files.key && token.holds(`${object}${newLabel}`)),
      ),
    destroy,
  };
}
