import type { StateDirectory } from '../../src/services/state/deviceState.ts';

/** A state directory in memory, which never fails. @param contents name -> text, read and changed in place */
export function memoryDirectory(
  contents = new Map<string, string>(),
  changes: Partial<StateDirectory> = {},
): StateDirectory {
  return {
    read: (name) => contents.get(name) ?? null,
    write: (name, text) => void contents.set(name, text),
    refresh: (name, text) => void contents.set(name, text),
    settle: () => undefined,
    note: () => undefined,
    restrict: () => undefined,
    quarantine: (name) => name,
    remove: (name) => void contents.delete(name),
    ...changes,
  };
}
