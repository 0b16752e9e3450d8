import { OnboardingError } from '../../errors/onboardingError.ts';
import type { Resumed } from '../../machines/contracts.ts';
import { renewAt } from '../../machines/renewal.ts';
import { type Facts, type LeaveReason, lackOf, stageOf } from '../../machines/stage.ts';
import {
  type Announced,
  type DeviceState,
  files,
  isDeviceId,
  NewerStateError,
  newState,
  type Provisioned,
  parseState,
  type Registration,
  type StateDirectory,
  writeState,
} from '../state/deviceState.ts';
import { boundTo, type HardwareId, isClone } from '../state/hardwareBinding.ts';
import { type Certificate, type CertificateReader, isFleetCa, type KeyReader } from './acceptCertificate.ts';
import { keyFor, settleKeys } from './keyRotation.ts';
import { leaveIfChanged } from './leaveRegistration.ts';
import { isAlreadyRegistered, readKeptResult } from './registrationResult.ts';

/** What was lost of an identity that the device had. */
export type ReplaceReason = 'state-damaged' | 'state-missing' | 'key-lost';

export interface ResumePorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateReader & KeyReader;
  readonly now: () => number;
  /** The machine that this is */
  readonly machine: () => HardwareId;
  /** A random UUID */
  readonly randomUUID: () => string;
  /** Reports which damaged file was quarantined, and what replaced it. */
  readonly onQuarantined: (error: OnboardingError) => void;
  /** Reports that the device has to register again, and why, once that is durable. */
  readonly onLeft: (reason: LeaveReason) => void;
  /** Says that the device has got another id, once that is durable. */
  readonly onReplaced: (reason: ReplaceReason, deviceId: string) => void;
}

/**
 * Reads the facts from disk, repairs what a crash or damage left, and returns the stage to continue from. On a device
 * without any facts it makes the device id; nothing else makes one.
 *
 * @param configuredId `identity.deviceId`
 * @param fleetCa SHA-256 of the CAs that the configuration allows, hex; a certificate of another CA counts as absent. null: any
 * @param announcement what a device of this id announces now; null: a change of it means nothing
 * @throws {OnboardingError} STATE_CORRUPT if the identity may exist and cannot be read, STATE_CLONED, STATE_UNWRITABLE;
 *   with the device id if `state.json` could be read
 */
export function resume(
  ports: ResumePorts,
  configuredId: string | null,
  fleetCa: readonly string[] | null = null,
  announcement: ((deviceId: string) => Announced) | null = null,
): Resumed {
  const deviceId = assertOwnState(ports);
  const identified = (error: OnboardingError) => (deviceId === null ? error : error.of(deviceId));
  const onQuarantined = (error: OnboardingError) => ports.onQuarantined(identified(error));
  try {
    return readFacts({ ...ports, onQuarantined }, configuredId, fleetCa, announcement);
  } catch (error) {
    throw error instanceof OnboardingError ? identified(error) : error;
  }
}

function readFacts(
  ports: ResumePorts,
  configuredId: string | null,
  fleetCa: readonly string[] | null,
  announcement: ((deviceId: string) => Announced) | null,
): Resumed {
  const { directory } = ports;
  const found = loadOrQuarantineKey(ports);
  const loaded = bind(ports, loadOrRebuildState(ports, found, configuredId));
  const { state: settled, key } = settleKeys(ports, loaded, found);
  const state =
    announcement === null ? settled : leaveIfChanged(ports, settled, announcement(settled.deviceId));
  directory.refresh(files.deviceId, state.deviceId, 0o644);
  // Those that are there: a setting that was made since seals each of them.
  for (const name of [files.key, files.nextKey, files.previousKey]) directory.restrict(name, 0o600);
  if (key !== null) {
    // No key is written any more, which would make the id's copy durable: without it a damaged state would lose the id.
    directory.settle();
  }
  const facts: Facts = {
    key: key !== null,
    certificate: certificateFact(ports, state, key, fleetCa),
    result: state.registration !== null,
    candidate: isCandidateUsable(ports, state, fleetCa),
  };
  const { deviceId, provisioned, registration, verifiedAt } = state;
  const leaf = provisioned && leafOf(ports.pki, provisioned.certificate);
  return {
    deviceId,
    alias: registration?.alias ?? null,
    stage: stageOf(facts),
    lack: lackOf(facts),
    renewAt: provisioned && Date.parse(provisioned.renewAt),
    notAfter: leaf?.notAfter.getTime() ?? null,
    opened: provisioned?.opened === true,
    refused: provisioned?.refused === true,
    candidate: facts.candidate,
    verifiedAt: verifiedAt === null ? null : Date.parse(verifiedAt),
  };
}

