import type { Loop } from './loop.ts';
import { healAt, type Plan } from './plan.ts';

/** The device's clocks: the wall clock that may be wrong and is set now and then, and timers that stop in a suspend. */
export interface SimulatedClock {
  /** The wall clock, milliseconds since 1970 */
  readonly now: () => number;
  readonly monotonic: () => number;
  after(ms: number, call: () => void): () => void;
  watch(since: number, onStep: () => void): () => void;
  /** Power-on: a clock without a battery starts anew. */
  boot(): void;
  /** Whether the device slept during the last so many milliseconds. */
  wasAsleep(ms: number): boolean;
}

interface Hooks {
  readonly isAwake: () => boolean;
  /** The wall clock was set right. */
  readonly onSet: () => void;
  readonly onSuspend: () => void;
  readonly tell: (line: string) => void;
}

const stepMs = 5_000;

export function createClock(loop: Loop, plan: Plan, hooks: Hooks): SimulatedClock {
  const start = loop.now();
  let offset = 0;
  let sleptMs = 0;
  let wokeAt = Number.NEGATIVE_INFINITY;
  const timers = new Set<{ due: number; call: () => void; cancel: () => void }>();
  const watchers = new Set<() => void>();
  const now = () => Math.floor(loop.now() + offset);

  const after = (ms: number, call: () => void) => {
    const timer = { due: loop.now() + ms, call, cancel: () => {} };
    arm(timer);
    return () => {
      timer.cancel();
      timers.delete(timer);
    };
  };
  function arm(timer: { due: number; call: () => void; cancel: () => void }): void {
    timers.add(timer);
    timer.cancel = loop.at(timer.due, () => {
      timers.delete(timer);
      timer.call();
    });
  }
  function set(next: number): void {
    const by = next - offset;
    if (by === 0) return;
    offset = next;
    hooks.tell(`the clock says ${new Date(now()).toISOString()}`);
    if (Math.abs(by) > stepMs) for (const notice of [...watchers]) notice();
    if (next === 0) hooks.onSet();
  }

  for (const adversity of plan.adversities) {
    if (adversity.kind === 'clock step') {
      loop.at(start + adversity.at, () => set(offset + adversity.byMs));
    }
    if (adversity.kind === 'suspend') {
      loop.at(start + adversity.at, () => {
        if (!hooks.isAwake()) return;
        hooks.tell(`sleeps ${adversity.ms / 1000} s`);
        sleptMs += adversity.ms;
        wokeAt = loop.now() + adversity.ms;
        hooks.onSuspend();
        for (const timer of [...timers]) {
          timer.cancel();
          timer.due += adversity.ms;
          arm(timer);
        }
        if (adversity.ms > stepMs) loop.at(wokeAt, () => [...watchers].forEach((notice) => void notice()));
      });
    }
  }
  loop.at(start + healAt, () => set(0));
  const [noBattery] = plan.adversities.filter(({ kind }) => kind === 'no battery');

  return {
    now,
    monotonic: () => Math.round(loop.now() - start - sleptMs),
    after,
    watch(since, onStep) {
      let cancel = () => {};
      const notice = () => {
        cancel = after(1000, onStep);
      };
      watchers.add(notice);
      if (Math.abs(now() - since) > stepMs) notice();
      return () => {
        watchers.delete(notice);
        cancel();
      };
    },
    boot() {
      for (const timer of timers) timer.cancel();
      timers.clear();
      watchers.clear();
      if (noBattery?.kind !== 'no battery' || loop.now() - start >= healAt) return;
      offset = noBattery.wallAtBoot - loop.now();
      hooks.tell(`the clock starts at ${new Date(now()).toISOString()}`);
      const booted = loop.now();
      loop.at(booted + noBattery.setAfterMs, () => set(0));
    },
    wasAsleep: (ms) => loop.now() - wokeAt < ms + 1000,
  };
}
