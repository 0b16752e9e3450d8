import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createAuthority, type Validity } from '../../../fleet/ca.ts';
import type { Fleet } from '../../../fleet/fleet.ts';
import { noFirewall, spoilPort } from './firewall.ts';
import { ago, hour, link, provisioning, type Row } from './row.ts';

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const statuses = [...range(400, 418), ...range(421, 426), 428, 429, 431, 451, ...range(500, 508), 510, 511];
const invalid = 'PROVISIONING_ANSWER_INVALID';

/** The provisioning server behind HTTPS with a certificate of the row's choice. */
function https(fault: string, certificate: Validity & { hosts: string[] }, trusted = true): Row {
  return {
    fault: `provisioning: ${fault}`,
    codes: ['PROVISIONING_TLS'],
    make: async (fleet) => {
      const authority = await createAuthority({ commonName: 'web root' });
      const caFile = join(fleet.dir, 'row_ca.crt');
      writeFileSync(caFile, trusted ? authority.pem : fleet.ca.pem);
      const bad = await authority.issueServer(certificate);
      const front = await reverseProxy(fleet, bad);
      const { port } = front.address() as AddressInfo;
      const provisioning = { url: `https://127.0.0.1:${port}`, caFile, timeoutMs: 1500 };
      const end = async () => {
        const good = await (trusted ? authority : fleet.ca).issueServer({ hosts: ['127.0.0.1'] });
        front.setSecureContext({ cert: good.chain, key: good.key });
      };
      return { device: { provisioning }, end, clean: () => front.close() };
    },
  };
}

