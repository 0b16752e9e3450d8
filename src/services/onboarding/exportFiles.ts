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
  /** Replaces a file outside the state directory, durably, if it differs. @throws STATE_UNWRITABLE */
  readonly exportFile: (path: string, text: string, mode: number) => void;
}

export interface DeliverOptions {
  /** Result field or identity item -> absolute path */
  readonly exports: Readonly<Record<string, string>>;
  readonly natsUrl: string | null;
  readonly commonName: string;
  readonly builtAt: number;
}

const privateMode = 0o600;
const publicMode = 0o644;

/**
 * Writes the files of the identity for other programs, and checks the clock against the certificate.
 *
 * @returns whether the fleet's result is already known
 * @throws {OnboardingError} CLOCK_WRONG, STATE_*
 */
export function prepareIdentity(ports: DeliverPorts, options: DeliverOptions): { registered: boolean } {
  const state = currentState(ports.directory);
  deliverIdentity(ports, options, state);
  const [leaf] = state.provisioned ? ports.pki.parseCertificates(state.provisioned.certificate) : [];
  checkClock(ports.now(), options.builtAt, leaf);
  return { registered: state.registration !== null };
}

/** Writes the files of identity and result for other programs, if they differ. @throws STATE_* */
export function deliverResult(ports: DeliverPorts, options: DeliverOptions): void {
  const state = currentState(ports.directory);
  deliverIdentity(ports, options, state);
  if (state.registration === null) return;
  const { result } = state.registration;
  ports.directory.refresh(files.registration, result, privateMode);
  ports.directory.settle();
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
  // An @ occurs in an address only behind user and password.
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

/** Writes each of `exports` that has content. Its path is durable in the state first, so that `reset` finds it. */
function exportAll(
  { directory, exportFile }: DeliverPorts,
  { exports }: DeliverOptions,
  contentOf: (item: string) => Content | null,
): void {
  const due = Object.entries(exports).flatMap(([item, path]) => {
    const content = contentOf(item);
    return content === null ? [] : [[path, ...content] as const];
  });
  if (due.length === 0) return;
  const known = new Set(currentState(directory).exported);
  const fresh = new Set(due.map(([path]) => path).filter((path) => !known.has(path)));
  if (fresh.size > 0) updateState(directory, ({ exported }) => ({ exported: [...exported, ...fresh] }));
  for (const [path, text, mode] of due) exportFile(path, text, mode);
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
type IdentityItem = (typeof identityItems)[keyof typeof identityItems];

function identityItem(name: string): IdentityItem | null {
  return Object.hasOwn(identityItems, name) ? identityItems[name as keyof typeof identityItems] : null;
}
