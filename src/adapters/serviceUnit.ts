import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where units are, the first that has one wins (systemd.unit(5)). */
const places = [
  'etc/systemd/system',
  'run/systemd/system',
  'usr/local/lib/systemd/system',
  'usr/lib/systemd/system',
  'lib/systemd/system',
];

/**
 * The user that `onboardd.service` runs as, from its file and its drop-ins.
 *
 * @param root of the file system
 * @returns null: there is no such unit
 */
export function serviceUser(root = '/'): string | null {
  const unit = places
    .map((place) => textOf(join(root, place, 'onboardd.service')))
    .find((text) => text !== null);
  if (unit === undefined || unit === null) return null;
  const users = [unit, ...dropIns(root)].flatMap((text) =>
    [...text.matchAll(/^User=(.*)$/gm)].map(([, user = '']) => user.trim()),
  );
  return users.at(-1) || 'root';
}

/** In the order of their names; of two with the same name, the first place wins. */
function dropIns(root: string): string[] {
  const found = new Map<string, string>();
  for (const place of places) {
    const folder = join(root, place, 'onboardd.service.d');
    for (const name of namesIn(folder)) {
      const text = name.endsWith('.conf') ? textOf(join(folder, name)) : null;
      if (text !== null && !found.has(name)) found.set(name, text);
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
