/** Where a start enters the machine. */
export type Stage = 'keygen' | 'csr' | 'provisioned' | 'registered';

/** What the disk says, read without judging it. */
export interface Facts {
  readonly key: boolean;
  /** `foreign`: there is a certificate, but not for this key. */
  readonly certificate: 'none' | 'foreign' | 'expired' | 'usable';
  readonly result: boolean;
}

/**
 * The truth table of resuming. Every step is safe to repeat, so the earliest unfinished one is entered.
 * A certificate that is not valid yet counts as usable: it was accepted when it was valid, so the clock is wrong,
 * and `provisioned` says so.
 */
export function stageOf(facts: Facts): Stage {
  if (!facts.key) return 'keygen';
  if (facts.certificate !== 'usable') return 'csr';
  return facts.result ? 'registered' : 'provisioned';
}