/** Whether there is a renewed certificate that has not expired, for a key on disk and of an allowed CA. */
function isCandidateUsable(
  { directory, pki, now }: ResumePorts,
  { candidate }: DeviceState,
  fleetCa: readonly string[] | null,
): boolean {
  const leaf = candidate && leafOf(pki, candidate.certificate);
  return (
    candidate !== null &&
    leaf !== null &&
    now() <= leaf.notAfter.getTime() &&
    isFleetCa(pki, candidate.caCertificate, fleetCa) &&
    keyFor({ directory, pki }, candidate.certificate) !== null
  );
}

/**
 * Refuses the state of a newer version, which this one cannot read, one that is half reset, and that of another machine.
 *
 * @returns the device id of the state; null if there is no state, or a damaged one
 * @throws {OnboardingError} STATE_CORRUPT, STATE_CLONED, STATE_UNWRITABLE
 */
function assertOwnState({ directory, machine }: ResumePorts): string | null {
  // A failure to read is thrown: what says that this is a copy, or half reset, must not be passed over.
  const state = stateOrNull(directory.read(files.state) ?? '');
  if (state === null) return null;
  const { deviceId, machine: bound, resetting } = state;
  if (resetting) {
    // What is left is not an identity, and is not repaired.
    const message = `the reset of ${deviceId} was interrupted: run \`onboardd reset\` again`;
    throw new OnboardingError('STATE_CORRUPT', message, { deviceId });
  }
  if (bound === null || !isClone(bound, machine())) return deviceId;
  throw new OnboardingError(
    'STATE_CLONED',
    `the identity ${deviceId} was made on another machine and copied to this one`,
    { deviceId },
  );
}

/** @returns null for a damaged state. @throws {NewerStateError} */
function stateOrNull(text: string): DeviceState | null {
  try {
    return parseState(text);
  } catch (error) {
    if (error instanceof NewerStateError) throw error;
    return null;
  }
}

function bind({ directory, machine }: ResumePorts, state: DeviceState): DeviceState {
  const bound = boundTo(state.machine, machine());
  if (bound.hardware === state.machine?.hardware && bound.installation === state.machine.installation)
    return state;
  const next = { ...state, machine: bound };
  writeState(directory, next);
  return next;
}

/** @returns the SHA-256 of the public key of `identity.key`, hex; null: there is none, or it is damaged and quarantined */
export function loadOrQuarantineKey({
  directory,
  pki,
  onQuarantined,
}: {
  readonly directory: StateDirectory;
  readonly pki: KeyReader;
  readonly onQuarantined: ResumePorts['onQuarantined'];
}): string | null {
  const pem = directory.read(files.key);
  if (pem === null) return null;
  try {
    return pki.spkiSha256Of(pem);
  } catch (cause) {
    const name = directory.quarantine(files.key);
    onQuarantined(
      new OnboardingError(
        'STATE_CORRUPT',
        `${files.key} was no private key; it is kept as ${name}, and a new key is made`,
        {
          cause,
        },
      ),
    );
    return null;
  }
}

/** The state on disk; else a state rebuilt from the copies beside it; else, if there is no key, that of a new device. */
function loadOrRebuildState(
  ports: ResumePorts,
  spkiSha256: string | null,
  configuredId: string | null,
): DeviceState {
  const { directory, randomUUID, machine, onQuarantined } = ports;
  const text = directory.read(files.state);
  let damage: unknown = null;
  if (text !== null) {
    try {
      return parseState(text);
    } catch (error) {
      if (error instanceof NewerStateError) throw error;
      damage = error;
    }
  }
  // Another key would cost the identity, and this one is not lost.
  if (spkiSha256 === null && saysKeyInToken(text))
    throw new OnboardingError(
      'STATE_CORRUPT',
      `${files.state} is damaged and says that the key is in a token, where none is found; it gets no other by itself`,
      { cause: damage, reason: 'token-key-missing' },
    );
  const traces = spkiSha256 !== null || damage !== null;
  const rebuilt = traces ? rebuild(ports, spkiSha256, configuredId) : null;
  if (rebuilt === null && spkiSha256 !== null && configuredId === null) {
    throw new OnboardingError(
      'STATE_CORRUPT',
      `${files.state} is damaged or gone and the device id is nowhere else, while ${files.key} is readable`,
      { cause: damage },
    );
  }
  if (text !== null) {
    const name = directory.quarantine(files.state);
    const became = rebuilt
      ? 'it was rebuilt from the files beside it'
      : 'a new identity is made, since there was no key';
    onQuarantined(
      new OnboardingError('STATE_CORRUPT', `${files.state} was damaged; it is kept as ${name}; ${became}`, {
        cause: damage,
      }),
    );
  }
  const replaced = replacedBy({ directory, text, spkiSha256, rebuilt });
  const made = rebuilt ?? newState(configuredId ?? randomUUID().replaceAll('-', ''), configuredId === null);
  const keyInToken = directory.read(files.key)?.startsWith('pkcs11:') === true;
  const state = { ...made, keyInToken, machine: boundTo(null, machine()) };
  writeState(directory, state);
  if (replaced !== null) ports.onReplaced(replaced, state.deviceId);
  return state;
}

