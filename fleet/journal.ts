export interface Journal<Entry> {
  readonly entries: Entry[];
  add(entry: Entry): void;
  /**
   * Resolves with the first entry, past or coming, that fits.
   *
   * @throws {Error} where none has come after `timeoutMs` (10 s)
   */
  first(fits: (entry: Entry) => boolean, timeoutMs?: number): Promise<Entry>;
  /** Resolves once there are `count` entries that fit. @throws {Error} like `first` */
  atLeast(count: number, fits?: (entry: Entry) => boolean, timeoutMs?: number): Promise<Entry[]>;
}

/** What has happened, in order, and a way to wait for what is yet to happen. */
export function createJournal<Entry>(name: string): Journal<Entry> {
  const entries: Entry[] = [];
  const watchers = new Set<() => void>();

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
      for (const look of [...watchers]) look();
    },
    atLeast,
    async first(fits, timeoutMs) {
      const [entry] = await atLeast(1, fits, timeoutMs);
      if (entry === undefined) throw new Error(`${name}: nothing`);
      return entry;
    },
  };
}
