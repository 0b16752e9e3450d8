import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { at, fleetWith } from '../../support/harness.ts';
import { type Device, runToEnd } from '../../support/program.ts';
import type { SoftToken } from './softToken.ts';

interface Choices {
  /** Further attributes of the URI, beginning with & */
  readonly query?: string;
  readonly config?: Record<string, unknown>;
  /** How long the first certificate lives; the later ones live long */
  readonly firstLifeMs?: number;
}

export async function fleetAndDevice(
  token: SoftToken,
  { query = '', config = {}, firstLifeMs }: Choices = {},
) {
  const fleet = await fleetWith();
  if (firstLifeMs !== undefined)
    fleet.provisioning.behave = (_, n) =>
      n === 1
        ? {
            certificate: {
              notBefore: new Date(Date.now() - 1000),
              notAfter: new Date(Date.now() + firstLifeMs),
            },
          }
        : undefined;
  const identity = { keyType: token.uri(`pin-source=${token.pinFile}${query}`) };
  return { fleet, device: at(fleet, { identity, ...config }) };
}

/** Lays sections over the configuration. */
export function rewrite({ configFile }: Device, sections: Record<string, unknown>): void {
  const config = JSON.parse(readFileSync(configFile, 'utf8'));
  writeFileSync(configFile, JSON.stringify({ ...config, ...sections }));
}

export function file({ stateDir }: Device, name: string): string {
  return readFileSync(join(stateDir, name), 'utf8');
}

export function certificateOf(device: Device): X509Certificate {
  return new X509Certificate(file(device, 'identity.crt'));
}

export function status({ configFile }: Device, env: Record<string, string>) {
  return JSON.parse(runToEnd(['status', '--json', '--config', configFile], env).stdout);
}

/** Nothing in the state directory is a private key. */
export function expectNoKeyOnDisk({ stateDir }: Device): void {
  const names = readdirSync(stateDir);
  expect(names.filter((name) => name.includes('identity.key'))).toEqual([]);
  for (const name of names)
    expect(readFileSync(join(stateDir, name), 'utf8'), name).not.toContain('PRIVATE KEY');
}
