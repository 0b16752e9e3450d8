/** Where a start enters the machine; `renewal`: registered, and the certificate is due. */
export type Stage = 'keygen' | 'csr' | 'provisioned' | 'registered' | 'renewal';

/** What the disk says, read without judging it. */
export interface Facts {
  readonly key: boolean;
  /** `foreign`: there is a certificate, but not for this key, or of a CA that the configuration does not allow. `due`: usable, and to be renewed. */
  readonly certificate: 'none' | 'foreign' | 'expired' | 'due' | 'usable';
  readonly result: boolean;
  /** A renewed certificate lies beside the one in use, and lives. */
  readonly candidate: boolean;
}

/** What the disk lacks for a device to be registered. */
export type Lack =
  | 'key-lost'
  | 'certificate-missing'
  | 'certificate-foreign'
  | 'certificate-expired'
  | 'registration-missing';

/** Why `registered` is left: what the disk lacks, a certificate that NATS refuses for good, a failure, or other fields to announce. */
export type LeaveReason = Lack | 'certificate-refused' | 'permanent-failure' | 'announcement-changed';

/**
 * The truth table of resuming. Every step is safe to repeat, so the earliest unfinished one is entered.
 * A certificate that is not valid yet counts as usable: it was accepted when it was valid, so the clock is wrong,
 * and `provisioned` says so. Registering goes before renewing: a certificate that is due still opens the door.
 */
export function stageOf(facts: Facts): Stage {
  if (!facts.key) return 'keygen';
  // Nothing is lost by a renewed certificate that was accepted and could not be tried in time.
  if (facts.certificate === 'expired' && facts.candidate && facts.result) return 'renewal';
  if (facts.certificate !== 'usable' && facts.certificate !== 'due') return 'csr';
  if (!facts.result) return 'provisioned';
  return facts.certificate === 'due' ? 'renewal' : 'registered';
}

/** What keeps a device from being registered; null: nothing. */
export function lackOf(facts: Facts): Lack | null {
  if (!facts.key) return 'key-lost';
  if (facts.certificate === 'none') return 'certificate-missing';
  if (facts.certificate === 'foreign') return 'certificate-foreign';
  if (!facts.result) return 'registration-missing';
  return facts.certificate === 'expired' && !facts.candidate ? 'certificate-expired' : null;
}
