/**
 * docs/migrating.md, followed word for word on a device that runs an agent of each generation in turn: a Debian tree with
 * systemd as PID 1, the package installed, the stand-in fleet outside. `npm run test:migration` needs root and the package.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createAuthority } from '../../../fleet/ca.ts';
import { type Fleet, startFleet } from '../../../fleet/fleet.ts';
import { root } from '../../../packaging/tools.mjs';
import { certificateRequest } from '../../../src/adapters/pki.ts';
import { freshTree, installIn, missingForTrees, sayNotHere, unavailable } from './image.ts';
import { boot, type Machine } from './machine.ts';

const missing = missingForTrees('amd64');
if (missing.length > 0) {
  console.log(`not tested here: booting needs ${missing.join(', ')}`);
  process.exit(unavailable);
}
const built = (name: string) => statSync(join(root, 'dist', name)).mtimeMs;
const [deb] = readdirSync(join(root, 'dist'))
  .filter((name) => name.startsWith('onboardd_') && name.endsWith('_amd64.deb'))
  .sort((one, other) => built(other) - built(one));
if (deb === undefined) throw new Error('there is no package: npm run package -- amd64 deb');

const page = readFileSync(join(root, 'docs/migrating.md'), 'utf8');
/** The code blocks of a section, each without its indentation */
function blocksOf(title: string): string[] {
  const [, section = ''] = page.split(`\n## ${title}`);
  const [own = ''] = section.split('\n## ');
  return [...own.matchAll(/(?:^ {4,}\S.*\n)+/gm)].map(([text]) => text.replace(/^ +/gm, ''));
}
const [setting = '', checks = ''] = blocksOf('Before');
const [stopping = '', opening = '', dropIn = '', starting = ''] = blocksOf('Migrate');
const [back = ''] = blocksOf('Roll back');
const [, copying = ''] = /Keep a copy: `([^`]+)`/.exec(page) ?? [];

const folder = '/var/lib/fogdata';
/** Of the fleet, as the device sees it */
const away = '10.99.0.1';
type Generation = 1 | 2 | 3;

interface Agent {
  readonly id: string;
  readonly unit: string;
  /** Of onboardd, to read what the agent left */
  readonly option: string;
  readonly files: Readonly<Record<string, string>>;
}

/** A member of the fleet, as an agent of this generation leaves it. */
async function agentOf(generation: Generation, fleet: Fleet): Promise<Agent> {
  const id = randomUUID().replaceAll('-', '');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const csr = await certificateRequest(key, `${id}/registration_agent`);
  const answer = await fetch(`${fleet.provisioningUrl}/api/devices/provision`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ csr }),
  });
  const { certificate, caCertificate, fleetManagementNatsUrl } = (await answer.json()) as Record<
    string,
    string
  >;
  const url = `http://${away}:${new URL(fleet.provisioningUrl).port}`;
  const identity = {
    'identity.key': privateKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    'identity.crt': certificate ?? '',
    'identity_ca.crt': caCertificate ?? '',
    'service_nats_url.txt': `${fleetManagementNatsUrl}\n`,
  };
  const settings = {
    1: `PROVISIONING_URL=${url} # the server\nTLS=True\nSERVICE_IDENTITY_KEY_FILE=identity.key\nSERVICE_IDENTITY_CERTIFICATE_FILE=identity.crt\nSERVICE_IDENTITY_CA_FILE=identity_ca.crt\nSERVICE_NATS_URL_FILE=\\\nservice_nats_url.txt\nDEVICE_ID_FILE=device_id.txt\nDEVICE_IDENTITY_FILE=identity.txt\nDEVICE_AUTH_TOKEN_FILE=PAT.pat\nDEVICE_CONFIGURATION_FILE=docker-compose.yml\n`,
    2: `PROVISIONING_URL=${url}\nTLS=True\nIDENTITY_KEY_FILE=identity.key\nIDENTITY_CERT_FILE=identity.crt\nIDENTITY_CA_CERT_FILE=identity_ca.crt\nNATS_ENDPOINT_FILE=service_nats_url.txt\nIDENTITY_FILE=device_id.json\nSECRETS_AUTH_TOKEN_FILE=PAT.pat\nDEVICE_CONFIGURATION_FILE=docker-compose.yml\n`,
    3: 'TLS: true\nNatsEndpointFile: service_nats_url.txt\nDevice:\n  Architecture: "linux/amd64"\n  ConfigurationFile: docker-compose.yml\nIdentity:\n  CaCertFile: identity_ca.crt\n  CertFile: identity.crt\n  KeyFile: identity.key\n  File: device_id.json\nSecrets:\n  AuthTokenFile: PAT.pat\n',
  }[generation];
  const name = generation === 3 ? 'config.yaml' : '.env';
  const ids: Record<string, string> =
    generation === 1
      ? { 'device_id.txt': `${id}\n`, 'identity.txt': 'what only the agent knows' }
      : { 'device_id.json': JSON.stringify({ id }) };
  const [unit = ''] = new RegExp(`\\S+\\.service(?=.*# generations?.*${generation})`).exec(stopping) ?? [];
  const option = `${generation === 3 ? '--agent-config' : '--env-file'} ${folder}/${name}`;
  return { id, unit, option, files: { ...identity, ...ids, [name]: settings } };
}

