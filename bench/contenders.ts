import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeProgram } from '../packaging/program.mjs';
import { fetched, root } from '../packaging/tools.mjs';
import type { Device } from './device.ts';
import { buildGoClient } from './goClient.ts';

/** Starts the bundle. */
export const launcher = join(root, 'dist/onboardd.cjs');
export const bundle = join(root, 'dist/program.cjs');
const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** A program whose whole life is measured. */
export interface Contender {
  readonly name: string;
  /** What runs, for a person */
  readonly what: string;
  /** The command that onboards a device to the end */
  readonly command: (device: Device) => readonly string[];
  /** The command that stays, as on a device; null: there is none */
  readonly daemon: ((device: Device) => readonly string[]) | null;
  /** Whether a device is registered when it ends */
  readonly onboards: boolean;
}

/** Go client, checkout and packaged program with an empty process of the Node version of each. */
export interface Contenders {
  readonly go: Contender;
  readonly checkout: Contender;
  readonly emptyNode: Contender;
  /** Null: there is no packaged program of this bundle */
  readonly packaged: Contender | null;
  readonly emptyPackagedNode: Contender | null;
}

/** @param makePackaged make the packaged program where there is none of this bundle */
export async function contenders(makePackaged: boolean): Promise<Contenders> {
  const { program, version } = buildGoClient();
  const go: Contender = {
    name: 'Go client',
    what: `bench/go/client.go, Go ${version}`,
    command: ({ fleet, keyType, stateDir }) => [
      program,
      ...['-url', fleet.provisioningUrl, '-nats', fleet.natsUrl, '-key', keyType, '-dir', stateDir],
    ],
    daemon: null,
    onboards: true,
  };
  const packaged = await packagedProgram(makePackaged);
  return {
    go,
    checkout: checkoutProgram(launcher),
    emptyNode: emptyNode(process.execPath),
    packaged:
      packaged === null ? null : onboardd('packaged', 'single executable, its code cache inside', [packaged]),
    emptyPackagedNode: packaged === null ? null : emptyNode(runtime()),
  };
}

/** Those that are there, in a fixed order. */
export function listed({ go, packaged, emptyPackagedNode, checkout, emptyNode }: Contenders): Contender[] {
  return [go, packaged, emptyPackagedNode, checkout, emptyNode].filter((one) => one !== null);
}

/** @param file the launcher */
export function checkoutProgram(file: string): Contender {
  return onboardd('checkout', `dist/onboardd.cjs, Node ${process.versions.node}`, [process.execPath, file]);
}

function onboardd(name: string, what: string, program: readonly string[]): Contender {
  const command = (more: readonly string[]) => (device: Device) => [
    ...program,
    ...['run', '--config', device.configFile, ...more],
  ];
  return { name, what, command: command(['--once']), daemon: command([]), onboards: true };
}

/** A process that does nothing, the floor of everything that runs on Node. */
function emptyNode(node: string): Contender {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1);
  return {
    name: `empty Node ${version.split('.')[0]}`,
    what: `node -e 0, Node ${version}`,
    command: () => [node, '-e', '0'],
    daemon: () => [node, '-e', 'setInterval(() => {}, 2 ** 30)'],
    onboards: false,
  };
}

export function runtime(): string {
  return join(fetched(architecture), 'bin/node');
}

/** The single executable, if it holds the bundle as it is now. */
async function packagedProgram(make: boolean): Promise<string | null> {
  const program = join(root, 'dist', architecture, 'onboardd');
  if (existsSync(program) && readFileSync(program).includes(readFileSync(bundle))) return program;
  if (make) return await makeProgram(architecture);
  const why = existsSync(program) ? 'is of another build' : 'is not there';
  console.error(`the packaged program is left out: ${program} ${why}; --packaged makes it`);
  return null;
}
