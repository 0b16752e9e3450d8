import type { AgentFiles } from '../../config/agentSettings.ts';
import { parseNatsAddresses } from '../../config/natsAddress.ts';
import { describe, OnboardingError } from '../../errors/onboardingError.ts';
import { renewAt } from '../../machines/renewal.ts';
import { isRecord, parseJson } from '../../text/json.ts';
import {
  files,
  isDeviceId,
  isoTime,
  newState,
  type Provisioned,
  type StateDirectory,
  writeState,
} from '../state/deviceState.ts';
import { acceptCertificate, type CertificateVerifier, type KeyReader } from './acceptCertificate.ts';
import { loadOrQuarantineKey, type ResumePorts } from './resume.ts';

export interface AdoptPorts extends Pick<ResumePorts, 'onQuarantined'> {
  readonly directory: StateDirectory;
  readonly pki: CertificateVerifier &
    KeyReader & {
      /** @returns the same key as PKCS#8 PEM. @throws if it is not a private key that onboardd can use */
      pkcs8Of(privateKeyPem: string): string;
    };
  readonly now: () => number;
  readonly random: () => number;
  /** @returns the text; null if there is no such file. @throws {OnboardingError} STATE_UNWRITABLE for everything else */
  readonly readOutside: (path: string) => string | null;
  readonly onAdopted: (adopted: Adopted) => void;
}

export interface AdoptOptions {
  readonly files: AgentFiles;
  /** `identity.deviceId` */
  readonly configuredId: string | null;
  readonly commonName: string;
  /** `nats.url`, in place of the address that the agent left */
  readonly natsUrl: string | null;
  readonly renewalAt: number | readonly [number, number];
}

/** What became of an earlier agent's identity; the id is always kept. */
export interface Adopted {
  readonly deviceId: string;
  readonly key: 'kept' | 'new';
  readonly certificate: 'kept' | 'requested';
  /** Why key or certificate are not kept; null: both are */
  readonly reason: string | null;
}

/**
 * Takes over the identity that an earlier agent left, if the state directory holds none: the id always, the key if it is
 * usable, and the certificate if it is for that key, of the CA beside it and of this device. Its dates are not judged
 * here: `resume` does that each time. The agent's files are only read. A kill at any moment leaves a state directory from
 * which the same adoption starts again: the key is durable first, and the state, which ends the adoption, comes last.
 *
 * @throws {OnboardingError} STATE_UNWRITABLE: a file of the agent cannot be read, which never counts as its absence;
 *   STATE_CORRUPT: it left a key or a certificate and no id, or a key that is whole and cannot be used; CONFIG_INVALID:
 *   another id is configured
 * @throws the signal's reason
 */
export async function adoptIdentity(
  ports: AdoptPorts,
  options: AdoptOptions,
  signal: AbortSignal,
): Promise<void> {
  const { directory } = ports;
  const paths = Object.values(options.files).filter((path) => path !== null);
  if (paths.length === 0 || directory.read(files.state) !== null) return;
  const left = readLeft(ports, options.files);
  if (left.deviceId === null && left.deviceIdJson === null && left.key === null && left.certificate === null)
    return;
  const own = loadOrQuarantineKey(ports);
  const key = usableKey(ports, left.key);
  if (key === null && isWholeKey(left.key)) throw unusableKey(ports, left.key, options.files.key);
  // Another key is another identity, whose state is gone: `resume` rebuilds it, or says that it cannot.
  if (own !== null && own !== key?.spkiSha256) return;
  const deviceId = idOf(ports, left, options);
  const taken = await takeCertificate(ports, options, { left, key, deviceId }, signal);
  if (key !== null && own === null) directory.write(files.key, key.pem, 0o600);
  if (key === null && left.key !== null) keepCopy(ports, left.key, options.files.key);
  const found = paths.filter((path) => ports.readOutside(path) !== null);
  const provisioned = typeof taken === 'string' ? null : taken;
  writeState(directory, {
    ...newState(deviceId),
    provisioned,
    pinnedCa: provisioned?.caCertificate ?? null,
    // The agent may have registered the id: "already registered" is then the device itself.
    mayBeRegistered: true,
    exported: [...new Set(found)],
  });
  ports.onAdopted({
    deviceId,
    key: key === null ? 'new' : 'kept',
    certificate: provisioned === null ? 'requested' : 'kept',
    reason: typeof taken === 'string' ? taken : null,
  });
}

