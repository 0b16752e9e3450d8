import type { ExportTarget } from '../../config/exports.ts';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { reasonOfDiskError } from '../../errors/reasons.ts';
import {
  currentState,
  type DeviceState,
  files,
  type StateDirectory,
  updateState,
} from '../state/deviceState.ts';
import type { CertificateReader, KeyReader } from './acceptCertificate.ts';
import { checkClock } from './clockCheck.ts';
import { compareExport, type IdentityItem } from './compareExport.ts';
import { resultField } from './registrationResult.ts';

export interface DeliverPorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateReader & KeyReader;
  readonly now: () => number;
  /**
   * Writes what is to replace a file outside the state directory, durably, if it differs.
   *
   * @returns null if it does not. @throws {OnboardingError} STATE_UNWRITABLE
   */
  readonly stageExport: (
    path: string,
    text: string,
    mode: number,
    group: string | null,
  ) => StagedExport | null;
  /** @returns the text; null if there is no such file. @throws {OnboardingError} STATE_UNWRITABLE for everything else */
  readonly readOutside: (path: string) => string | null;
  /** @returns SHA-256, hex */
  readonly sha256: (text: string) => string;
}

/** Stands beside its place. Each step @throws {OnboardingError} STATE_UNWRITABLE */
export interface StagedExport {
  /** Renames it into its place. */
  place(): void;
  /** Makes its place durable. */
  settle(): void;
}

export interface DeliverOptions {
  /** Result field or identity item -> where it goes, absolute paths */
  readonly exports: Readonly<Record<string, ExportTarget>>;
  readonly natsUrl: string | null;
  readonly commonName: string;
  readonly builtAt: number;
}

/** An export that was not written: the others were, and it is tried again. */
export interface ExportFailure {
  readonly item: string;
  readonly path: string;
  /** STATE_UNWRITABLE; CONFIG_INVALID: another identity's file stands there */
  readonly error: OnboardingError;
}

const privateMode = 0o600;
const publicMode = 0o644;

/**
 * Writes the files of the identity for other programs, and checks the clock against the certificate.
 *
 * @returns whether the fleet's result is already known
 * @throws {OnboardingError} CLOCK_WRONG, STATE_*
 */
export function prepareIdentity(
  ports: DeliverPorts,
  options: DeliverOptions,
): { registered: boolean; failures: readonly ExportFailure[] } {
  const state = currentState(ports.directory);
  const failures = deliverIdentity(ports, options, state);
  const [leaf] = state.provisioned ? ports.pki.parseCertificates(state.provisioned.certificate) : [];
  checkClock(ports.now(), options.builtAt, leaf);
  return { registered: state.registration !== null, failures };
}

/**
 * Writes the files of identity and result for other programs, if they differ.
 *
 * @throws {OnboardingError} STATE_*, of the state directory
 */
export function deliverResult(ports: DeliverPorts, options: DeliverOptions): readonly ExportFailure[] {
  const state = currentState(ports.directory);
  const failures = deliverIdentity(ports, options, state);
  if (state.registration === null) return failures;
  const { result } = state.registration;
  ports.directory.refresh(files.registration, result, privateMode);
  ports.directory.settle();
  const json: unknown = JSON.parse(result);
  const due = Object.entries(options.exports).flatMap(([item, target]) => {
    if (identityItem(item) !== null) return [];
    const value = item === 'registration' || item === files.registration ? result : resultField(json, item);
    if (value === undefined) return [];
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return [{ item, target, text, mode: item === 'alias' ? publicMode : privateMode }];
  });
  return [...failures, ...exportAll(ports, due)];
}

function deliverIdentity(
  ports: DeliverPorts,
  options: DeliverOptions,
  state: DeviceState,
): readonly ExportFailure[] {
  if (state.provisioned === null) return [];
  const { directory } = ports;
  const { certificate, caCertificate } = state.provisioned;
  const natsUrl = options.natsUrl ?? state.provisioned.natsUrl;
  // An @ occurs in an address only behind user and password.
  const natsMode = natsUrl.includes('@') ? privateMode : publicMode;
  directory.refresh(files.certificate, certificate, publicMode);
  directory.refresh(files.caCertificate, caCertificate, publicMode);
  directory.refresh(files.natsUrl, natsUrl, natsMode);
  const contents: Record<IdentityItem, () => readonly [text: string, mode: number]> = {
    deviceId: () => [state.deviceId, publicMode],
    certificate: () => [certificate, publicMode],
    caCertificate: () => [caCertificate, publicMode],
    natsUrl: () => [natsUrl, natsMode],
    identity: () => [options.commonName.replaceAll('{id}', state.deviceId), publicMode],
    key: () => [directory.read(files.key) ?? '', privateMode],
  };
  const due = Object.entries(options.exports).flatMap(([name, target]) => {
    const item = identityItem(name);
    if (item === null) return [];
    const [text, mode] = contents[item]();
    return [{ item: name, is: item, target, text, mode }];
  });
  return exportIdentity(ports, due, state);
}

interface Due {
  readonly item: string;
  readonly target: ExportTarget;
  readonly text: string;
  /** That fits the item */
  readonly mode: number;
}

/**
 * Writes the files of the identity. Another identity's key, certificate or id at a path that was never written before is
 * left as it is, and so is every other new path: programs must not see half of one identity and half of another.
 *
 * What stands at a path that was written before, or adopted, is this device's to replace, apart from the file whose content
 * only the agent knows.
 */