/** @param text of a state that cannot be parsed */
function saysKeyInToken(text: string | null): boolean {
  return text !== null && /"keyInToken":\s*true\b/.test(text);
}

/** What was lost of an identity that the device had; null: nothing, or it had none. */
function replacedBy(found: {
  readonly directory: StateDirectory;
  readonly text: string | null;
  readonly spkiSha256: string | null;
  readonly rebuilt: DeviceState | null;
}): ReplaceReason | null {
  const { directory, text, spkiSha256, rebuilt } = found;
  if (spkiSha256 !== null) return null;
  if (rebuilt !== null) return directory.read(files.certificate) === null ? null : 'key-lost';
  if (text !== null) return 'state-damaged';
  return directory.read(files.deviceId) === null ? null : 'state-missing';
}

function rebuild(
  { directory, pki, now, randomUUID }: ResumePorts,
  spkiSha256: string | null,
  configuredId: string | null,
): DeviceState | null {
  const deviceId = directory.read(files.deviceId)?.trim();
  if (!isDeviceId(deviceId)) return null;
  // A file that was cut short holds a text that could be an id: it must be one that we make, or the configured one.
  if (deviceId !== configuredId && !/^[0-9a-f]{32}$/.test(deviceId)) return null;
  const provisioned = spkiSha256 === null ? null : rebuildProvisioned(directory, pki, spkiSha256, now());
  const registration = rebuildRegistration(directory, now());
  return {
    ...newState(deviceId),
    provisioned: provisioned && { ...provisioned, opened: registration !== null },
    pinnedCa: registration === null ? null : (provisioned?.caCertificate ?? null),
    registration,
    // The id was written there once it had a certificate, so that it may have been registered, also with a key that is gone
    // since (a reset that kept the id, say): "already registered" is then its own registration.
    mayBeRegistered: true,
    request: provisioned && {
      messageId: randomUUID(),
      firstAt: new Date(now()).toISOString(),
      publishes: 1,
      afterSequence: null,
      afterStoredAt: null,
      announced: null,
    },
  };
}

function rebuildProvisioned(
  directory: StateDirectory,
  pki: CertificateReader,
  spkiSha256: string,
  now: number,
): Provisioned | null {
  const certificate = directory.read(files.certificate);
  const caCertificate = directory.read(files.caCertificate);
  const natsUrl = directory.read(files.natsUrl)?.trim();
  if (!certificate || !caCertificate || !natsUrl) return null;
  const leaf = leafOf(pki, certificate);
  if (leaf?.spkiSha256 !== spkiSha256 || leafOf(pki, caCertificate) === null) return null;
  // The random time of renewal is lost: use the middle of the default range.
  const due = renewAt(leaf, 0.8, 0, now).toISOString();
  return { certificate, caCertificate, natsUrl, renewAt: due, opened: false };
}

function rebuildRegistration(directory: StateDirectory, now: number): Registration | null {
  const result = directory.read(files.registration);
  if (result === null) return null;
  try {
    const read = readKeptResult(result);
    const registered = read.kind === 'success' || isAlreadyRegistered(read.error);
    const alias = read.kind === 'success' ? read.alias : null;
    return registered ? { alias, at: new Date(now).toISOString(), result, announced: null } : null;
  } catch {
    return null;
  }
}

/** @param spkiSha256 of the key at hand; null: there is none */
function certificateFact(
  { pki, now }: ResumePorts,
  { provisioned }: DeviceState,
  spkiSha256: string | null,
  fleetCa: readonly string[] | null,
): Facts['certificate'] {
  if (provisioned === null) return 'none';
  if (!isFleetCa(pki, provisioned.caCertificate, fleetCa)) return 'foreign';
  const leaf = leafOf(pki, provisioned.certificate);
  if (leaf === null || leaf.spkiSha256 !== spkiSha256) return 'foreign';
  if (now() > leaf.notAfter.getTime()) return 'expired';
  return now() >= Date.parse(provisioned.renewAt) ? 'due' : 'usable';
}

function leafOf(pki: CertificateReader, pem: string): Certificate | null {
  try {
    return pki.parseCertificates(pem)[0] ?? null;
  } catch {
    return null;
  }
}
