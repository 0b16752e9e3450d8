import { expect, test } from 'vitest';
import { createStatusWriter } from '../../../src/daemon/statusWriter.ts';
import {
  files,
  newState,
  type Progress,
  type StateDirectory,
  type Visit,
} from '../../../src/services/state/deviceState.ts';

const at = '2026-11-24T00:00:00.000Z';
const progressIn = (state: Progress['state'], attempt = 1) => ({
  state,
  since: at,
  attempt,
  nextRetryAt: null,
  lastError: null,
});
const visit = (state: Visit['state']): Visit => ({ state, at, durationMs: 5 });

/** A writer over a disk that is memory, and where it publishes to. */
function writer({ state = newState('device-1') as object | null, recalled = null as Progress | null } = {}) {
  let text = state === null ? null : JSON.stringify(state);
  let isLost = false;
  const changes: string[] = [];
  const errors: unknown[] = [];
  const published: { deviceId: string | null; progress: Progress }[] = [];
  const change = (name: string) => void changes.push(name);
  const directory: StateDirectory = {
    read: () => text,
    write: change,
    refresh: change,
    settle: () => change(files.state),
    note: change,
    restrict: change,
    quarantine: (name) => name,
    remove: change,
  };
  const { write } = createStatusWriter(
    {
      directory,
      recall: (known) => (known?.deviceId === 'device-1' ? recalled : null),
      publish(known, progress) {
        if (isLost) throw new Error('the folder is gone');
        published.push({ deviceId: known?.deviceId ?? null, progress });
      },
    },
    (error) => errors.push(error),
  );
  return {
    write,
    errors,
    published,
    changes,
    lose: (lost: boolean) => {
      isLost = lost;
    },
    setState: (next: object | null) => {
      text = next && JSON.stringify(next);
    },
  };
}

test('progress and history are published, and the state directory is not written', () => {
  const { write, published, changes } = writer();
  write(progressIn('keygen'), visit('idle'), true);
  write(progressIn('csr'), visit('keygen'), true);
  expect(published.at(-1)).toEqual({
    deviceId: 'device-1',
    progress: { ...progressIn('csr'), history: [visit('idle'), visit('keygen')] },
  });
  expect(changes).toEqual([]);
});

test('what has not changed is not published again', () => {
  const { write, published } = writer();
  for (let look = 0; look < 3; look++) write(progressIn('csr'), null, true);
  expect(published).toHaveLength(1);
});

test('a change of the state alone is published', () => {
  const { write, published, setState } = writer({ state: null });
  write(progressIn('idle'), null, false);
  setState(newState('device-1'));
  write(progressIn('idle'), null, true);
  expect(published.map(({ deviceId }) => deviceId)).toEqual([null, 'device-1']);
});

test('what could not be published is published with the next look, and no visit is lost', () => {
  const { write, published, errors, lose } = writer();
  lose(true);
  write(progressIn('keygen'), visit('idle'), true);
  write(progressIn('csr'), visit('keygen'), true);
  expect([published, errors.map(String)]).toEqual([
    [],
    ['Error: the folder is gone', 'Error: the folder is gone'],
  ]);
  lose(false);
  write(progressIn('csr'), null, true);
  expect(published[0]?.progress.history).toEqual([visit('idle'), visit('keygen')]);
});

test('the status is published although there is no state', () => {
  const { write, published } = writer({ state: null });
  write(progressIn('failed'), visit('idle'), true);
  expect(published).toEqual([
    { deviceId: null, progress: { ...progressIn('failed'), history: [visit('idle')] } },
  ]);
});

test('what was read of the state is published on although it has become unreadable', () => {
  const { write, published, setState } = writer();
  setState({ version: 1 });
  write(progressIn('failed'), visit('idle'), true);
  expect(published[0]?.deviceId).toBe('device-1');
});

test('the history of an earlier daemon goes on', () => {
  const history = [visit('idle'), visit('csr')];
  const { write, published } = writer({ recalled: { ...progressIn('csr'), history } });
  write(progressIn('keygen'), visit('idle'), true);
  expect(published[0]?.progress.history).toEqual([visit('csr'), visit('idle')]);
});

test('the history that an older version kept in the state goes on', () => {
  const progress = { ...progressIn('csr'), history: [visit('keygen')] };
  const { write, published } = writer({ state: { ...newState('device-1'), progress } });
  write(progressIn('csr'), visit('idle'), true);
  expect(published[0]?.progress.history).toEqual([visit('keygen'), visit('idle')]);
});
