import { redact } from '../../errors/onboardingError.ts';

const mask = '***';
/** Shorter texts are not masked: they would match parts of other words. */
const shortest = 6;
/** `RABBITMQ_PASSWORD=…` of an environment file, `UtmSecret: …` of a YAML file */
const namedLine =
  /^(\s*(?:export\s+)?(?:[\w.-]*(?:token|secrets?|passw(?:or)?d|credentials?)|(?:[\w.-]*[_.-])?pat)\s*[:=]\s*)\S.*$/gim;
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
    .replace(/("[^"]*(?:token|secret|password|passwd|credential)"\s*:\s*)"(?:[^"\\]|\\.)*"/gi, `$1"${mask}"`)
    .replace(/([?&][\w-]*(?:token|secret|password|key|sig)[\w-]*=)[^&\s"]+/gi, `$1${mask}`)
    .replace(namedLine, `$1${mask}`)
    .replace(loginWithoutScheme, `$1${mask}@`)
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