async function reverseProxy(fleet: Fleet, { chain, key }: { chain: string; key: string }): Promise<Server> {
  const front = createServer({ cert: chain, key }, (incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = request(`${fleet.provisioningUrl}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  front.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  return front;
}

function packets(fault: string, code: string, rule: string): Row {
  return {
    fault: `provisioning: ${fault}`,
    codes: [code],
    unable: noFirewall,
    make: (fleet) => {
      const end = spoilPort(Number(new URL(fleet.provisioningUrl).port), rule);
      return { end, clean: end };
    },
  };
}

const waitsAtLeast =
  (ms: number) =>
  ({ retryInMs }: Readonly<Record<string, unknown>>) =>
    Number(retryInMs) >= ms && Number(retryInMs) <= ms + 1500 ? null : `it waits ${retryInMs} ms`;

export const provisioningRows: Row[] = [
  link('connection refused', 'PROVISIONING_UNREACHABLE', 'provisioning', 'cut'),
  link('half-open link from the start', 'PROVISIONING_TIMEOUT', 'provisioning', 'freeze'),
  link('half-open link in mid-request', 'PROVISIONING_TIMEOUT', 'provisioning', 'freeze', 1),
  link('reset after the request', 'PROVISIONING_UNREACHABLE', 'provisioning', 'cut', 1),
  packets('no route (ICMP)', 'PROVISIONING_UNREACHABLE', 'reject with icmp type host-unreachable'),
  packets('packets dropped', 'PROVISIONING_TIMEOUT', 'drop'),
  {
    fault: 'provisioning: name that does not resolve',
    codes: ['PROVISIONING_UNREACHABLE', 'PROVISIONING_TIMEOUT'],
    make: () => ({ device: { provisioning: { url: 'http://no-such-host.invalid', timeoutMs: 3000 } } }),
  },
  provisioning('no answer', 'PROVISIONING_TIMEOUT', 'hang'),
  provisioning('one byte every 100 ms', 'PROVISIONING_TIMEOUT', 'drip'),
  provisioning('late, after the timeout', 'PROVISIONING_TIMEOUT', { delayMs: 2500 }),
  provisioning('reset', 'PROVISIONING_UNREACHABLE', 'reset'),
  provisioning('half-closed', 'PROVISIONING_UNREACHABLE', 'halfClose'),
  provisioning('half an answer', 'PROVISIONING_UNREACHABLE', 'truncate'),
  provisioning('huge body', invalid, { body: 'x'.repeat(2_000_000) }),
  provisioning('empty body', invalid, { body: '' }),
  provisioning('redirect', invalid, { redirect: 'http://127.0.0.1:9/' }),
  provisioning('redirect to itself', invalid, { redirect: '/api/devices/provision' }),
  provisioning('captive portal', invalid, {
    body: '<html>log in</html>',
    headers: { 'content-type': 'text/html' },
  }),
  provisioning('truncated JSON', invalid, { body: '{"certificate":"' }),
  provisioning('JSON of a wrong type', invalid, { body: '[1]' }),
  provisioning('certificate of a wrong type', invalid, { answer: { certificate: 5 } }),
  provisioning('certificate is rubbish', invalid, { answer: { certificate: 'rubbish' } }),
  provisioning('no CA', invalid, { answer: { caCertificate: undefined } }),
  provisioning('NATS address is rubbish', invalid, { answer: { fleetManagementNatsUrl: 'http://x' } }),
  ...statuses.map((status) =>
    provisioning(`HTTP ${status}`, 'PROVISIONING_REJECTED', { status }, { group: 'provisioning: HTTP' }),
  ),
  provisioning(
    'HTTP 503, Retry-After: 2',
    'PROVISIONING_REJECTED',
    { status: 503, headers: { 'retry-after': '2' } },
    { check: waitsAtLeast(2000) },
  ),
  {
    fault: 'provisioning: HTTP 429, Retry-After as a date in 100 s',
    codes: ['PROVISIONING_REJECTED'],
    check: ({ retryInMs }) => (Number(retryInMs) > 60_000 ? null : `it waits ${retryInMs} ms`),
    make: (fleet) => {
      const headers = { 'retry-after': new Date(Date.now() + 100_000).toUTCString() };
      fleet.provisioning.behave = () => ({ status: 429, headers });
      return {};
    },
  },
  provisioning('HTTP 503, Retry-After is rubbish', 'PROVISIONING_REJECTED', {
    status: 503,
    headers: { 'retry-after': 'soon' },
  }),
  provisioning('another key’s certificate', 'CERTIFICATE_KEY_MISMATCH', { certificate: { otherKey: true } }),
  provisioning('expired certificate', 'CERTIFICATE_EXPIRED', {
    certificate: { notBefore: ago(2 * hour), notAfter: ago(hour) },
  }),
  provisioning('certificate not yet valid', 'CERTIFICATE_NOT_YET_VALID', {
    certificate: { notBefore: ago(-hour), notAfter: ago(-2 * hour) },
  }),
  provisioning('another device’s name', 'CERTIFICATE_WRONG_DEVICE', {
    certificate: { commonName: 'someone' },
  }),
  provisioning('a server’s certificate', 'CERTIFICATE_WRONG_DEVICE', {
    certificate: { eku: ['1.3.6.1.5.5.7.3.1'] },
  }),
  {
    fault: 'provisioning: certificate of another CA',
    codes: ['CERTIFICATE_UNTRUSTED'],
    make: async (fleet) => {
      const otherAuthority = await createAuthority({ commonName: 'another CA' });
      fleet.provisioning.behave = () => ({ certificate: { otherAuthority } });
      return { end: () => (fleet.provisioning.behave = () => undefined) };
    },
  },
  https('HTTPS of another CA', { hosts: ['127.0.0.1'] }, false),
  https('HTTPS, expired', { hosts: ['127.0.0.1'], notBefore: ago(2 * hour), notAfter: ago(hour) }),
  https('HTTPS, wrong host', { hosts: ['example.org'] }),
  {
    fault: 'provisioning: HTTP where HTTPS is configured',
    codes: ['PROVISIONING_TLS'],
    make: (fleet) => ({
      device: { provisioning: { url: fleet.provisioningUrl.replace('http:', 'https:'), timeoutMs: 1500 } },
    }),
  },
];
