import type { LeaveReason } from '../../machines/stage.ts';
import { type Announced, type DeviceState, type StateDirectory, writeState } from '../state/deviceState.ts';

interface LeavePorts {
  readonly directory: StateDirectory;
  readonly onLeft: (reason: LeaveReason) => void;
}

/**
 * Leaves the registration of a device that announced something else than it would now (`registration.onChange`). A state
 * that does not say what was announced, which an older version left, begins with what is configured now.
 *
 * @returns the state as it is on disk then
 * @throws {OnboardingError} STATE_UNWRITABLE
 */
export function leaveIfChanged(
  { directory, onLeft }: LeavePorts,
  state: DeviceState,
  announced: Announced,
): DeviceState {
  const { registration } = state;
  if (registration === null || isSame(registration.announced, announced)) return state;
  const isKnown = registration.announced !== null;
  const next = isKnown
    ? { ...state, ...leave(state) }
    : { ...state, registration: { ...registration, announced } };
  writeState(directory, next);
  if (isKnown) onLeft('announcement-changed');
  return next;
}

/** Changes of the state: the device registers again, "already registered" means itself, and the former result is kept. */
export function leave({ registration, formerRegistration }: DeviceState): Partial<DeviceState> {
  return {
    registration: null,
    formerRegistration: registration ?? formerRegistration,
    request: null,
    rejectedRequest: null,
    mayBeRegistered: true,
  };
}

function isSame(before: Announced | null, now: Announced): boolean {
  const keys = ['alias', 'currentOwner', 'buildVersion'] as const;
  return before !== null && keys.every((key) => before[key] === now[key]);
}
