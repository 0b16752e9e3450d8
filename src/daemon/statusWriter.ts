import {
  currentState,
  type DeviceState,
  type Progress,
  type Visit,
  withVisit,
} from '../services/state/deviceState.ts';
import type { Platform } from './platform.ts';

/** Publishes what `status` shows, wherever the platform keeps it. Nothing of it is durable. */
export interface StatusWriter {
  /**
   * @param isIdentified the device has an id, and so a state to read
   * @param left the state that was left since the last look; null: none
   */
  write(progress: Omit<Progress, 'history'>, left: Visit | null, isIdentified: boolean): void;
}

/**
 * Bookkeeping: if something cannot be written, the device goes on, and it is written with the next look.
 *
 * @param onUnsaved with the error
 */
export function createStatusWriter(
  { directory, publish, recall }: Pick<Platform, 'directory' | 'publish' | 'recall'>,
  onUnsaved: (error: unknown) => void,
): StatusWriter {
  if (publish === undefined) return { write: () => undefined };
  let published = '';
  /** As far as it could be read. */
  let state = stateIn(directory);
  let history = (recall?.(state) ?? state?.progress)?.history ?? [];

  return {
    write(progress, left, isIdentified) {
      if (left !== null) history = withVisit(history, left);
      if (isIdentified) state = stateIn(directory) ?? state;
      const text = JSON.stringify([progress, history, state]);
      if (text === published) return;
      try {
        publish(state, { ...progress, history });
        published = text;
      } catch (error) {
        onUnsaved(error);
      }
    },
  };
}

/** @returns null if it cannot be read; the machine says why */
function stateIn(directory: Platform['directory']): DeviceState | null {
  try {
    return currentState(directory);
  } catch {
    return null;
  }
}
