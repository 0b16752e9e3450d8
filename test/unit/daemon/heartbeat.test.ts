import { expect, test } from 'vitest';
import { isHeartbeatDue, lookEveryMs, startHeartbeat } from '../../../src/daemon/heartbeat.ts';

const day = 86_400_000;
const last = { now: 1_000_000_000_000, monotonic: 5_000 };

test.each([
  ['after a day', day, day, true],
  ['a moment earlier', day - 1, day - 1, false],
  ['after a day of which it slept most', day, 1000, true],
  ['after a day in which the clock was set back', -day, day, true],
  ['when the clock was set back', -day, 1000, false],
])('a heartbeat is due, or not: %s', (_, byWall, byMonotonic, isDue) => {
  const at = { now: last.now + byWall, monotonic: last.monotonic + byMonotonic };
  expect(isHeartbeatDue(last, at)).toBe(isDue);
});

/** A device whose timers stand still while it sleeps. */
function device() {
  let [now, monotonic] = [0, 0];
  let timer: { at: number; call: () => void } | null = null;
  const beats: number[] = [];
  const end = startHeartbeat(
    {
      now: () => now,
      monotonic: () => monotonic,
      setTimer(ms, call) {
        const mine = { at: monotonic + ms, call };
        timer = mine;
        return () => {
          if (timer === mine) timer = null;
        };
      },
    },
    () => beats.push(now),
  );
  return {
    beats,
    end,
    isWaiting: () => timer !== null,
    runs(ms: number) {
      for (const until = monotonic + ms; timer !== null && timer.at <= until; ) {
        const { at, call } = timer;
        now += at - monotonic;
        monotonic = at;
        call();
      }
    },
    sleeps(ms: number) {
      now += ms;
    },
  };
}

test('a daemon that runs for a week beats seven times', () => {
  const { runs, beats } = device();
  runs(7 * day);
  expect(beats).toHaveLength(7);
});

test('a device that sleeps for most of each day beats once a day', () => {
  const { runs, sleeps, beats } = device();
  for (let today = 0; today < 7; today++) {
    runs(3_600_000);
    sleeps(day - 3_600_000);
  }
  runs(lookEveryMs);
  expect(beats).toHaveLength(7);
});

test('a daemon that was stopped beats no more', () => {
  const { runs, end, beats, isWaiting } = device();
  runs(day / 2);
  end();
  expect([beats, isWaiting()]).toEqual([[], false]);
});
