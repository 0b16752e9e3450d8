import * as v from 'valibot';

export const hardwareIdSchema = v.object({
  /** Serial number of the hardware */
  hardware: v.nullable(v.string()),
  /** machine-id(5) */
  installation: v.nullable(v.string()),
});

/** The hardware that a state belongs to, as hashes; null if a value cannot be read. */
export type HardwareId = Readonly<v.InferOutput<typeof hardwareIdSchema>>;

/**
 * Whether the state was made on another machine. The serial number decides if both have one: a system that is
 * reinstalled on the same board keeps its identity. A value that only one of them has is ignored.
 */
export function isClone(bound: HardwareId, here: HardwareId): boolean {
  const differ = (one: string | null, other: string | null) =>
    one !== null && other !== null && one !== other;
  if (bound.hardware !== null && here.hardware !== null) return differ(bound.hardware, here.hardware);
  return differ(bound.installation, here.installation);
}

/** The binding, completed by what can be read of the machine now. */
export function boundTo(bound: HardwareId | null, here: HardwareId): HardwareId {
  return {
    hardware: here.hardware ?? bound?.hardware ?? null,
    installation: here.installation ?? bound?.installation ?? null,
  };
}
