export interface Journal<Entry> {
  readonly entries: Entry[];
  add(entry: Entry): void;
  /**
   * Resolves with the first entry, past or coming, that fits.
   *
   * @throws {Error} where none has come after `timeoutMs` (10 s)
   */
  first(fits: (entry: Entry) => boolean, timeoutMs?: number): Promise<Entry>;
  /** Resolves with the first entry to come that fits. @throws {Error} like `first` */
  next(fits: (entry: Entry) => boolean, timeoutMs?: number): Promise<Entry>;
  /** Resolves once there are `count` entries that fit. @throws {Error} like `first` */
  atLeast(count: number, fits?: (entry: Entry) => boolean, timeoutMs?: number): Promise<Entry[]>;
}

/**
 * What has happened, in order, and a way to wait for what is yet to happen.
 *
 * @param keep how many of the latest entries are kept at least; twice as many at most. All by default
 */
export function createJournal<Entry>(name: string, keep = Infinity): Journal<Entry> {
  const entries: Entry[] = [];
  const watchers = new Set<(added?: Entry) => void>();

  function atLeast(count: number, fits: (entry: Entry) => boolean = () => true, timeoutMs = 10_000) {
    return new Promise<Entry[]>((resolve, reject) => {
      const late = setTimeout(() => {
        watchers.delete(look);
        const seen = entries.filter(fits).length;
        reject(new Error(`${name}: ${seen} of ${count} expected within ${timeoutMs} ms`));
      }, timeoutMs);
      const look = () => {
        const fitting = entries.filter(fits);
        if (fitting.length < count) return;
        clearTimeout(late);
        watchers.delete(look);
        resolve(fitting);
      };
      watchers.add(look);
      look();
    });
  }

  return {
    entries,
    add(entry) {
      entries.push(entry);
      if (entries.length > 2 * keep) entries.splice(0, entries.length - keep);
      for (const look of [...watchers]) look(entry);
    },
    next(fits, timeoutMs = 10_000) {
      return new Promise((resolve, reject) => {
        const look = (added?: Entry) => {
          if (added === undefined || !fits(added)) return;
          clearTimeout(late);
          watchers.delete(look);
          resolve(added);
        };
        const late = setTimeout(() => {
          watchers.delete(look);
          reject(new Error(`${name}: none of what is expected within ${timeoutMs} ms`));
        }, timeoutMs);
        watchers.add(look);
      });
    },
    atLeast,
    async first(fits, timeoutMs) {
      const [entry] = await atLeast(1, fits, timeoutMs);
      if (entry === undefined) throw new Error(`${name}: nothing`);
      return entry;
    },
  };
}
