/**
 * In a network namespace of its own, whose loopback passes multicast on to itself: the stand-in fleet announces its
 * provisioning server by multicast DNS, and a device that knows no address of it onboards. Prints what became of it, JSON.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import multicast from 'multicast-dns';
import { startFleet } from '../../../fleet/fleet.ts';
import { newDevice, removeDevices, start } from '../program.ts';

await using fleet = await startFleet();
const fleetCaFile = join(fleet.dir, 'fleet_ca.crt');
writeFileSync(fleetCaFile, fleet.ca.pem);
const { hostname, port } = new URL(fleet.provisioningUrl);
const [service, host] = ['_provisioning._tcp.local', 'fleet.local'];
const instance = `TII Provisioning server.${service}`;
const responder = multicast();
let questions = 0;
responder.on('query', ({ questions: asked }) => {
  if (!asked.some(({ name }) => name === service)) return;
  questions++;
  responder.respond([
    { name: service, type: 'PTR', data: instance },
    { name: instance, type: 'SRV', data: { target: host, port: Number(port) } },
    { name: host, type: 'A', data: hostname },
  ]);
});
const device = newDevice({ provisioning: { discovery: 'mdns', fleetCaFile } });
const program = start(device, ['--once']);
const status = await program.ended;
responder.destroy();
removeDevices();
console.log(
  JSON.stringify({ status, questions, devices: fleet.manager.accepted.size, lines: program.lines }),
);
