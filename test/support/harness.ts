import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Fleet, type FleetOptions, startFleet } from '../../fleet/fleet.ts';
import { atEnd } from './atEnd.ts';
import { type Device, type Line, newDevice, type Running, start } from './program.ts';

/** The test's own fleet; it ends with the test. */
export async function fleetWith(options: FleetOptions = {}): Promise<Fleet> {
  return atEnd(await startFleet(options));
}

/** A new device that knows the fleet's provisioning server. */
export function at(fleet: Fleet, more: Record<string, unknown> = {}): Device {
  return newDevice({ provisioning: { url: fleet.provisioningUrl }, ...more });
}

/** `onboardd run`; it ends with the test. */
export function launch(device: Device, args: string[] = [], env: Record<string, string> = {}): Running {
  const program = start(device, args, env);
  atEnd({
    async stop() {
      program.child.kill('SIGKILL');
      await program.ended;
    },
  });
  return program;
}

/** `onboardd run --once`, to `registered`. */
export async function onboard(device: Device, env: Record<string, string> = {}): Promise<Running> {
  const program = launch(device, ['--once'], env);
  expect(await program.ended, JSON.stringify(program.lines)).toBe(0);
  return program;
}

export function state(device: Device) {
  return JSON.parse(readFileSync(join(device.stateDir, 'state.json'), 'utf8'));
}

/** The states that it passed. */
export function states(program: Running): unknown[] {
  return program.lines.filter((line) => line.event === 'state.changed').map((line) => line.to);
}

/** Accepts a failed step with this code. */
export function failure(code: string): (line: Line) => boolean {
  return (line) => line.event === 'step.failed' && line.code === code;
}
