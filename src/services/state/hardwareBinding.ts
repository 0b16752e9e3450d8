import * as v from 'valibot';

export const hardwareIdSchema = v.object({
  /** Serial number of the hardware */
  hardware: v.nullable(v.string()),
  /** machine-id(5) */
  installation: v.nullable(v.string()),
});

/** The machine that a state belongs to: hashes; null where there is none to be read. */
export type HardwareId = Readonly<v.InferOutput<typeof hardwareIdSchema>>;

/**
 * Whether the state was made by another machine. The hardware decides where both know it: a system that is installed
 * anew on the same board keeps its identity. What only one of the two knows decides nothing.
 */
export function isClone(bound: HardwareId, here: HardwareId): boolean {
  const differ = (one: string | null, other: string | null) =>
    one !== null && other !== null && one !== other;
  if (bound.hardware !== null && here.hardware !== null) return differ(bound.hardware, here.hardware);
  return differ(bound.installation, here.installation);
}

/** The binding with what is known of the machine now. */
export function boundTo(bound: HardwareId | null, here: HardwareId): HardwareId {
  return {
    hardware: here.hardware ?? bound?.hardware ?? null,
    installation: here.installation ?? bound?.installation ?? null,
  };
}
