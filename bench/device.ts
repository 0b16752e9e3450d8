import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FleetAddress } from './fleetProcess.ts';

export const keyTypes = ['rsa-2048', 'ec-p256'] as const;
export type KeyType = (typeof keyTypes)[number];

/** A device that was never powered on, in a temporary folder. */
export interface Device {
  readonly folder: string;
  readonly stateDir: string;
  readonly configFile: string;
  readonly keyType: KeyType;
  readonly fleet: FleetAddress;
}

/** @param more settings, in place of those of here */
export function newDevice(fleet: FleetAddress, keyType: KeyType, more: object = {}): Device {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const stateDir = join(folder, 'state');
  const configFile = join(folder, 'config.json');
  const { provisioningUrl, natsUrl } = fleet;
  const config = {
    stateDir,
    provisioning: { url: provisioningUrl },
    identity: { keyType },
    nats: { url: natsUrl },
    device: { type: 'mobile' },
    log: { format: 'json' },
    ...more,
  };
  writeFileSync(configFile, JSON.stringify(config));
  return { folder, stateDir, configFile, keyType, fleet };
}

export function removeDevice({ folder }: Device): void {
  rmSync(folder, { recursive: true, force: true });
}
