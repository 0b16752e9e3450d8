import { files } from './deviceState.ts';

/** The files of the state directory in the order in which a reset removes them. */
export const ownFiles: readonly string[] = [
  files.key,
  ...Object.values(files).filter((name) => name !== files.key),
];

const secrets: ReadonlySet<string> = new Set([files.key, files.state, files.registration]);

/** The mode that a file shall have whenever it is read; null: it depends on what is written into it. */
export function ownMode(name: string): number | null {
  return secrets.has(name) ? 0o600 : null;
}

/** Whether a name is that of a file of the state directory, of one that was set aside, or of an interrupted write. */
export function isOwnFile(name: string): boolean {
  return ownFileOf(name) !== null;
}

/** @returns the file of the state directory that a name belongs to; null: none */
export function ownFileOf(name: string): string | null {
  return ownFiles.find((file) => isOf(file, name)) ?? null;
}

function isOf(file: string, name: string): boolean {
  return (
    name === file ||
    name === `.${file}.tmp` ||
    new RegExp(`^${file.replace('.', '\\.')}\\.damaged-\\d+$`).test(name)
  );
}
