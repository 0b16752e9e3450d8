import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import { type OpensslRequest, opensslCa } from '../../fleet/opensslCa.ts';
import { heartbeat } from '../../support/attackers/heartbeat.ts';
import { at, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { temporaryFolder } from '../../support/program.ts';
import { runCommand } from '../../support/runCommand.ts';

test.each([
  [50_000, 'PROVISIONING_ANSWER_INVALID'],
  [15_000, 'CERTIFICATE_WRONG_DEVICE'],
])('a certificate whose subject has %i slashes keeps the daemon busy for no moment', async (slashes, code) => {
  const fleet = await fleetWith({ manager: false });
  fleet.provisioning.behave = () => ({ certificate: { commonName: '/'.repeat(slashes) } });
  const { env, stopped } = heartbeat(fleet.dir);
  const program = launch(at(fleet), [], env);
  const failed = await program.until((line) => line.event === 'step.failed');
  expect(failed).toMatchObject({ code, step: 'csr' });
  await stopped(program);
});

/** Answers with certificates of one name, each of which might have signed each other. */
function chainBomb(signers: number, anchors: number): (csr: string) => string {
  const ca = opensslCa(temporaryFolder());
  ca.key('bomb', 'P-256');
  ca.key('other', 'P-256');
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
  const make = (more: OpensslRequest) => ca.issue({ subject: '/CN=bomb', extensions, ...more });
  const top = make({ key: 'bomb' });
  const chain = Array.from({ length: signers }, () => make({ key: 'bomb', issuer: top }).pem).join('');
  const caCertificate = Array.from({ length: anchors }, () => make({ key: 'other' }).pem).join('');
  return (csr) => {
    const leaf = ca.issue({ csr, issuer: top, extensions: ['extendedKeyUsage=clientAuth'] });
    const fleetManagementNatsUrl = 'tls://127.0.0.1:1';
    return JSON.stringify({ certificate: leaf.pem + chain, caCertificate, fleetManagementNatsUrl });
  };
}

test.each([
  ['7 certificates and 8 CAs', 7, 8, /32 signature checks/],
  ['31 certificates and 32 CAs', 31, 32, /more than 8 certificates|more than 65536 characters/],
])('an answer with %s of one name is refused at once, and SIGTERM heard', async (_, signers, anchors, reason) => {
  const fleet = await fleetWith({ manager: false });
  const bomb = chainBomb(signers, anchors);
  fleet.provisioning.behave = ({ json }) => ({ body: bomb(String(json?.csr)) });
  const { env, stopped } = heartbeat(fleet.dir);
  const program = launch(at(fleet), [], env);
  const failed = await program.until(failure('PROVISIONING_ANSWER_INVALID'));
  expect(failed.cause).toMatch(reason);
  await fleet.provisioning.journal.atLeast(2);
  await stopped(program);
});

const block = /-----BEGIN CERTIFICATE-----\n([\w+/]{64}\n)*[\w+/=]{1,64}\n-----END CERTIFICATE-----\n/g;

test.each<[string, (pem: string) => string]>([
  ['with END and BEGIN on one line', (pem) => pem.replaceAll('-----\n-----', '----------')],
  ['that begins in mid-line', (pem) => `CA: ${pem}`],
  ['without a final newline', (pem) => pem.trimEnd()],
  ['with CRLF', (pem) => pem.replaceAll('\n', '\r\n')],
])('PEM %s registers the device, and lies on its disk as every reader of PEM takes it', async (_, distort) => {
  const fleet = await fleetWith({ authority: { intermediate: true } });
  fleet.provisioning.behave = () => ({
    answer: ({ certificate, caCertificate }) => ({
      certificate: distort(certificate),
      caCertificate: distort(caCertificate),
    }),
  });
  const device = at(fleet);
  await onboard(device);
  const [leaf, anchor] = ['identity.crt', 'identity_ca.crt'].map((name) => join(device.stateDir, name));
  for (const [file = '', count] of [
    [leaf, 2],
    [anchor, 1],
  ] as const) {
    const text = readFileSync(file, 'utf8');
    expect(text.match(block)).toHaveLength(count);
    expect(text.replace(block, '')).toBe('');
    execFileSync('openssl', ['x509', '-noout', '-in', file]);
  }
  const words = ['verify', '-purpose', 'sslclient', '-CAfile', anchor, '-untrusted', leaf, leaf];
  expect(execFileSync('openssl', words as string[], { encoding: 'utf8' })).toContain(': OK');
});

/** Clears a terminal (C1), turns the order of what follows, breaks a line. */
const nasty = '\u009b2J\u202eevil\u2066\u0085\u2028';
const unseen = /(?!\n)[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/u;

test.each([
  'json',
  'journal',
  'pretty',
])('whatever a provisioning server says wrong steers no reader of the log in format %s', async (format) => {
  const fleet = await fleetWith({ manager: false });
  const wrong: ProvisioningBehaviour[] = [
    { body: 'no JSON', headers: { 'content-type': 'text/\u009b2J\u0085evil' } },
    { answer: { fleetManagementNatsUrl: `tls://${nasty}:` } },
    { certificate: { commonName: nasty } },
  ];
  fleet.provisioning.behave = (_, n) => wrong[n - 1];
  const device = at(fleet, { log: { format } });
  const { status, stdout, stderr } = await runCommand(device, 'run', '--once');
  expect(status).toBe(1);
  for (const part of [
    /invalid JSON \(text\/ 2J evil/,
    /fleetManagementNatsUrl/,
    /CERTIFICATE_WRONG_DEVICE.*evil/,
  ])
    expect(stdout).toMatch(part);
  expect(stdout + stderr).not.toMatch(unseen);
  expect(state(device).provisioned).toBeNull();
});
