import type { DeviceState } from '../state/deviceState.ts';
import { type Finding, failedFor, passed } from './check.ts';

/**
 * A key in hardware that was looked for, and whether there is one.
 *
 * @param place `token`: found there; `file`: only in a file, from an earlier configuration; null: nowhere
 */
export function checkKey(state: DeviceState | null, place: 'token' | 'file' | null): Finding {
  if (place === 'token') return passed('in its token, which lets nobody read it');
  if (place === 'file')
    return passed('in a file, from an earlier configuration; the next new key is made in the token');
  if (state?.provisioned == null) return passed('none yet; the token is ready to make it');
  return failedFor('STATE_CORRUPT', 'token-key-missing', 'the token holds no key for the certificate');
}
