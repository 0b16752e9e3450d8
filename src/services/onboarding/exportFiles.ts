import {
  currentState,
  type DeviceState,
  files,
  type StateDirectory,
  updateState,
} from '../state/deviceState.ts';
import type { CertificateReader } from './acceptCertificate.ts';
import { resultField } from './registrationResult.ts';
import { checkClock } from './requestCertificate.ts';

export interface DeliverPorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateReader;
  readonly now: () => number;
  /** Replaces a file outside the state directory, durably, where it differs. @throws STATE_UNWRITABLE */
  readonly exportFile: (path: string, text: string, mode: number) => void;
  /** @returns SHA-256, hex */
  readonly sha256: (text: string) => string;
}

export interface DeliverOptions {
  /** Result field or identity item → absolute path */
  readonly exports: Readonly<Record<string, string>>;
  readonly natsUrl: string | null;
  readonly commonName: string;
  readonly builtAt: number;
}

const privateMode = 0o600;
const publicMode = 0o644;

/**
 * Hands the identity to other programs and checks that the clock lets it be used.
 *
 * @returns whether the fleet's result is there already
 * @throws {OnboardingError} CLOCK_WRONG, STATE_*
 */
export function prepareIdentity(ports: DeliverPorts, options: DeliverOptions): { registered: boolean } {
  const state = currentState(ports.directory);
  deliverIdentity(ports, options, state);
  const [leaf] = state.provisioned ? ports.pki.parseCertificates(state.provisioned.certificate) : [];
  checkClock(ports.now(), options.builtAt, leaf);
  return { registered: state.registration !== null };
}

/** Hands identity and result to other programs; whatever is as it should be is left alone. @throws STATE_* */
export function deliverResult(ports: DeliverPorts, options: DeliverOptions): void {
  const state = currentState(ports.directory);
  deliverIdentity(ports, options, state);
  if (state.registration === null) return;
  const { result } = state.registration;
  ports.directory.refresh(files.registration, result, privateMode);
  const json: unknown = JSON.parse(result);
  exportAll(ports, options, (item) => {
    if (identityItem(item) !== null) return null;
    const value = item === 'registration' || item === files.registration ? result : resultField(json, item);
    if (value === undefined) return null;
    return [
      typeof value === 'string' ? value : JSON.stringify(value),
      item === 'alias' ? publicMode : privateMode,
    ];
  });
}

function deliverIdentity(ports: DeliverPorts, options: DeliverOptions, state: DeviceState): void {
  if (state.provisioned === null) return;
  const { directory } = ports;
  const { certificate, caCertificate } = state.provisioned;
  const natsUrl = options.natsUrl ?? state.provisioned.natsUrl;
  // User and password of an address come before an @, which nothing else in it may hold.
  const natsMode = natsUrl.includes('@') ? privateMode : publicMode;
  directory.refresh(files.certificate, certificate, publicMode);
  directory.refresh(files.caCertificate, caCertificate, publicMode);
  directory.refresh(files.natsUrl, natsUrl, natsMode);
  const items: Record<IdentityItem, () => Content> = {
    deviceId: () => [state.deviceId, publicMode],
    certificate: () => [certificate, publicMode],
    caCertificate: () => [caCertificate, publicMode],
    natsUrl: () => [natsUrl, natsMode],
    identity: () => [options.commonName.replaceAll('{id}', state.deviceId), publicMode],
    key: () => [directory.read(files.key) ?? '', privateMode],
  };
  exportAll(ports, options, (name) => {
    const item = identityItem(name);
    return item === null ? null : items[item]();
  });
}

type Content = readonly [text: string, mode: number];

/**
 * Writes what there is for each of `exports`. Path and digest are durable in the state before: `reset` forgets no file,
 * and knows what was put in the place of one.
 */
function exportAll(
  { directory, exportFile, sha256 }: DeliverPorts,
  { exports }: DeliverOptions,
  contentOf: (item: string) => Content | null,
): void {
  const due = Object.entries(exports).flatMap(([item, path]) => {
    const content = contentOf(item);
    return content === null ? [] : [[path, ...content] as const];
  });
  if (due.length === 0) return;
  const state = currentState(directory);
  const next = due.reduce((known, [path, text]) => withExport(known, path, sha256(text)), state);
  if (next !== state) updateState(directory, () => next);
  for (const [path, text, mode] of due) exportFile(path, text, mode);
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

/** What `exports` may name besides the fields of a result: the items, and the names that they have elsewhere. */
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
type IdentityItem = (typeof identityItems)[keyof typeof identityItems];

function identityItem(name: string): IdentityItem | null {
  return Object.hasOwn(identityItems, name) ? identityItems[name as keyof typeof identityItems] : null;
}
