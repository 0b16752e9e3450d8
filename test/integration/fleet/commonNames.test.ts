import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { type NatsServer, startNats } from '../../../fleet/nats.ts';
import { deviceRights } from '../../../fleet/natsConfig.ts';
import { startPage } from '../../../fleet/page/server.ts';
import { startWorkbench, type Workbench } from '../../../fleet/workbench.ts';
import { certificateRequest } from '../../../src/adapters/pki.ts';
import { removeDevices, temporaryFolder } from '../../support/program.ts';

let workbench: Workbench;
let nats: NatsServer;
beforeAll(async () => {
  workbench = await startWorkbench({
    ...{ data: join(temporaryFolder(), 'fleet'), listen: '127.0.0.1', ports: { http: 0, https: 0, nats: 0 } },
    ...{ mdns: false, cluster: false, certificateMs: 3_600_000, onProblem: () => undefined },
  });
  nats = await startNats({
    ...{ authority: await createAuthority(), dir: temporaryFolder(), jetstream: false },
    rights: (id) => (id === 'faulty' ? { publish: { allow: ['no..subject'] } } : deviceRights(id)),
  });
});
afterAll(async () => {
  await workbench?.stop();
  await nats?.stop();
  removeDevices();
});

async function answerTo(commonName: string): Promise<number> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const { status } = await fetch(`${workbench.urls.http}/api/devices/provision`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ csr: await certificateRequest(key, commonName) }),
  });
  return status;
}

test.each([
  ['\u0001'],
  ['\n'],
  ['\u0000'],
  ['\u007f'],
  ['\u0085'],
])('a common name with the control character %j is refused, and the next device is served', async (character) => {
  expect(await answerTo(`x${character}y/bad/registration_agent`)).toBe(400);
  expect(await answerTo(`good-${character.charCodeAt(0)}/registration_agent`)).toBe(200);
});

test('a common name is kept as it was asked for', async () => {
  const commonName = 'Oulu, "north" \\ 2/punctuated/registration_agent';
  expect(await answerTo(commonName)).toBe(200);
  expect(workbench.ledger.devices.get('punctuated')).toMatchObject({ commonName });
});

test('nats-server takes a configuration with whatever text a common name holds', async () => {
  const odd = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join('');
  await nats.authorise('odd', `${odd}"\\u0001\\\ud800\u2028/odd/registration_agent`);
  await nats.revoke('odd');
});

test('a device that nats-server does not take keeps no other device out', async () => {
  await expect(nats.authorise('faulty', 'x/faulty/registration_agent')).rejects.toThrow('Failed to reload');
  await nats.authorise('sound', 'x/sound/registration_agent');
  await expect(nats.authorise('faulty', 'x/faulty/registration_agent')).rejects.toThrow('Failed to reload');
});

test('the page answers to the names of its machine in whatever case', async () => {
  const assets = temporaryFolder();
  for (const name of ['index.html', 'app.js', 'style.css']) writeFileSync(join(assets, name), '');
  const named = { ...workbench, hosts: ['127.0.0.1', 'Bench-7.local'] };
  const page = await startPage({ workbench: named, assets, host: '127.0.0.1', port: 0 });
  const statusFor = async (host: string) => {
    const [response] = await once(get(page.url, { headers: { host } }), 'response');
    response.resume();
    return response.statusCode;
  };
  expect(await statusFor('bench-7.local:8081')).toBe(200);
  expect(await statusFor('BENCH-7.LOCAL')).toBe(200);
  expect(await statusFor('bench-7.local.example')).toBe(421);
  await page.stop();
});
