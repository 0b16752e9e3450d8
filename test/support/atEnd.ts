const ends: (() => void | Promise<void>)[] = [];
let areCalled = false;

/**
 * Has what a test started end with the test.
 *
 * @throws {Error} in a project whose set-up is not endOfTest.ts
 */
export function atEnd<S extends { stop(): void | Promise<void> }>(started: S): S {
  if (!areCalled) throw new Error('nothing would end this: test/support/endOfTest.ts is not set up');
  ends.push(() => started.stop());
  return started;
}

export function endsAreCalled(): void {
  areCalled = true;
}

/** In reverse: what was started last ends first, each even if another fails. */
export async function endAll(): Promise<void> {
  const failures: unknown[] = [];
  for (const end of ends.splice(0).reverse()) {
    try {
      await end();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, 'what the test started could not be ended');
}
