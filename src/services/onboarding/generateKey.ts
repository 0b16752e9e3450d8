import { OnboardingError } from '../../errors/onboardingError.ts';
import { currentState, files, type StateDirectory } from '../state/deviceState.ts';
import type { ReplaceReason } from './resume.ts';

export interface GenerateKeyPorts {
  readonly directory: StateDirectory;
  /** @returns a new private key, PKCS#8 PEM */
  readonly newKey: () => Promise<string>;
  /** Says that a key that had a certificate is replaced, once that is durable. */
  readonly onReplaced: (reason: ReplaceReason, deviceId: string) => void;
}

/**
 * Generates the device's key and returns once it is durable. No request may leave the device before: a power cut could
 * leave a certificate without its key. An existing key is kept.
 *
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export async function generateKey(
  { directory, newKey, onReplaced }: GenerateKeyPorts,
  signal: AbortSignal,
): Promise<void> {
  if (directory.read(files.key) !== null) return;
  const pem = await newKey();
  signal.throwIfAborted();
  directory.write(files.key, pem, 0o600);
  if (directory.read(files.key) !== pem) {
    throw new OnboardingError('STATE_UNWRITABLE', `${files.key} reads back differently than it was written`);
  }
  const { provisioned, deviceId } = currentState(directory);
  if (provisioned !== null) onReplaced('key-lost', deviceId);
}
