import { createHash } from 'node:crypto';

/** @returns SHA-256 of the text as UTF-8, hex */
export function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}
