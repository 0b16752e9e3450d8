/**
 * What steers a terminal, breaks a line or turns the order of what is read, while nobody sees it: control characters
 * (C0, DEL, C1), line and paragraph separator, marks, embeddings, overrides and isolates of the writing direction (UAX #9)
 * and the byte order mark. Whatever a server, a file or a person at the other end sent may hold them.
 */
const unseen = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** The text on one line, each such character replaced by a space. Linear in its length. */
export function plainText(text: string): string {
  return text.replace(unseen, ' ');
}

/** JSON of a value on one line, each such character escaped, so that whoever parses it gets the value as it is. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value).replace(
    unseen,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
