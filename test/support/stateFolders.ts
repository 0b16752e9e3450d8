import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusalOf } from '../../src/adapters/disk/stateFolder.ts';
import { isOwnFile, provesState } from '../../src/services/state/ownFiles.ts';

/** Which names and contents are those of a state directory */
export const ownFiles = { isOwn: isOwnFile, provesState };
/** How a `state.json` begins */
export const beginningOfState = '{\n  "version": 1,\n  "deviceId": "d1",';

/** Why a folder may not become the state directory; null: it may. */
export const refusal = (path: string, given: readonly string[] = []) =>
  refusalOf(path, ownFiles, undefined, given);

/** One temporary folder at a time. */
export function stateFolders() {
  let place = '';
  const folder = (mode = 0o755, names: readonly string[] = []): string => {
    place = mkdtempSync(join(tmpdir(), 'state-'));
    for (const name of names) writeFileSync(join(place, name), '');
    chmodSync(place, mode);
    return place;
  };
  return {
    /** Where the folder is */
    place: () => place,
    /** Makes it, with empty files. */
    folder,
    /** Makes it, with files that have content. */
    holding(contents: Readonly<Record<string, string>>, mode = 0o755): string {
      folder(mode);
      for (const [name, text] of Object.entries(contents)) writeFileSync(join(place, name), text);
      return place;
    },
    remove() {
      if (place !== '') rmSync(place, { recursive: true });
      place = '';
    },
  };
}
