import { redact } from '../../errors/onboardingError.ts';

const mask = '***';
/** Shorter texts are not masked: they would match parts of other words. */
const shortest = 6;
/** What is named like a secret; what ends in these words is where it lies, and stays. */
const secretWord =
  '(?:token|secret|passw(?:or)?d|passphrase|credential|api[_-]?key|access[_-]?key|private[_-]?key)';
const secretName = String.raw`(?![\w.-]{0,200}(?:file|path|dir|folder)s?["']?\s*[:=])(?:[\w.-]{0,80}${secretWord}[\w.-]{0,80}|(?:[\w.-]{0,80}[_.-])?(?:pat|pass|psk|pwd))`;
/**
 * `RABBITMQ_PASSWORD=…` of an environment file, `UtmSecret: …` of a YAML file: a value in quotes or a block of YAML may go over
 * several lines.
 */
const namedLine = new RegExp(
  String.raw`^([ \t]*(?:export[ \t]+)?${secretName}[ \t]*[:=][ \t]*)(?:"(?:[^"\\]|\\[\s\S])*"|'[^']*'|[|>][-+\d]*[ \t]*(?:\n(?:[ \t]+.*|(?=\n)))+|(?=\S)).*`,
  'gim',
);
/** `"authToken": "…"`, also within a text that is JSON itself, and cut off before its end */
const namedJson = new RegExp(
  String.raw`((\\*")[^"\\\n]{0,80}${secretWord}[^"\\\n]{0,80}(?<!file|path|dir|folder)\2\s*:\s*\2)(?:(?!\2)(?:\\.|[^\\\n]))*(\2)?`,
  'gi',
);
/** Headers of HTTP that let somebody in */
const namedHeader =
  /\b((?:proxy-)?authorization[ \t]*[:=](?:[ \t]*\w+(?=[ \t]))?|(?:set-)?cookie[ \t]*:)[ \t]*[^\s"\\][^"\\\n]*/gi;
/** A JSON web token */
const webToken = /\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g;
/** `user:password@host`, which is an address here without a scheme, too */
const loginWithoutScheme = /(^|[\s"'=,])[^\s"'=,@/]+:[^\s"',@/]*@(?=[\w[])/gm;

/**
 * Masks what must not leave the device: known secrets wherever they are, user information of URLs, private keys, and
 * values that are named like a secret.
 *
 * @param known secrets as they are on the device
 */
export function maskSecrets(text: string, known: readonly string[]): string {
  const longestFirst = [...known].filter(({ length }) => length >= shortest).sort(byLength);
  const without = longestFirst.reduce((all, secret) => all.replaceAll(secret, mask), text);
  const named = without
    .replace(namedJson, `$1${mask}$3`)
    .replace(/([?&][\w-]*(?:token|secret|password|key|sig)[\w-]*=)[^&\s"]+/gi, `$1${mask}`)
    .replace(namedLine, `$1${mask}`)
    .replace(loginWithoutScheme, `$1${mask}@`)
    .replace(namedHeader, `$1 ${mask}`)
    .replace(webToken, mask)
    .replace(/\bBearer\s+[\w.~+/=-]+/gi, `Bearer ${mask}`);
  return redact(named);
}

function byLength(a: string, b: string): number {
  return b.length - a.length;
}

/** Every text within a JSON value, as it may stand elsewhere: with and without escapes. */
export function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value, JSON.stringify(value).slice(1, -1)];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}

/** User and password of the URLs within a text. */
export function credentialsOf(text: string): string[] {
  const found = [...text.matchAll(/\/\/([^/\s"]*)@/g)].map(([, user = '']) => user);
  return found.flatMap((user) => [user, ...user.split(':').slice(1)]);
}
