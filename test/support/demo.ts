import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startFleet } from '../../fleet/fleet.ts';
import { type Device, newDevice, programFile, removeDevices, runToEnd, start } from './program.ts';

/** Onboards devices against the stand-in fleet, each with the real program as its own process. */
const { values } = parseArgs({ options: { devices: { type: 'string', default: '1' } } });
const count = Number(values.devices);
if (!Number.isInteger(count) || count < 1 || count > 10_000)
  throw new RangeError('--devices takes 1 to 10000');

const say = (text = '') => process.stdout.write(`${text}\n`);

async function demo(): Promise<void> {
  const begun = performance.now();
  const starting = startFleet({ fields: () => ({ token: 'aGVsbG8K' }) });
  const stop = async () => {
    await starting.then((fleet) => fleet.stop());
    removeDevices();
    process.exit(130);
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const fleet = await starting;
  try {
    say(`stand-in fleet up in ${seconds(performance.now() - begun)}`);
    say(`  provisioning server  ${fleet.provisioningUrl}`);
    say(`  NATS server          ${fleet.natsUrl}, mutual TLS, JetStream`);
    say();
    if (count === 1)
      await one(newDevice({ provisioning: { url: fleet.provisioningUrl }, identity: undefined }));
    else await many(fleet.provisioningUrl);
  } finally {
    await fleet.stop();
    removeDevices();
  }
}

async function one(device: Device): Promise<void> {
  say('first power-on: onboardd run --once');
  await show(device);
  say();
  say('power-on again: it is registered already, and asks nobody');
  await show(device);
  say();
  say('what a technician sees: onboardd status');
  say(indent(runToEnd(['status', '--config', device.configFile]).stdout));
  say('files in the state directory');
  for (const name of readdirSync(device.stateDir)) {
    const { mode, size } = statSync(join(device.stateDir, name));
    say(`  ${(mode & 0o777).toString(8)} ${String(size).padStart(6)} ${name}`);
  }
}

async function show(device: Device): Promise<void> {
  const running = start(device, ['--once'], {}, ({ event, timestamp, message }) =>
    say(`  ${String(timestamp).slice(11, 23)}  ${event.padEnd(18)} ${message}`),
  );
  const code = await running.ended;
  if (code !== 0) throw new Error(`onboardd ended with ${code}\n${running.stderr()}`);
}

async function many(url: string): Promise<void> {
  const begun = performance.now();
  let next = 0;
  let registered = 0;
  const worker = async () => {
    while (next++ < count) {
      const device = newDevice({ provisioning: { url }, identity: undefined });
      const child = spawn(process.execPath, [programFile, 'run', '--once', '--config', device.configFile], {
        stdio: 'ignore',
      });
      const code = await new Promise((resolve) => child.once('exit', resolve));
      if (code === 0) registered++;
    }
  };
  await Promise.all(Array.from({ length: Math.min(8, count) }, worker));
  const took = performance.now() - begun;
  say(
    `${registered} of ${count} devices registered in ${seconds(took)}, ${seconds(took / count)} each, 8 at a time`,
  );
  if (registered !== count) process.exitCode = 1;
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

await demo();