/** The agent with its unit and files, and the container service that waits for token and compose file. */
function layOut(tree: string, { unit, files }: Agent): void {
  const put = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), text);
    chmodSync(join(tree, path), mode);
  };
  for (const [name, text] of Object.entries(files))
    put(`${folder}/${name}`, text, /key|env|yaml/.test(name) ? 0o600 : 0o644);
  const units = '/etc/systemd/system';
  const wanted = '[Install]\nWantedBy=multi-user.target\n';
  const reading = `[Service]\nType=oneshot\nExecStart=/bin/cat ${folder}/identity.key\n`;
  put(`${units}/${unit}`, `${reading}StandardOutput=null\n${wanted}`);
  const both = ['PAT.pat', 'docker-compose.yml'].map((name) => `${folder}/${name}`);
  const conditions = both.map((path) => `ConditionPathExists=${path}\n`).join('');
  const run = 'ExecStart=/bin/sh -c "echo started >> /var/lib/container-starts"';
  put(
    `${units}/container.service`,
    `[Unit]\n${conditions}[Service]\nType=oneshot\nRemainAfterExit=yes\n${run}\n`,
  );
  put(`${units}/container.path`, `[Path]\n${both.map((path) => `PathModified=${path}\n`).join('')}${wanted}`);
}

const sh = (machine: Machine, script: string) => machine.run('sh', '-ec', `exec 2>&1\n${script}`);
/** Owner, mode and content of the agent's files; of no file that came since */
const look = (machine: Machine, { files }: Agent) =>
  sh(
    machine,
    `cd ${folder}; for f in ${Object.keys(files).join(' ')}; do stat -c '%n %a %U:%G' $f; md5sum $f; done`,
  );

async function migrate(machine: Machine, fleet: Fleet, agent: Agent): Promise<void> {
  const asked = () => fleet.provisioning.requests.filter(({ method }) => method === 'POST').length;
  const [before, looked] = [asked(), await look(machine, agent)];
  const forThis = (text: string) => text.replaceAll(`--env-file ${folder}/.env`, agent.option);
  const url = `http://${away}:${new URL(fleet.provisioningUrl).port}`;
  const config = JSON.stringify(setting.trim().replace('http://192.168.1.10', url));
  await sh(machine, `printf %s ${config} > /root/onboardd.json`);
  const check = checks.split('\n').find((line) => line.includes(agent.option)) ?? '';
  const said = await sh(machine, `${check} || true`);
  assert.deepEqual(
    said.match(/^fail +\S+/gm)?.map((line) => line.slice(4).trim()),
    ['registration'],
    said,
  );
  assert.equal(asked(), before);
  assert.equal(
    await machine.property('onboardd.service', 'ActiveState'),
    'inactive',
    'a look starts nothing',
  );
  const stop = stopping.split('\n').find((line) => line.includes(agent.unit)) ?? '';
  const open = opening.replace('systemctl edit onboardd\n', '');
  const edited = `/etc/systemd/system/onboardd.service.d`;
  const drop = `mkdir -p ${edited}; cat > ${edited}/override.conf <<'END'\n${forThis(dropIn)}END\nsystemctl daemon-reload`;
  await sh(machine, [stop, copying, open, drop].join('\n'));
  const [configure = '', start = '', status = '', journal = ''] = starting.trim().split('\n');
  await sh(machine, `${configure}\n${start}`);
  const registered = await machine.until(['sh', '-c', forThis(status)], (text) => /^Registered/.test(text));
  assert.match(registered, new RegExp(`device id +${agent.id}`));
  assert.doesNotMatch(registered, /problem/);
  assert.match(await sh(machine, journal), new RegExp(agent.id));
  assert.equal(asked(), before, 'no certificate was requested');
  assert.deepEqual([...fleet.manager.accepted.keys()], [agent.id], 'the fleet sees one device');
  await machine.until(['cat', '/var/lib/container-starts'], (text) => text !== '');
  assert.match(
    await sh(machine, `${check.replace('--config /root/onboardd.json ', '')}`),
    /All checks passed/,
  );
  await sh(machine, back.replace('registration-agent.service', agent.unit));
  assert.equal(await look(machine, agent), looked, "the agent's files are as they were");
  assert.equal(await machine.property(agent.unit, 'Result'), 'success');
  assert.equal(await sh(machine, 'cat /var/lib/container-starts'), 'started');
}

const authority = await createAuthority();
for (const generation of [1, 2, 3] as const) {
  const begun = performance.now();
  await using fleet = await startFleet({
    authority,
    nats: { serverCertificate: await authority.issueServer({ hosts: ['127.0.0.1', away] }) },
    fields: () => ({ token: 'user secret\n', configuration: 'services: {}\n' }),
  });
  fleet.provisioning.natsUrl = `tls://${away}:${fleet.nats.port}`;
  const agent = await agentOf(generation, fleet);
  let machine: Machine | undefined;
  let remove = () => {};
  try {
    const fresh = freshTree('amd64');
    remove = fresh.remove;
    installIn(fresh.tree, join(root, 'dist', deb));
    layOut(fresh.tree, agent);
    machine = await boot(fresh.tree);
    await machine.connect([Number(new URL(fleet.provisioningUrl).port), fleet.nats.port], away);
    await sh(machine, `systemctl enable -q --now container.path ${agent.unit}`);
    await migrate(machine, fleet, agent);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(`generation ${generation}: migrated under its id, and back to the agent (${seconds} s)`);
  } catch (error) {
    sayNotHere(error);
  } finally {
    await machine?.powerOff();
    remove();
  }
}
