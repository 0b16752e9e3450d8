import type { CertificateReader } from './acceptCertificate.ts';
import { currentState, type DeviceState, files, type StateDirectory } from './deviceState.ts';
import { resultField } from './registrationResult.ts';
import { checkClock } from './requestCertificate.ts';

export interface DeliverPorts {
  readonly directory: StateDirectory;
  readonly pki: CertificateReader;
  readonly now: () => number;
  /** Replaces a file outside the state directory, durably, where it differs. @throws STATE_UNWRITABLE */
  readonly exportFile: (path: string, text: string, mode: number) => void;
}

export interface DeliverOptions {
  /** Result field or identity item → path */
  readonly exports: Readonly<Record<string, string>>;
  readonly natsUrl: string | null;
  readonly commonName: string;
  readonly builtAt: number;
}

const secret = 0o600;
const open = 0o644;

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
  ports.directory.refresh(files.registration, result, secret);
  const json: unknown = JSON.parse(result);
  for (const [item, path] of Object.entries(options.exports)) {
    if (identityItem(item) !== null) continue;
    const value = item === 'registration' || item === files.registration ? result : resultField(json, item);
    if (value === undefined) continue;
    ports.exportFile(
      path,
      typeof value === 'string' ? value : JSON.stringify(value),
      item === 'alias' ? open : secret,
    );
  }
}

function deliverIdentity(
  { directory, exportFile }: DeliverPorts,
  options: DeliverOptions,
  state: DeviceState,
): void {
  if (state.provisioned === null) return;
  const { certificate, caCertificate } = state.provisioned;
  const natsUrl = options.natsUrl ?? state.provisioned.natsUrl;
  directory.refresh(files.certificate, certificate, open);
  directory.refresh(files.caCertificate, caCertificate, open);
  directory.refresh(files.natsUrl, natsUrl, open);
  const items: Record<IdentityItem, () => [text: string, mode: number]> = {
    deviceId: () => [state.deviceId, open],
    certificate: () => [certificate, open],
    caCertificate: () => [caCertificate, open],
    natsUrl: () => [natsUrl, open],
    identity: () => [options.commonName.replaceAll('{id}', state.deviceId), open],
    key: () => [directory.read(files.key) ?? '', secret],
  };
  for (const [name, path] of Object.entries(options.exports)) {
    const item = identityItem(name);
    if (item !== null) exportFile(path, ...items[item]());
  }
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
