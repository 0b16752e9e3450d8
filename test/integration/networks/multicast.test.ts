import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../support/multicast/twoMachines.ts', import.meta.url));
const unshared = ['-r', '-n', 'sh', '-c'];
const network = 'ip link set lo up';
const hasNamespaces = spawnSync('unshare', [...unshared, network]).status === 0;

test.skipIf(!hasNamespaces)(
  'a device on another machine finds the workbench that announces itself by multicast, and registers',
  async () => {
    const node = `${network} && exec "$0" --import tsx ${script}`;
    const stdout = await new Promise<string>((resolve, reject) => {
      execFile('unshare', [...unshared, node, process.execPath], (error, text, stderr) =>
        error ? reject(new Error(`${error.message} ${stderr}`)) : resolve(text),
      );
    });
    const { status, devices, problems, isAnnounced, log } = JSON.parse(stdout);
    expect({ status, isAnnounced, problems }, log).toEqual({ status: 0, isAnnounced: true, problems: [] });
    expect(devices).toEqual([{ state: 'registered', address: '10.78.0.2' }]);
  },
);
