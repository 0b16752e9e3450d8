import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startFleet } from '../fleet/fleet.ts';

/** Where the fleet listens. */
export interface FleetAddress {
  readonly provisioningUrl: string;
  readonly natsUrl: string;
}

export interface FleetProcess extends FleetAddress {
  readonly pid: number;
  stop(): Promise<void>;
}

/** The stand-in fleet of the tests in a process of its own, so that its work is not the work of what is measured. */
export async function startFleetProcess(): Promise<FleetProcess> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['serve'], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const address = await new Promise<FleetAddress>((resolve, reject) => {
    child.once('message', (message) => resolve(message as FleetAddress));
    child.once('exit', (code) => reject(new Error(`the fleet ended with ${code}`)));
  });
  return {
    ...address,
    pid: child.pid ?? 0,
    async stop() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}

async function serve(): Promise<void> {
  const fleet = await startFleet({ fields: () => ({ token: 'aGVsbG8K' }) });
  process.once('disconnect', () => {
    fleet.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
  process.send?.({ provisioningUrl: fleet.provisioningUrl, natsUrl: fleet.natsUrl } satisfies FleetAddress);
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === 'serve') await serve();