type Left = Readonly<Record<Exclude<keyof AgentFiles, 'identity'>, string | null>>;

/** Files that are empty count as absent. */
function readLeft({ readOutside }: AdoptPorts, named: AgentFiles): Left {
  const read = (path: string | null) => {
    const text = path === null ? null : readOutside(path);
    return text === null || text.trim() === '' ? null : text;
  };
  return {
    deviceId: read(named.deviceId),
    deviceIdJson: read(named.deviceIdJson),
    key: read(named.key),
    certificate: read(named.certificate),
    caCertificate: read(named.caCertificate),
    natsUrl: read(named.natsUrl),
  };
}

interface Key {
  readonly pem: string;
  readonly spkiSha256: string;
}

/** @returns null if there is no key, or it cannot be used */
function usableKey({ pki }: AdoptPorts, text: string | null): Key | null {
  if (text === null) return null;
  try {
    const pem = pki.pkcs8Of(text);
    return { pem, spkiSha256: pki.spkiSha256Of(pem) };
  } catch {
    return null;
  }
}

/** Not one that was cut short, or never was a key: nothing would be lost by another one. */
function isWholeKey(text: string | null): text is string {
  return text !== null && (/-----END [A-Z ]*PRIVATE KEY-----/.test(text) || isBinary(text));
}

/** DER, or whatever else is no text; a file of nothing but zeros is what a power cut leaves. */
function isBinary(text: string): boolean {
  return text.includes('\ufffd');
}

/** The device's key may well be good: neither is another one made in its place, nor its file written. */
function unusableKey({ pki }: AdoptPorts, text: string, path: string | null): OnboardingError {
  const message = `the earlier agent's key, ${path}, cannot be used, and is left as it is: ${flawOf(pki, text)}`;
  return new OnboardingError('STATE_CORRUPT', message, { reason: 'agent-key' });
}

function flawOf(pki: AdoptPorts['pki'], text: string): string {
  if (isBinary(text)) return 'it is no PEM';
  if (/-----BEGIN ENCRYPTED |^Proc-Type: *4, *ENCRYPTED/m.test(text)) return 'it is encrypted';
  try {
    pki.pkcs8Of(text);
    return 'it is of no use';
  } catch (error) {
    return error instanceof TypeError ? error.message : 'it is damaged';
  }
}

/** The one private key of the agent that cannot be used is kept beside the state before another takes its place. */
function keepCopy({ directory, onQuarantined }: AdoptPorts, text: string, path: string | null): void {
  directory.write(files.key, text, 0o600);
  const name = directory.quarantine(files.key);
  const what = `${path} holds no private key that can be used; a copy is kept as ${name}, and a new key is made`;
  onQuarantined(new OnboardingError('STATE_CORRUPT', what));
}

/** @throws {OnboardingError} STATE_CORRUPT, CONFIG_INVALID */
function idOf({ pki }: AdoptPorts, left: Left, { configuredId, files: named }: AdoptOptions): string {
  const plain = plainId(left.deviceId);
  const whole = plain !== null && isCut(plain) && !names(pki, left.certificate, plain) ? null : plain;
  const said = [whole, jsonId(left.deviceIdJson)].filter((id) => id !== null);
  const found = new Set(said.length > 0 ? said : idsOfCertificate(pki, left.certificate));
  const [id = configuredId, ...others] = found;
  const paths = [named.deviceId, named.deviceIdJson].filter((path) => path !== null).join(' and ');
  if (others.length > 0 || (id !== null && configuredId !== null && id !== configuredId)) {
    const all = [...found, ...(configuredId === null ? [] : [`${configuredId} (identity.deviceId)`])];
    throw new OnboardingError(
      'CONFIG_INVALID',
      `this device has more than one id: the earlier agent left ${all.join(', ')}; see ${paths}`,
      { reason: 'agent-identity' },
    );
  }
  if (id !== null) return id;
  throw new OnboardingError(
    'STATE_CORRUPT',
    `the earlier agent left an identity whose device id cannot be read${paths === '' ? '' : ` from ${paths}`}`,
    { reason: 'agent-identity' },
  );
}