function exportIdentity(
  ports: DeliverPorts,
  due: readonly (Due & { readonly is: IdentityItem })[],
  { exported: known, exportDigests }: DeviceState,
): ExportFailure[] {
  const failures: ExportFailure[] = [];
  const judged = due.flatMap((one) => {
    const { is, target, text } = one;
    try {
      const existing = ports.readOutside(target.path);
      return [{ ...one, existing, standing: compareExport(ports.pki, is, existing, text) }];
    } catch (error) {
      failures.push(failure(one, ofDisk(error)));
      return [];
    }
  });
  const isForeign = ({ standing, target }: (typeof judged)[number]) =>
    standing === 'foreign' && !known.includes(target.path);
  const isOfAgent = ({ is, standing, target }: (typeof judged)[number]) =>
    is === 'identity' && standing === 'foreign' && exportDigests[target.path] === undefined;
  const isHeld = judged.some((one) => one.is !== 'identity' && isForeign(one));
  const writable: Due[] = [];
  const kept: Pick<Due, 'target' | 'text'>[] = [];
  for (const one of judged) {
    const { path } = one.target;
    if (one.standing === 'same') kept.push({ target: one.target, text: one.existing ?? one.text });
    else if (isForeign(one)) failures.push(failure(one, foreign(one)));
    else if (isOfAgent(one)) continue;
    else if (isHeld && !known.includes(path) && one.standing !== 'equal')
      failures.push(failure(one, foreign(one, 'is for a folder with the files of another identity')));
    else writable.push(one);
  }
  return [...failures, ...exportAll(ports, writable, kept)];
}

function foreign({ item, target }: Due, what = 'holds that of another identity'): OnboardingError {
  return new OnboardingError(
    'CONFIG_INVALID',
    `exports.${item} is "${target.path}", which ${what}: it is left as it is`,
    { reason: 'agent-identity' },
  );
}

/**
 * Writes each file. Path and digest are durable in the state before: `reset` forgets none, and knows what was put in the
 * place of one. One that cannot be written keeps none of the others.
 *
 * @param kept files that are this device's as they stand
 */
function exportAll(
  ports: DeliverPorts,
  due: readonly Due[],
  kept: readonly Pick<Due, 'target' | 'text'>[] = [],
): ExportFailure[] {
  if (due.length + kept.length === 0) return [];
  const { directory, sha256 } = ports;
  const state = currentState(directory);
  const known = [...kept, ...due].reduce(
    (before, { target, text }) => withExport(before, target.path, sha256(text)),
    state,
  );
  if (known !== state) updateState(directory, () => known);
  return putInPlace(ports, due);
}

/**
 * The compose file goes before the token, for whose arrival others wait (protocol.md, part 4), and nothing slow comes between
 * the two: a path unit of systemd misses a change while it starts its service for an earlier one, finds a condition unmet and
 * does not look again.
 */
function putInPlace({ stageExport }: DeliverPorts, due: readonly Due[]): ExportFailure[] {
  const failures: ExportFailure[] = [];
  const each = <T extends { readonly one: Due }, U>(steps: readonly T[], take: (step: T) => U): U[] =>
    steps.flatMap((step) => {
      try {
        return [take(step)];
      } catch (error) {
        failures.push(failure(step.one, error));
        return [];
      }
    });
  const last = ['configuration', 'token'];
  const ordered = [...due].sort((a, b) => last.indexOf(a.item) - last.indexOf(b.item));
  // Of two items with one path the later one stands there in the end.
  const isLast = ({ target }: Due, index: number) =>
    ordered.every((other, place) => place <= index || other.target.path !== target.path);
  const wanted = ordered.filter(isLast).map((one) => ({ one }));
  const staged = each(wanted, ({ one }) => {
    const { path, mode, group } = one.target;
    return { one, file: stageExport(path, one.text, mode ?? one.mode, group) };
  });
  const placed = each(staged, (step) => {
    step.file?.place();
    return step;
  });
  each(placed, ({ file }) => file?.settle());
  return failures;
}

/** How many contents of an export are known: a renewal that could not be delivered leaves an earlier one. */
const knownContents = 4;

/** @returns the same state if it knows the export already */
function withExport(state: DeviceState, path: string, digest: string): DeviceState {
  const digests = state.exportDigests[path] ?? [];
  const isKnown = state.exported.includes(path);
  if (isKnown && digests.at(-1) === digest) return state;
  const others = digests.filter((one) => one !== digest).slice(1 - knownContents);
  return {
    ...state,
    exported: isKnown ? state.exported : [...state.exported, path],
    exportDigests: { ...state.exportDigests, [path]: [...others, digest] },
  };
}

/** An export that cannot be read is no file of an earlier agent: what the disk says of it is the reason. */
function ofDisk(error: unknown): unknown {
  if (!(error instanceof OnboardingError)) return error;
  const { code, message, cause } = error;
  return new OnboardingError(code, message, { cause, reason: reasonOfDiskError(cause) });
}

/** @throws what is not a failure of the disk */
function failure({ item, target }: Due, error: unknown): ExportFailure {
  if (!(error instanceof OnboardingError)) throw error;
  return { item, path: target.path, error };
}

/** Names in `exports` besides the fields of a result: the items, and their aliases. */
export const identityItems = {
  deviceId: 'deviceId',
  key: 'key',
  certificate: 'certificate',
  caCertificate: 'caCertificate',
  natsUrl: 'natsUrl',
  identity: 'identity',
  privateKey: 'key',
  fleetManagementNatsUrl: 'natsUrl',
  [files.deviceId]: 'deviceId',
  [files.key]: 'key',
  [files.certificate]: 'certificate',
  [files.caCertificate]: 'caCertificate',
  [files.natsUrl]: 'natsUrl',
} as const;

function identityItem(name: string): IdentityItem | null {
  return Object.hasOwn(identityItems, name) ? identityItems[name as keyof typeof identityItems] : null;
}
