/**
 * Two machines on one network: this network namespace, where the workbench listens and announces itself by multicast DNS, and
 * another one behind a cable, where a device knows no address of it and onboards. Prints what became of it, JSON.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { startWorkbench } from '../../../fleet/workbench.ts';
import { newDevice, programFile, removeDevices, temporaryFolder } from '../program.ts';

const [here, there] = ['10.78.0.1', '10.78.0.2'];
const other = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep 600'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
await once(other.stdout, 'data');
const onOther = ['nsenter', '-t', `${other.pid}`, '-n'];
const run = ([program = '', ...args]: string[]) => execFileSync(program, args, { encoding: 'utf8' });
run(['ip', ...`link add lan0 type veth peer name lan0 netns ${other.pid}`.split(' ')]);
for (const [machine, address] of [
  [[], here],
  [onOther, there],
] as const) {
  // An isolated network has no default route, by which the system would choose where multicast goes.
  for (const what of [`address add ${address}/24 dev lan0`, 'link set lan0 up multicast on'])
    run([...machine, 'ip', ...what.split(' ')]);
}

const problems: string[] = [];
const workbench = await startWorkbench({
  ...{ data: join(temporaryFolder(), 'fleet'), listen: '0.0.0.0', ports: { http: 0, https: 0, nats: 0 } },
  ...{ mdns: true, cluster: false, certificateMs: 3_600_000, onProblem: (problem) => problems.push(problem) },
});
const device = newDevice({ provisioning: { discovery: 'mdns', fleetCaFingerprint: workbench.fingerprint } });
const [nsenter = '', ...args] = [...onOther, process.execPath, programFile, 'run', '--once'];
const program = spawn(nsenter, [...args, '--config', device.configFile], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
let log = '';
program.stdout.on('data', (text) => {
  log += text;
});
const [status] = await once(program, 'close');
const devices = [...workbench.ledger.devices.values()].map(({ state, address }) => ({ state, address }));
console.log(JSON.stringify({ status, devices, problems, isAnnounced: workbench.isAnnounced, log }));
await workbench.stop();
other.kill('SIGKILL');
removeDevices();
