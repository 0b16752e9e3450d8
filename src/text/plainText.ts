/**
 * Invisible characters that control a terminal, break a line or change the reading order: control characters (C0, DEL,
 * C1), line and paragraph separators, marks, embeddings, overrides and isolates of the writing direction (UAX #9), and
 * the byte order mark. Foreign text may hold them.
 */
const unseen = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** The text on one line, each such character replaced by a space. Linear in its length. */
export function plainText(text: string): string {
  return text.replace(unseen, ' ');
}

/** JSON of a value on one line, with each such character escaped: parsing it returns the same value. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value).replace(
    unseen,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
