import {
  currentState,
  type DeviceState,
  type Progress,
  type Visit,
  withVisit,
  writeState,
} from '../services/state/deviceState.ts';
import type { Platform } from './platform.ts';

/** Leaves what `status` shows, in `state.json` and wherever the platform publishes it. */
export interface StatusWriter {
  /**
   * @param isIdentified the device has an id, and so a state to write to
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
  { directory, publish }: Pick<Platform, 'directory' | 'publish'>,
  onUnsaved: (error: unknown) => void,
): StatusWriter {
  let unsaved: readonly Visit[] = [];
  let saved = '';
  let published = '';
  /** As far as it could be read. */
  let state: DeviceState | null = null;

  const attempt = (write: () => void): boolean => {
    try {
      write();
      return true;
    } catch (error) {
      onUnsaved(error);
      return false;
    }
  };

  function save(progress: Omit<Progress, 'history'>): void {
    const current = currentState(directory);
    const history = unsaved.reduce(withVisit, [...current.progress.history]);
    state = { ...current, progress: { ...progress, history } };
    writeState(directory, state);
    unsaved = [];
  }

  return {
    write(progress, left, isIdentified) {
      if (left !== null) unsaved = withVisit(unsaved, left);
      const summary = JSON.stringify(progress);
      // What is awaited changes within a step: it is published, but is not worth a write that is durable.
      const lasting = JSON.stringify({ ...progress, waitsFor: null });
      if (isIdentified && lasting !== saved && attempt(() => save(progress))) saved = lasting;
      const history = unsaved.reduce(withVisit, [...(state?.progress.history ?? [])]);
      const text = JSON.stringify([summary, history, state]);
      if (publish === undefined || text === published) return;
      if (attempt(() => publish(state, { ...progress, history }))) published = text;
    },
  };
}
