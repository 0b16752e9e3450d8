/** Key types that onboardd generates, in a file or in a token. */
export const keyTypes = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'ec-p256', 'ec-p384'] as const;
export type GeneratedKeyType = (typeof keyTypes)[number];

/** Where a hardware key lies, as `identity.keyType` says it. */
export interface TokenSetting {
  /** The PKCS#11 module, an absolute path */
  readonly modulePath: string;
  /** What the token must have; null: anything */
  readonly token: {
    readonly label: string | null;
    readonly serial: string | null;
    readonly manufacturer: string | null;
    readonly model: string | null;
  };
  /** Label of the key; those of a rotation have it as their beginning */
  readonly object: string;
  /** Null: the token is used without a login */
  readonly pin: { readonly value: string } | { readonly file: string } | null;
  readonly keyType: GeneratedKeyType;
  /** OpenSSL's engine for PKCS#11, an absolute path; null: where Debian and others install it */
  readonly enginePath: string | null;
}

const scheme = 'pkcs11:';
const usualObject = 'onboardd';
const pathAttributes = new Set(['token', 'serial', 'manufacturer', 'model', 'object', 'type']);
const queryAttributes = new Set(['module-path', 'pin-value', 'pin-source', 'x-key-type', 'x-engine-path']);
/** What may stand in a value as it is (RFC 7512, 2.3), and the percent sign of what may not. */
const plainCharacters = /^[\w.~[\]:@!$'()*+,=&/?|%-]*$/;

export function isTokenUri(text: string): boolean {
  return text.startsWith(scheme);
}

/**
 * Reads a PKCS#11 URI (RFC 7512) that names a token and the key in it. `x-key-type` and `x-engine-path` are our own
 * (vendor-specific attributes, section 2.3).
 *
 * @throws {Error} which says what is wrong, without the PIN
 */
export function parseTokenUri(text: string): TokenSetting {
  if (!isTokenUri(text)) throw new Error('a PKCS#11 URI begins with "pkcs11:"');
  const [path = '', query = '', ...more] = text.slice(scheme.length).split('?');
  if (more.length > 0) throw new Error('only one "?" is allowed');
  // What is taken for a name may be the rest of a PIN.
  const hasPin = /pin(?!-source)/i.test(text);
  const named = attributesOf(path, ';', { known: pathAttributes, hasPin });
  const options = attributesOf(query, '&', { known: queryAttributes, hasPin });
  const { token: label = null, serial = null, manufacturer = null, model = null } = named;
  if (label === null && serial === null) throw new Error('token= or serial= is missing');
  const { object = usualObject, type = 'private' } = named;
  if (type !== 'private') throw new Error('type= can only be private');
  if (!/^[^\p{Cc}]{1,64}$/u.test(object)) throw new Error('object= is not a label of 1 to 64 characters');
  return {
    modulePath: absolute('module-path', options['module-path'] ?? ''),
    token: { label, serial, manufacturer, model },
    object,
    pin: pinOf(options),
    keyType: keyTypeOf(options['x-key-type'] ?? 'ec-p256'),
    enginePath: engineOf(options['x-engine-path']),
  };
}

type Attributes = Readonly<Partial<Record<string, string>>>;

interface Rules {
  readonly known: ReadonlySet<string>;
  /** The URI may have a PIN: names that are not known are not told */
  readonly hasPin: boolean;
}

function attributesOf(text: string, separator: string, { known, hasPin }: Rules): Attributes {
  const attributes: Record<string, string> = {};
  for (const part of text.split(separator).filter((each) => each !== '')) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    if (!known.has(name)) {
      const told = hasPin ? '' : ` "${name.slice(0, 40)}"`;
      throw new Error(`unknown attribute${told}; allowed: ${[...known].join(', ')}`);
    }
    if (at < 0 || name in attributes) throw new Error(`${shown(name)} must stand there once, with a value`);
    const value = part.slice(at + 1);
    if (!plainCharacters.test(value))
      throw new Error(`${shown(name)} holds a character that must be percent-encoded`);
    attributes[name] = decoded(name, value);
  }
  return attributes;
}

/** Behind "pin-value=" a message would be masked. */
function shown(name: string): string {
  return name === 'pin-value' ? name : `${name}=`;
}

function decoded(name: string, text: string): string {
  let value: string;
  try {
    value = decodeURIComponent(text);
  } catch {
    throw new Error(`${shown(name)} is not percent-encoded UTF-8`);
  }
  if (value === '' || value.includes('\0')) throw new Error(`${shown(name)} is empty`);
  return value;
}

function absolute(name: string, path: string): string {
  if (!path.startsWith('/')) throw new Error(`${name}= must be an absolute path`);
  return path;
}

/** `pin-source` is a path or a `file:` URI (RFC 7512, 2.4); a command is not run. */
function pinOf({ 'pin-value': value, 'pin-source': source }: Attributes): TokenSetting['pin'] {
  if (value !== undefined && source !== undefined)
    throw new Error('pin-source= and pin-value exclude each other');
  if (value !== undefined) return { value };
  if (source === undefined) return null;
  const path = source.startsWith('file:') ? source.replace(/^file:(\/\/(localhost)?(?=\/))?/, '') : source;
  return { file: absolute('pin-source', path) };
}

function keyTypeOf(text: string): GeneratedKeyType {
  const found = keyTypes.find((known) => known === text);
  if (found === undefined) throw new Error(`x-key-type= must be one of ${keyTypes.join(', ')}`);
  return found;
}

/** OpenSSL finds an engine by the name of its file. */
function engineOf(path: string | undefined): string | null {
  if (path === undefined) return null;
  if (!path.endsWith('/pkcs11.so')) throw new Error('x-engine-path= must end in /pkcs11.so');
  return absolute('x-engine-path', path);
}

/** The token in words, for messages. */
export function tokenInWords({ token: { label, serial, manufacturer, model } }: TokenSetting): string {
  const told = Object.entries({ serial, manufacturer, model }).flatMap(([name, value]) =>
    value === null ? [] : [`${name} "${value}"`],
  );
  return ['the token', ...(label === null ? [] : [`"${label}"`]), ...told].join(' ');
}
