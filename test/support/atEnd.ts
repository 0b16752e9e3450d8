import { afterEach } from 'vitest';

const ends: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** Has what a test started end with the test. */
export function atEnd<S extends { stop(): Promise<void> }>(started: S): S {
  ends.push(() => started.stop());
  return started;
}
