import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../support/multicast/onboardByDiscovery.ts', import.meta.url));
const unshared = ['-r', '-n', 'sh', '-c'];
const network = 'ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo';
const hasNamespaces = spawnSync('unshare', [...unshared, network]).status === 0;

test.skipIf(!hasNamespaces)(
  'a device that knows no address finds its server by multicast, and registers',
  async () => {
    const node = `${network} && exec "$0" --import tsx ${script}`;
    const stdout = await new Promise<string>((resolve, reject) => {
      execFile('unshare', [...unshared, node, process.execPath], (error, text, stderr) =>
        error ? reject(new Error(`${error.message} ${stderr}`)) : resolve(text),
      );
    });
    const { status, questions, devices, lines } = JSON.parse(stdout);
    expect({ status, devices }, JSON.stringify(lines)).toEqual({ status: 0, devices: 1 });
    expect(questions).toBeGreaterThan(0);
  },
);
