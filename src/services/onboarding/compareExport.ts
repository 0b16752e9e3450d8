import { isDeviceId } from '../state/deviceState.ts';
import type { CertificateReader, KeyReader } from './acceptCertificate.ts';

/** The items of `exports` that belong to the device's identity. */
export type IdentityItem = 'deviceId' | 'key' | 'certificate' | 'caCertificate' | 'natsUrl' | 'identity';

/**
 * What an existing file holds, compared with what is to be exported: no file; the same text; the same thing in another
 * form (PKCS#1 instead of PKCS#8, a line feed more); that of another identity; anything else.
 */
export type Comparison = 'absent' | 'equal' | 'same' | 'foreign' | 'unlike';

/** @param existing the file's text, null: no file. @param ours what is to be written */
export function compareExport(
  pki: CertificateReader & KeyReader,
  item: IdentityItem,
  existing: string | null,
  ours: string,
): Comparison {
  if (existing === null) return 'absent';
  if (existing === ours) return 'equal';
  switch (item) {
    case 'key':
      return compareKey(pki, existing, ours);
    case 'certificate':
    case 'caCertificate':
      return compareCertificate(pki, existing, ours, item === 'certificate');
    case 'deviceId': {
      const id = existing.trim();
      return id === ours.trim() ? 'same' : isDeviceId(id) ? 'foreign' : 'unlike';
    }
    case 'natsUrl':
      return existing.trim() === ours.trim() ? 'same' : 'unlike';
    // What the agents write there is not public: whatever it is, it is left as it is.
    case 'identity':
      return existing.trim() === ours.trim() ? 'same' : existing.trim() === '' ? 'unlike' : 'foreign';
  }
}

function compareKey(pki: KeyReader, existing: string, ours: string): Comparison {
  const own = attempt(() => pki.spkiSha256Of(ours));
  const other = attempt(() => pki.spkiSha256Of(existing));
  if (other !== null) return other === own ? 'same' : 'foreign';
  // It may be encrypted, or of a kind that is not known here.
  return existing.includes('PRIVATE KEY') ? 'foreign' : 'unlike';
}

function compareCertificate(
  pki: CertificateReader,
  existing: string,
  ours: string,
  isLeaf: boolean,
): Comparison {
  const own = attempt(() => pki.parseCertificates(ours)) ?? [];
  const others = attempt(() => pki.parseCertificates(existing));
  if (others === null) return 'unlike';
  const prints = (all: typeof own) => all.map(({ fingerprint }) => fingerprint).join();
  if (prints(others) === prints(own)) return 'same';
  return isLeaf && others[0]?.spkiSha256 !== own[0]?.spkiSha256 ? 'foreign' : 'unlike';
}

function attempt<T>(call: () => T): T | null {
  try {
    return call();
  } catch {
    return null;
  }
}
