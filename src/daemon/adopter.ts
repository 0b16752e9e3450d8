import { noAgent } from '../config/agentSettings.ts';
import { type AdoptPorts, adoptIdentity } from '../services/onboarding/adoptIdentity.ts';
import type { Platform } from './platform.ts';
import type { Settings } from './settings.ts';

/** @returns `adoptIdentity` for this device: no-op if no agent ran on it */
export function adopter(
  platform: Platform,
  { config, agent = noAgent }: Settings,
  { onQuarantined, onAdopted }: Pick<AdoptPorts, 'onQuarantined' | 'onAdopted'>,
): (signal: AbortSignal) => Promise<void> {
  const options = {
    files: agent.files,
    configuredId: config.identity.deviceId,
    commonName: config.identity.commonName,
    natsUrl: config.nats.url,
    renewalAt: config.renewal.at,
  };
  const ports: AdoptPorts = {
    ...platform,
    readOutside: platform.readOutside ?? (() => null),
    onQuarantined,
    onAdopted,
  };
  return (signal) => adoptIdentity(ports, options, signal);
}
