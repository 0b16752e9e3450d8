/** Limits of a foreign text. */
export interface JsonLimits {
  /** Levels of objects and arrays, 64 by default: deeper values can be parsed, but overflow the stack when written. */
  readonly maxDepth?: number;
  /** Characters, 4 Mi by default */
  readonly maxLength?: number;
}

/** Parses foreign JSON; text beyond the limits is rejected before it is parsed. @throws {SyntaxError} */
export function parseJson(text: string, limits: JsonLimits = {}): unknown {
  const { maxDepth = 64, maxLength = 4 * 1024 * 1024 } = limits;
  if (text.length > maxLength) throw new SyntaxError(`the JSON is longer than ${maxLength} characters`);
  if (isDeeper(text, maxDepth)) throw new SyntaxError(`the JSON is nested more than ${maxDepth} levels deep`);
  return JSON.parse(text);
}

const quote = '"'.charCodeAt(0);
const backslash = '\\'.charCodeAt(0);
const opening = new Set([...'{['].map((character) => character.charCodeAt(0)));
const closing = new Set([...'}]'].map((character) => character.charCodeAt(0)));

/** One pass over the text; brackets in strings do not count. The result is undefined for text that is not JSON. */
function isDeeper(text: string, most: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) inString = !inString;
    else if (inString) {
      if (code === backslash) at++;
    } else if (opening.has(code)) {
      if (++depth > most) return true;
    } else if (closing.has(code)) depth--;
  }
  return false;
}

/** A JSON object: neither an array nor null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
