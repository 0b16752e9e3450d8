/** A length of time for a person: `12 ms`, `0.2 s`, `42 s`, `3 min 12 s`, `5 h 2 min`, `12 d 3 h`. @param ms milliseconds */
export function formatDuration(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole > 0 && whole < 95) return `${Math.round(whole)} ms`;
  if (whole < 9_950) return `${(whole / 1000).toFixed(1)} s`;
  const seconds = Math.round(whole / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return inTwoUnits(seconds, [60, 'min'], [1, 's']);
  if (seconds < 86_400) return inTwoUnits(seconds, [3600, 'h'], [60, 'min']);
  return inTwoUnits(seconds, [86_400, 'd'], [3600, 'h']);
}

/** Seconds, and what they are called. */
type Unit = readonly [seconds: number, name: string];

function inTwoUnits(seconds: number, [large, largeName]: Unit, [small, smallName]: Unit): string {
  const wholes = Math.floor(seconds / large);
  const rest = Math.floor((seconds % large) / small);
  return rest === 0 ? `${wholes} ${largeName}` : `${wholes} ${largeName} ${rest} ${smallName}`;
}

/** `2026-11-24 01:12:03 UTC` @param time RFC 3339 */
export function formatTime(time: string): string {
  return `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
