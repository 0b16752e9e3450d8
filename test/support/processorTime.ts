/** Milliseconds of the processor that a call took: what else the machine does meanwhile does not count. */
export function processorMs(call: () => unknown): number {
  const begun = process.cpuUsage();
  call();
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 1000;
}