function plainId(text: string | null): string | null {
  const id = text?.trim();
  return isDeviceId(id) ? id : null;
}

/** It may be the beginning of an agent's id, a UUID without dashes: with it the fleet would get a second device. */
function isCut(id: string): boolean {
  return /^[0-9a-f]{1,31}$/.test(id);
}

/** Whether a certificate is for this id. */
function names(pki: CertificateVerifier, pem: string | null, id: string): boolean {
  return commonNamesOf(pki, pem).some((name) => `/${name}`.endsWith(`/${id}/registration_agent`));
}

/** The shape of `device_id.json` is not public: a string, or an object that names one id plainly. */
function jsonId(text: string | null): string | null {
  if (text === null) return null;
  let json: unknown;
  try {
    json = parseJson(text);
  } catch {
    return null;
  }
  const values = isRecord(json) ? [json.id, json.deviceId, json.device_id] : [json];
  const ids = new Set(values.filter((value) => value !== undefined));
  const [id] = ids;
  return ids.size === 1 && isDeviceId(id) ? id : null;
}

/** The id in the common name that the fleet's own agents ask for. */
function idsOfCertificate(pki: CertificateVerifier, pem: string | null): string[] {
  return commonNamesOf(pki, pem).flatMap(
    (name) => /(?:^|\/)([0-9a-f]{32})\/registration_agent$/.exec(name)?.[1] ?? [],
  );
}

function commonNamesOf(pki: CertificateVerifier, pem: string | null): readonly string[] {
  try {
    const [leaf] = pem === null ? [] : pki.parseCertificates(pem);
    return leaf?.commonNames ?? [];
  } catch {
    return [];
  }
}

/** @returns why there is nothing to take, in one line */
async function takeCertificate(
  { pki, now, random }: AdoptPorts,
  options: AdoptOptions,
  { left, key, deviceId }: { left: Left; key: Key | null; deviceId: string },
  signal: AbortSignal,
): Promise<Provisioned | string> {
  if (key === null) return left.key === null ? 'there is no key' : 'the key cannot be used';
  const { certificate, caCertificate } = left;
  if (certificate === null || caCertificate === null)
    return `there is no ${certificate === null ? 'certificate' : 'CA certificate'}`;
  const natsUrl = options.natsUrl ?? addressIn(left.natsUrl);
  if (natsUrl === null) return 'there is no NATS address';
  try {
    const all = [certificate, caCertificate].flatMap((pem) => pki.parseCertificates(pem));
    const issued = Math.max(...all.map(({ notBefore }) => notBefore.getTime()));
    const commonName = options.commonName.replaceAll('{id}', deviceId);
    const { leaf, usableUntil, ...accepted } = await acceptCertificate(
      pki,
      { certificate, caCertificate },
      {
        key: key.pem,
        spkiSha256: key.spkiSha256,
        deviceId,
        commonName,
        now: issued,
        serverTime: null,
        trusted: null,
        fleetCa: null,
        renews: null,
      },
      signal,
    );
    const life = { notBefore: leaf.notBefore, notAfter: usableUntil };
    const due = isoTime(renewAt(life, options.renewalAt, random(), now()).getTime());
    return { ...accepted, natsUrl, renewAt: due, opened: false };
  } catch (error) {
    signal.throwIfAborted();
    if (
      error instanceof OnboardingError &&
      error.class === 'transient' &&
      error.code.startsWith('CERTIFICATE_')
    )
      throw error;
    return error instanceof OnboardingError
      ? error.message
      : `the certificate cannot be read: ${describe(error)}`;
  }
}

function addressIn(text: string | null): string | null {
  try {
    const address = text?.trim() ?? '';
    return parseNatsAddresses(address).length > 0 ? address : null;
  } catch {
    return null;
  }
}
