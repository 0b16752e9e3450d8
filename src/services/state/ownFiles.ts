import { files, isDeviceId } from './deviceState.ts';

const keys: readonly string[] = [files.key, files.nextKey, files.previousKey];

/** The files of the state directory in the order in which a reset removes them. */
export const ownFiles: readonly string[] = [
  ...keys,
  ...Object.values(files).filter((name) => !keys.includes(name) && name !== files.state),
  files.state,
];

const secrets: ReadonlySet<string> = new Set([
  files.key,
  files.nextKey,
  files.previousKey,
  files.state,
  files.registration,
]);

/** The required mode of a file; null: it depends on the content. */
export function ownMode(name: string): number | null {
  return secrets.has(name) ? 0o600 : null;
}

/** Whether a name is that of a file of the state directory, of a quarantined one, or of an interrupted write. */
export function isOwnFile(name: string): boolean {
  return ownFileOf(name) !== null;
}

/**
 * Whether only onboardd can have written a file, even if it is damaged or half written: other programs have files named
 * `state.json`, too.
 *
 * @param readText its beginning; null if it cannot be read
 */
export function provesState(name: string, readText: () => string | null): boolean {
  const file = ownFileOf(name);
  if (file === files.state) return readText()?.includes('"deviceId"') === true;
  if (name === files.key) return /^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----/.test(readText() ?? '');
  return name === files.deviceId && isDeviceId(readText()?.trim());
}

/** @returns the file of the state directory that a name belongs to; null: none */
export function ownFileOf(name: string): string | null {
  return ownFiles.find((file) => isOf(file, name)) ?? null;
}

function isOf(file: string, name: string): boolean {
  return (
    name === file ||
    name === `.${file}.tmp` ||
    new RegExp(`^${file.replaceAll('.', '\\.')}\\.damaged-\\d+$`).test(name)
  );
}
