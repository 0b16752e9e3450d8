/** Where a start enters the machine; `renewal`: registered, and the certificate is due. */
export type Stage = 'keygen' | 'csr' | 'provisioned' | 'registered' | 'renewal';

/** What the disk says, read without judging it. */
export interface Facts {
  readonly key: boolean;
  /** `foreign`: there is a certificate, but not for this key, or of a CA that the configuration does not allow. `due`: usable, and to be renewed. */
  readonly certificate: 'none' | 'foreign' | 'expired' | 'due' | 'usable';
  readonly result: boolean;
}

/**
 * The truth table of resuming. Every step is safe to repeat, so the earliest unfinished one is entered.
 * A certificate that is not valid yet counts as usable: it was accepted when it was valid, so the clock is wrong,
 * and `provisioned` says so. Registering goes before renewing: a certificate that is due still opens the door.
 */
export function stageOf(facts: Facts): Stage {
  if (!facts.key) return 'keygen';
  if (facts.certificate !== 'usable' && facts.certificate !== 'due') return 'csr';
  if (!facts.result) return 'provisioned';
  return facts.certificate === 'due' ? 'renewal' : 'registered';
}
