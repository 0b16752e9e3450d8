import { isDeviceId } from '../state/deviceState.ts';
import type { CertificateReader } from './acceptCertificate.ts';
import type { KeyReader } from './resume.ts';

/** The items of `exports` that belong to the device's identity. */
export type IdentityItem = 'deviceId' | 'key' | 'certificate' | 'caCertificate' | 'natsUrl' | 'identity';

/**
 * What stands at the path of an export already: nothing; the very text; the same thing in another form (PKCS#1 instead of
 * PKCS#8, a line feed more); another identity's; or anything else.
 */
export type Standing = 'absent' | 'equal' | 'same' | 'foreign' | 'unlike';

/** @param existing what stands there, null: no file. @param ours what is to be written */
export function standingExport(
  pki: CertificateReader & KeyReader,
  item: IdentityItem,
  existing: string | null,
  ours: string,
): Standing {
  if (existing === null) return 'absent';
  if (existing === ours) return 'equal';
  switch (item) {
    case 'key':
      return standingKey(pki, existing, ours);
    case 'certificate':
    case 'caCertificate':
      return standingCertificate(pki, existing, ours, item === 'certificate');
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

function standingKey(pki: KeyReader, existing: string, ours: string): Standing {
  const own = attempt(() => pki.spkiSha256Of(ours));
  const other = attempt(() => pki.spkiSha256Of(existing));
  if (other !== null) return other === own ? 'same' : 'foreign';
  // It may be encrypted, or of a kind that is not known here.
  return existing.includes('PRIVATE KEY') ? 'foreign' : 'unlike';
}

function standingCertificate(
  pki: CertificateReader,
  existing: string,
  ours: string,
  isLeaf: boolean,
): Standing {
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
