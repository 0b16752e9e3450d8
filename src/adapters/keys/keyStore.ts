import type { Config } from '../../config/schema.ts';
import { isTokenUri, parseTokenUri } from '../../config/tokenUri.ts';
import { tokenOf } from './token.ts';
import { type TokenKeys, tokenKeys } from './tokenKeys.ts';

/** @returns null: the keys lie in files. Nothing is opened or loaded yet */
export function keyStoreOf({ keyType }: Pick<Config['identity'], 'keyType'>): TokenKeys | null {
  if (!isTokenUri(keyType)) return null;
  const setting = parseTokenUri(keyType);
  return tokenKeys(tokenOf(setting), setting);
}
