import { type FSWatcher, statSync, watch } from 'node:fs';

/** Some changes cause no event: no inotify watch is available, a network file system, a folder that is made again. */
const slowLookMs = 2000;

/**
 * Calls `look` whenever something in one of the folders changes, and every two seconds besides. A folder may come and go.
 *
 * @returns a function that ends it; until then it keeps the process alive
 */
export function watchFolders(folders: () => readonly string[], look: () => void): () => void {
  const watched = new Map<string, { watcher: FSWatcher; inode: number }>();
  const leave = (folder: string) => {
    watched.get(folder)?.watcher.close();
    watched.delete(folder);
  };
  const attend = () => {
    for (const folder of folders()) {
      const inode = inodeOf(folder);
      if (watched.get(folder)?.inode === inode) continue;
      leave(folder);
      if (inode === undefined) continue;
      try {
        const watcher = watch(folder, look);
        watcher.on('error', () => leave(folder));
        watched.set(folder, { watcher, inode });
      } catch {
        // The slow look remains.
      }
    }
  };
  attend();
  const timer = setInterval(() => {
    attend();
    look();
  }, slowLookMs);
  return () => {
    clearInterval(timer);
    for (const folder of [...watched.keys()]) leave(folder);
  };
}

function inodeOf(folder: string): number | undefined {
  return statSync(folder, { throwIfNoEntry: false })?.ino;
}
