import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { connect } from 'nats';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../../fleet/ca.ts';
import { type NatsServer, startNats } from '../../../fleet/nats.ts';
import { deviceRights } from '../../../fleet/natsConfig.ts';
import { startPage } from '../../../fleet/page/server.ts';
import { startWorkbench, type Workbench } from '../../../fleet/workbench.ts';
import { certificateRequest } from '../../../src/adapters/pki.ts';
import { newDevice, start, temporaryFolder } from '../../support/program.ts';

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
});

async function answerTo(commonName: string): Promise<number> {
  return (await provision(commonName)).status;
}

async function provision(commonName: string) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const response = await fetch(`${workbench.urls.http}/api/devices/provision`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ csr: await certificateRequest(key, commonName) }),
  });
  const answer = (await response.json()) as Record<string, string>;
  return { status: response.status, answer, key };
}

test.each([
  ['comma', 'Oulu, Finland/comma/registration_agent'],
  ['plus', 'a+b/plus/registration_agent'],
  ['plus-pair', 'a+O=b/plus-pair/registration_agent'],
  ['quote', '"north" hall/quote/registration_agent'],
  ['equals', 'CN=x/equals/registration_agent'],
  ['pairs', 'x,O=y/pairs/registration_agent'],
  ['hash', '#1/hash/registration_agent'],
  ['hash-hex', '#0c0161/hash-hex/registration_agent'],
  ['first-space', ' x/first-space/registration_agent'],
  ['spaces', '  two  spaces /spaces/registration_agent'],
  ['backslash', 'a\\b\\,c\\2C/backslash/registration_agent'],
  ['angle', '<a>;b/angle/registration_agent'],
  ['utf8', 'Jyväskylä 東京 \u{1f600}/utf8/registration_agent'],
  ['usual', '/Finland~Solita/fleet/usual/registration_agent'],
])('a device whose common name has what is special in distinguished names is let in at NATS: %s', async (id, commonName) => {
  const { status, answer, key } = await provision(commonName);
  expect({ status, answer }).toMatchObject({ status: 200 });
  const { certificate: cert = '', caCertificate: ca = '' } = answer;
  const connection = await connect({ servers: workbench.urls.nats, tls: { cert, key, ca } });
  // It has its own rights, and no others.
  const denied = (async () => {
    for await (const { type, data } of connection.status()) if (type === 'error') return String(data);
    return undefined;
  })();
  connection.publish(`device_actions.${id}.test`);
  connection.publish('device_actions.usual-2.test');
  await connection.flush();
  expect(await denied).toBe('PERMISSIONS_VIOLATION');
  // The server tells of the connection in its own time.
  await expect
    .poll(() => workbench.ledger.devices.get(id), { timeout: 10_000 })
    .toMatchObject({ commonName, isConnected: true });
  await connection.close();
});

test('a device with a punctuated common name is registered', async () => {
  const device = newDevice({
    provisioning: { url: workbench.urls.http, fleetCaFingerprint: workbench.fingerprint },
    identity: { commonName: '#1, "Hall + yard" = <Jyväskylä>;\\/{id}/registration_agent' },
  });
  expect(await start(device, ['--once']).ended).toBe(0);
});

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

test.each([
  ['/O=Solita/CN=x', ['-utf8'], 'has more than a common name'],
  ['/CN=x+O=Solita', ['-utf8', '-multivalue-rdn'], 'has more than a common name'],
  ['/CN=x', ['-config', 'bmp.cnf'], 'is no UTF8String'],
])('a subject that nats-server maps to another user is refused with a sentence: %s %j', async (subject, options, sentence) => {
  const folder = temporaryFolder();
  writeFileSync(
    join(folder, 'bmp.cnf'),
    '[req]\nstring_mask=MASK:0x800\ndistinguished_name=dn\n[dn]\nCN=x\n',
  );
  const more = ['-subj', subject.replace('CN=x', 'CN=odd\\/registration_agent'), ...options];
  const made = spawnSync(
    'openssl',
    [...'req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem'.split(' '), ...more],
    { cwd: folder, encoding: 'utf8' },
  );
  expect(made.status, made.stderr).toBe(0);
  const response = await fetch(`${workbench.urls.http}/api/devices/provision`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ csr: made.stdout }),
  });
  expect({ status: response.status, ...((await response.json()) as object) }).toMatchObject({
    status: 400,
    error: expect.stringContaining(sentence),
  });
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
