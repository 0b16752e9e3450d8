/**
 * The position at which a text stops being JSON (RFC 8259). The errors of `JSON.parse` quote the text, and a
 * configuration may hold secrets.
 *
 * @returns line and column from 1; null: it is valid JSON
 */
export function jsonFlaw(text: string): { line: number; column: number } | null {
  try {
    JSON.parse(text);
    return null;
  } catch {
    const before = text.slice(0, firstFlaw(text)).split('\n');
    return { line: before.length, column: (before.at(-1) ?? '').length + 1 };
  }
}

const space = /[ \t\n\r]*/y;
const text = /"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const other = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** @returns index of the token that is wrong. Without recursion: nesting may be deep. */
function firstFlaw(json: string): number {
  const open: ('{' | '[')[] = [];
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(json);
    if (found === null) return false;
    at += found[0].length;
    return true;
  };
  const takeSign = (sign: string): boolean => {
    take(space);
    if (json[at] !== sign) return false;
    at++;
    return true;
  };
  /** `"name":` */
  const takeName = (): boolean => {
    take(space);
    return take(text) && takeSign(':');
  };
  for (;;) {
    take(space);
    let isWhole = true;
    if (takeSign('{')) {
      isWhole = takeSign('}');
      if (!isWhole) {
        open.push('{');
        if (!takeName()) return at;
      }
    } else if (takeSign('[')) {
      isWhole = takeSign(']');
      if (!isWhole) open.push('[');
    } else if (!take(text) && !take(other)) {
      return at;
    }
    if (!isWhole) continue;
    for (;;) {
      const inside = open.at(-1);
      take(space);
      if (inside === undefined) return at;
      if (takeSign(inside === '{' ? '}' : ']')) {
        open.pop();
        continue;
      }
      if (!takeSign(',') || (inside === '{' && !takeName())) return at;
      break;
    }
  }
}
