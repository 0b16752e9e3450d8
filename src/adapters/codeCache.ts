/**
 * Tells the launcher (src/launch.ts) that this process has run through a whole onboarding: what it has compiled is worth
 * keeping. No-op if there is a cache, and in the single executable, which has one inside.
 */
export function keepCompiledCode(): void {
  const keep = (globalThis as Record<symbol, unknown>)[Symbol.for('onboardd.complete')];
  if (typeof keep === 'function') keep();
}
