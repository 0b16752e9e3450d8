import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Config } from '../config/schema.ts';

/**
 * The CAs that the answer of the provisioning server may bring: those of `provisioning.fleetCaFile` and those that
 * `provisioning.fleetCaFingerprint` names, all of them together.
 *
 * @returns SHA-256 of each certificate's DER, hex in lower case without colons; null: the configuration names none, and
 *   any is allowed
 * @throws {Error} if the file cannot be read, or holds no certificate or a damaged one
 */
export function fleetCaPins({ provisioning }: Pick<Config, 'provisioning'>): string[] | null {
  const { fleetCaFile, fleetCaFingerprint } = provisioning;
  if (fleetCaFile === null && fleetCaFingerprint === null) return null;
  const named = fleetCaFingerprint === null ? [] : fleetCaFingerprint.split(',').map(plainFingerprint);
  const held = fleetCaFile === null ? [] : fingerprintsIn(readFileSync(fleetCaFile, 'utf8'));
  return [...new Set([...held, ...named])];
}

function fingerprintsIn(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const begun = pem.match(/-----BEGIN CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length !== begun.length) throw new Error('no PEM certificates');
  return blocks.map((block) => plainFingerprint(new X509Certificate(block).fingerprint256));
}

/** `sha256 Fingerprint=AB:CD...` -> `abcd...` */
function plainFingerprint(text: string): string {
  return text.replace(/^.*=/, '').replace(/[:\s]/g, '').toLowerCase();
}
