const ends: (() => void | Promise<void>)[] = [];

/** Has what a test started end with the test. */
export function atEnd<S extends { stop(): void | Promise<void> }>(started: S): S {
  ends.push(() => started.stop());
  return started;
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
  if (failures.length > 0) throw failures[0];
}
