import { expect, test } from 'vitest';
import { createStatusWriter } from '../../../src/daemon/statusWriter.ts';
import { newState, type Progress, parseState, type Visit } from '../../../src/services/state/deviceState.ts';

const at = '2026-11-24T00:00:00.000Z';
const progressIn = (state: Progress['state'], attempt = 1) => ({
  state,
  since: at,
  attempt,
  nextRetryAt: null,
  lastError: null,
});
const visit = (state: Visit['state']): Visit => ({ state, at, durationMs: 5 });

/** A writer over a disk that is memory, and that can be full. */
function writer({ publishes = true } = {}) {
  let text: string | null = JSON.stringify(newState('device-1', 0));
  let isFull = false;
  let isLost = false;
  let writes = 0;
  const errors: unknown[] = [];
  const published: { deviceId: string | null; progress: Progress }[] = [];
  const directory = {
    read: () => text,
    write(_: string, next: string) {
      if (isFull) throw new Error('the disk is full');
      writes++;
      text = next;
    },
    refresh: () => undefined,
    restrict: () => undefined,
    quarantine: (name: string) => name,
    remove: () => undefined,
  };
  const { write } = createStatusWriter(
    {
      directory,
      ...(publishes && {
        publish(state, progress) {
          if (isLost) throw new Error('the folder is gone');
          published.push({ deviceId: state?.deviceId ?? null, progress });
        },
      }),
    },
    (error) => errors.push(error),
  );
  return {
    write,
    errors,
    published,
    writes: () => writes,
    saved: () => parseState(text ?? '').progress,
    fill: (full: boolean) => {
      isFull = full;
    },
    lose: (lost: boolean) => {
      isLost = lost;
    },
    remove: () => {
      text = null;
    },
  };
}

test('progress and history are saved', () => {
  const { write, saved } = writer();
  write(progressIn('keygen'), visit('idle'), true);
  write(progressIn('csr'), visit('keygen'), true);
  expect(saved()).toEqual({ ...progressIn('csr'), history: [visit('idle'), visit('keygen')] });
});

test('what has not changed is not written again', () => {
  const { write, writes, published } = writer();
  for (let look = 0; look < 3; look++) write(progressIn('csr'), null, true);
  expect(writes()).toBe(1);
  expect(published).toHaveLength(1);
});

test('what could not be saved is saved with the next look, and no visit is lost', () => {
  const { write, saved, errors, fill, writes } = writer();
  fill(true);
  write(progressIn('keygen'), visit('idle'), true);
  write(progressIn('csr'), visit('keygen'), true);
  expect(errors).toHaveLength(2);
  fill(false);
  write(progressIn('csr'), null, true);
  expect(writes()).toBe(1);
  expect(saved()).toEqual({ ...progressIn('csr'), history: [visit('idle'), visit('keygen')] });
});

test('a device without an id saves nothing, and keeps what it has to say', () => {
  const { write, saved, writes } = writer();
  write(progressIn('failed'), visit('idle'), false);
  expect(writes()).toBe(0);
  write(progressIn('idle'), visit('failed'), true);
  expect(saved().history).toEqual([visit('idle'), visit('failed')]);
});

test('the status is published although the disk is full', () => {
  const { write, published, fill } = writer();
  write(progressIn('idle'), null, true);
  fill(true);
  write(progressIn('keygen'), visit('idle'), true);
  expect(published.at(-1)).toEqual({
    deviceId: 'device-1',
    progress: { ...progressIn('keygen'), history: [visit('idle')] },
  });
});

test('the status is published although there is no state', () => {
  const { write, published, remove } = writer();
  remove();
  write(progressIn('failed'), visit('idle'), true);
  expect(published).toEqual([
    { deviceId: null, progress: { ...progressIn('failed'), history: [visit('idle')] } },
  ]);
});

test('what could not be published is published with the next look', () => {
  const { write, published, errors, lose } = writer();
  lose(true);
  write(progressIn('csr'), null, true);
  expect([published, errors.map(String)]).toEqual([[], ['Error: the folder is gone']]);
  lose(false);
  write(progressIn('csr'), null, true);
  expect(published).toHaveLength(1);
});

test('without anywhere to publish it, the status is saved', () => {
  const { write, saved } = writer({ publishes: false });
  write(progressIn('csr', 2), null, true);
  expect(saved()).toMatchObject({ state: 'csr', attempt: 2 });
});
