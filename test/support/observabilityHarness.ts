import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { Check } from '../../src/services/diagnostics/check.ts';
import type { Device } from './program.ts';
import { runCommand } from './runCommand.ts';

/** What `onboardd check` found, by the check's id. */
export async function checks(device: Device): Promise<Record<string, Check>> {
  const { stdout } = await runCommand(device, 'check', '--json');
  return Object.fromEntries((JSON.parse(stdout).checks as Check[]).map((check) => [check.id, check]));
}

export function registered({ event }: { event: string }): boolean {
  return event === 'device.registered';
}

/** A port of 127.0.0.1 where nobody listens. */
export async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** How long a poll goes on: on a busy machine the program takes a second to start. */
export const patience = { timeout: 15_000, interval: 100 };
