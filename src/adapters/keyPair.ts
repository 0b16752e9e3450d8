import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { GeneratedKeyType } from '../config/tokenUri.ts';

/** @returns a new private key, PKCS#8 PEM */
export async function generateKey(type: GeneratedKeyType): Promise<string> {
  const [family, size] = type.split('-');
  const { privateKey } =
    family === 'rsa'
      ? await promisify(generateKeyPair)('rsa', { modulusLength: Number(size) })
      : await promisify(generateKeyPair)('ec', { namedCurve: size === 'p256' ? 'P-256' : 'P-384' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}
