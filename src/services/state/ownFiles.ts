import { files, isDeviceId } from './deviceState.ts';

const keys: readonly string[] = [files.key, files.nextKey, files.previousKey];

/** The files of the state directory in the order in which a reset removes them. */
export const ownFiles: readonly string[] = [
  ...keys,
  ...Object.values(files).filter((name) => !keys.includes(name)),
];

const secrets: ReadonlySet<string> = new Set([
  files.key,
  files.nextKey,
  files.previousKey,
  files.state,
  files.registration,
]);

/** The mode that a file shall have whenever it is read; null: it depends on what is written into it. */
export function ownMode(name: string): number | null {
  return secrets.has(name) ? 0o600 : null;
}

/** Whether a name is that of a file of the state directory, of one that was set aside, or of an interrupted write. */
export function isOwnFile(name: string): boolean {
  return ownFileOf(name) !== null;
}

/**
 * Whether a file is one that only onboardd writes, damaged or half written as it may be: other programs call files
 * `state.json` too.
 *
 * @param readText its beginning, null where it is none to read
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
