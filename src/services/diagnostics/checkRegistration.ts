import { catalogue, type ErrorCode } from '../../errors/catalogue.ts';
import { isReason } from '../../errors/reasons.ts';
import { formatTime } from '../../text/duration.ts';
import { type Finding, failedFor, passed } from './check.ts';
import { remedyOfLastError, type Status } from './status.ts';

/**
 * What the daemon itself says: its last error is a failure, and so is a device that is not registered yet.
 *
 * @param activity what the device does, in words
 */
export function checkRegistration(status: Status, activity: string): Finding {
  const { state, lastError, alias, since, running } = status;
  if (lastError !== null) {
    const code: ErrorCode = Object.hasOwn(catalogue, lastError.code)
      ? (lastError.code as ErrorCode)
      : 'INTERNAL';
    const reason = isReason(lastError.reason) ? lastError.reason : null;
    const where = state === 'registered' ? 'registered, but' : `${state}:`;
    return failedFor(code, reason, `${where} ${lastError.message}`, remedyOfLastError(status) ?? undefined);
  }
  if (state === 'registered') {
    const name = alias === null ? '' : ` as ${alias}`;
    const at = since === null ? '' : `, since ${formatTime(since)}`;
    return passed(`registered${name}${at}${running === false ? '; the daemon is not running' : ''}`);
  }
  const remedy =
    running === false
      ? 'Start the daemon: `systemctl start onboardd`; if it ends again, read `journalctl -u onboardd -b`.'
      : 'Wait; `onboardd status --watch` shows how it goes on.';
  return { ...failedFor('INTERNAL', null, `not registered yet: ${activity}`, remedy), code: null };
}
