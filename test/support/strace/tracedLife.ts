import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Fleet } from '../../../fleet/fleet.ts';
import { files, parseState } from '../../../src/services/state/deviceState.ts';
import { type Device, newDevice } from '../program.ts';
import { runProgram } from './strace.ts';

/** What can be seen of a device from outside between two lives of its daemon. */
export interface Sight {
  readonly id: string | null;
  readonly key: string | null;
  /** What the disk must never hold, whenever the power goes. */
  readonly flaws: readonly string[];
}

let devices = 0;

/** A device whose requests the provisioning server can tell from all others', by its swarm. */
export function newLife(
  fleet: Fleet,
  config: Record<string, unknown> = {},
): { device: Device; swarm: string } {
  devices += 1;
  const swarm = `swarm-${devices}`;
  const provisioning = { url: fleet.provisioningUrl, swarmId: swarm };
  return { device: newDevice({ provisioning, ...config }), swarm };
}

/** A device whose earlier agent is a member of the fleet, and left its files. */
export interface AdoptingLife {
  readonly device: Device;
  readonly swarm: string;
  readonly id: string;
  readonly publicKey: string;
}

/** An onboarded device loses its onboardd: what is left are the files of an agent, the key as the agents write it. */
export async function newAdoptingLife(fleet: Fleet): Promise<AdoptingLife> {
  const { device, swarm } = newLife(fleet);
  const agent = newDevice({
    provisioning: { url: fleet.provisioningUrl },
  });
  if ((await runProgram(agent)) !== 0) throw new Error('the agent did not register');
  const folder = dirname(device.stateDir);
  const names = [files.key, files.certificate, files.caCertificate, files.natsUrl, files.deviceId];
  const texts = new Map(names.map((name) => [name, readFileSync(join(agent.stateDir, name), 'utf8')]));
  removeDevice(agent);
  const key = createPrivateKey(texts.get(files.key) ?? '');
  texts.set(files.key, key.export({ type: 'sec1', format: 'pem' }).toString());
  for (const [name, text] of texts) writeFileSync(join(folder, name), text);
  const variables = [
    `SERVICE_IDENTITY_KEY_FILE=${folder}/${files.key}`,
    `SERVICE_IDENTITY_CERTIFICATE_FILE=${folder}/${files.certificate}`,
    `SERVICE_IDENTITY_CA_FILE=${folder}/${files.caCertificate}`,
    `SERVICE_NATS_URL_FILE=${folder}/${files.natsUrl}`,
    `DEVICE_ID_FILE=${folder}/${files.deviceId}`,
  ];
  const envFile = join(folder, 'agent.env');
  writeFileSync(envFile, variables.join('\n'));
  const id = texts.get(files.deviceId) ?? '';
  const publicKey = publicKeyOf(texts.get(files.key) ?? '');
  return { device: { ...device, args: ['--env-file', envFile] }, swarm, id, publicKey };
}

/** What an adoption must never do, whenever it was interrupted. */
export function flawsOfAdoption(
  fleet: Fleet,
  { swarm, id, publicKey }: AdoptingLife,
  sight: Sight,
): string[] {
  const found: string[] = [];
  if (fleet.provisioning.requests.some(({ json }) => json?.swarm_id === swarm)) found.push('a CSR was sent');
  if (sight.id !== null && sight.id !== id) found.push(`the id became ${sight.id}`);
  if (sight.key !== null && publicKeyOf(sight.key) !== publicKey) found.push('the key became another');
  if (sight.id !== null && sight.key === null) found.push('the state is there before the key');
  return found;
}

/** Reads the state directory: the id, the key, and every file that is there and not whole. */
export function sightOf({ stateDir }: Device): Sight {
  const flaws: string[] = [];
  const read = (name: string) => {
    const path = join(stateDir, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : null;
  };
  const whole = <T>(name: string, parse: (text: string) => T): T | null => {
    const text = read(name);
    if (text === null) return null;
    try {
      return parse(text);
    } catch (error) {
      flaws.push(`${name} is there and not whole: ${String(error)}`);
      return null;
    }
  };
  const state = whole(files.state, parseState);
  const key = whole(files.key, (text) => {
    createPrivateKey(text);
    return text;
  });
  const id = read(files.deviceId);
  if (id !== null && id !== state?.deviceId) flaws.push(`${files.deviceId} names ${id}`);
  const certificate = read(files.certificate);
  if (certificate !== null && certificate !== state?.provisioned?.certificate)
    flaws.push(`${files.certificate} is not the state's`);
  const damaged = existsSync(stateDir)
    ? readdirSync(stateDir).filter((name) => name.includes('damaged'))
    : [];
  if (damaged.length > 0) flaws.push(`set aside: ${damaged.join(', ')}`);
  return { id: state?.deviceId ?? null, key, flaws };
}

/** SHA-256 of the public key, hex, as the provisioning server notes it. */
export function publicKeyOf(privateKey: string): string {
  const spki = createPublicKey(createPrivateKey(privateKey)).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}

/**
 * What the promise forbids, over the whole life of a device: another id or key than was seen before, a key that the
 * fleet saw and the disk does not hold, two keys certified, accepted twice or not at all.
 *
 * @param sights after each kill, and after the last life
 * @param end exit status of the last life
 */
export function violationsOf(
  fleet: Fleet,
  swarm: string,
  sights: readonly Sight[],
  end: number | null,
): string[] {
  const found = sights.flatMap(({ flaws }) => flaws);
  if (end !== 0) found.push(`the last life ended with ${end}`);
  const ids = new Set(sights.flatMap(({ id }) => id ?? []));
  const keys = new Set(sights.flatMap(({ key }) => key ?? []));
  if (ids.size > 1) found.push(`ids ${[...ids].join(', ')}`);
  if (keys.size > 1) found.push(`${keys.size} keys`);
  const asked = fleet.provisioning.requests.filter(({ json }) => json?.swarm_id === swarm);
  const certified = new Set(asked.map(({ publicKeySha256 }) => publicKeySha256));
  if (certified.size > 1) found.push(`${certified.size} keys were shown to the fleet`);
  for (const key of keys)
    if (certified.size > 0 && !certified.has(publicKeyOf(key))) found.push('the fleet knows another key');
  for (const { id } of asked)
    if (id !== undefined && !ids.has(id)) found.push(`the fleet knows the id ${id}`);
  const count = fleet.manager.accepted.get([...ids][0] ?? '')?.count ?? 0;
  if (count !== 1) found.push(`accepted ${count} times`);
  return found;
}

/** What must hold right after a kill: the key was durable before the fleet saw it. */
export function flawsAfterKill(fleet: Fleet, swarm: string, { key }: Sight): string[] {
  const asked = fleet.provisioning.requests.filter(({ json }) => json?.swarm_id === swarm);
  if (asked.length === 0) return [];
  if (key === null) return ['the fleet saw a key that is not on disk'];
  return asked.every(({ publicKeySha256 }) => publicKeySha256 === publicKeyOf(key))
    ? []
    : ['the fleet saw another key than the one on disk'];
}

export function removeDevice({ stateDir }: Device): void {
  rmSync(dirname(stateDir), { recursive: true, force: true });
}
