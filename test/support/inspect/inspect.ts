import { startFleet } from '../../../fleet/fleet.ts';
import { serveMachine } from './server.ts';

/** Shows one device in the browser while it onboards against the stand-in fleet. Ends by Ctrl-C. */
const starting = startFleet();
const ended = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
});
const fleet = await starting;
try {
  const server = await serveMachine(fleet.provisioningUrl);
  process.stdout.write(`the machine is shown at ${server.url}; the device powers on once you open it\n`);
  await ended;
  await server.stop();
} finally {
  await fleet.stop();
}
