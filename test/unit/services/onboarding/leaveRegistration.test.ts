import { expect, test } from 'vitest';
import { leaveIfChanged } from '../../../../src/services/onboarding/leaveRegistration.ts';
import {
  type Announced,
  currentState,
  type DeviceState,
  newState,
  parseState,
  type StateDirectory,
  writeState,
} from '../../../../src/services/state/deviceState.ts';

const announced: Announced = { alias: 'a', currentOwner: null, buildVersion: '1' };
const result = '{"status":"success","alias":"a","token":"dA=="}';

/** A registered device that looks at what it would announce now. */
function look(now: Announced, before: Announced | null, changes: Partial<DeviceState> = {}) {
  const stored = new Map<string, string>();
  const writes: string[] = [];
  const directory: StateDirectory = {
    read: (name) => stored.get(name) ?? null,
    write(name, text) {
      writes.push(name);
      stored.set(name, text);
    },
    refresh: () => undefined,
    settle: () => undefined,
    note: () => undefined,
    restrict: () => undefined,
    quarantine: (name) => name,
    remove: (name) => void stored.delete(name),
  };
  const registration = { alias: 'a', at: new Date(0).toISOString(), result, announced: before };
  writeState(directory, { ...newState('d1'), registration, ...changes });
  writes.length = 0;
  const left: string[] = [];
  const onLeft = (reason: string) => {
    left.push(`${reason} after ${writes.length} writes`);
  };
  const next = leaveIfChanged({ directory, onLeft }, currentState(directory), now);
  expect(currentState(directory)).toEqual(next);
  return { next, left, writes };
}

test.each<[string, Announced]>([
  ['another alias', { ...announced, alias: 'b' }],
  ['no alias any more', { ...announced, alias: null }],
  ['another owner', { ...announced, currentOwner: 'solita' }],
  ['another build version', { ...announced, buildVersion: '2' }],
])('a device with %s leaves its registration in one write, and keeps what it got', (_, now) => {
  const { next, left, writes } = look(now, announced);
  expect(next).toMatchObject({
    registration: null,
    formerRegistration: { result },
    mayBeRegistered: true,
    request: null,
  });
  expect(left).toEqual(['announcement-changed after 1 writes']);
  expect(writes).toHaveLength(1);
});

test('a device that announces the same stays registered, and nothing is written', () => {
  expect(look(announced, announced)).toMatchObject({
    next: { registration: { result } },
    left: [],
    writes: [],
  });
});

test('a device that is not registered has nothing to leave', () => {
  expect(look(announced, null, { registration: null })).toMatchObject({ left: [], writes: [] });
});

test('a state that does not say what was announced triggers nothing, and begins with what is configured now', () => {
  const { next, left } = look(announced, null);
  expect(left).toEqual([]);
  expect(next.registration).toMatchObject({ result, announced });
});

test('the state of an older version has no such record', () => {
  const { formerRegistration, ...older } = newState('d1');
  const registration = { alias: null, at: new Date(0).toISOString(), result };
  expect(parseState(JSON.stringify({ ...older, registration }))).toMatchObject({
    registration: { announced: null },
    formerRegistration: null,
  });
});
