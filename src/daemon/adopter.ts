import type { Log } from '../adapters/logger.ts';
import { noAgent } from '../config/agentSettings.ts';
import { type Adopted, type AdoptPorts, adoptIdentity } from '../services/onboarding/adoptIdentity.ts';
import type { Settings } from './actors.ts';
import type { Platform } from './platform.ts';

/** @returns `adoptIdentity` for this device: no-op if no agent ran on it */
export function adopter(
  world: Platform,
  { config, agent = noAgent }: Settings,
  onQuarantined: AdoptPorts['onQuarantined'],
  log: Log,
): (signal: AbortSignal) => Promise<void> {
  const options = {
    files: agent.files,
    configuredId: config.identity.deviceId,
    commonName: config.identity.commonName,
    natsUrl: config.nats.url,
    renewalAt: config.renewal.at,
  };
  const ports = {
    ...world,
    readOutside: world.readOutside ?? (() => null),
    onQuarantined,
    onAdopted: logAdopted(log),
  };
  return (signal) => adoptIdentity(ports, options, signal);
}

function logAdopted(log: Log): (adopted: Adopted) => void {
  return ({ deviceId, key, certificate, reason }) => {
    const rest =
      reason === null
        ? 'key and certificate are kept'
        : `key: ${key}, certificate: ${certificate}: ${reason}`;
    log('info', 'identity.adopted', `the identity ${deviceId} of the earlier agent was taken over; ${rest}`, {
      key,
      certificate,
      cause: reason,
    });
  };
}
