import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import multicast, { type MulticastDNS, type Options, type ResponseOutgoingPacket } from 'multicast-dns';
import { afterEach, expect, test } from 'vitest';
import { discover } from '../../../src/adapters/discovery.ts';

const sockets: MulticastDNS[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A UDP socket on 127.0.0.1 in place of the multicast group, which not every machine passes on to itself. */
async function bound(): Promise<{ socket: Socket; port: number }> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, port: socket.address().port };
}

/** @param port whom it talks to, when it is not answering */
function open(socket: Socket, port: number): MulticastDNS {
  const opened = multicast({ socket, port, ip: '127.0.0.1', multicast: false, bind: false } as Options);
  sockets.push(opened);
  return opened;
}

type Answers = NonNullable<ResponseOutgoingPacket['answers']>;
const service = '_provisioning._tcp.local';
const named = (instance: string, port: number, address: string, host = `${port}.local`): Answers => [
  { name: service, type: 'PTR', data: `${instance}.${service}` },
  { name: `${instance}.${service}`, type: 'SRV', data: { target: host, port } },
  { name: host, type: 'A', data: address },
];

/** Answers each question with the records of that name and type. @returns its port */
async function announce(records: Answers, isWhole: boolean): Promise<number> {
  const { socket, port } = await bound();
  const responder = open(socket, port);
  responder.on('query', ({ questions }, asker) => {
    const answers = questions.flatMap(({ name, type }) =>
      records.filter((record) => record.name === name && record.type === type),
    );
    if (answers.length > 0) responder.respond(isWhole ? records : answers, asker);
  });
  return port;
}

async function look(port: number, ms = 20_000): Promise<string[]> {
  const { socket } = await bound();
  return await discover(AbortSignal.timeout(ms), async () => open(socket, port));
}

test.each([
  true,
  false,
])('the fleet’s server is found, with all records in one answer: %s', async (isWhole) => {
  const port = await announce(named('TII Provisioning server', 8080, '10.0.0.7'), isWhole);
  expect(await look(port)).toEqual(['http://10.0.0.7:8080']);
});

test('the fleet’s own server comes before another one', async () => {
  const port = await announce(
    [...named('another', 81, '10.0.0.8'), ...named('TII Provisioning server', 80, '10.0.0.7')],
    true,
  );
  expect(await look(port)).toEqual(['http://10.0.0.7:80', 'http://10.0.0.8:81']);
});

test('a server under another name is taken where there is no other', async () => {
  const port = await announce(named('another', 81, '10.0.0.8'), true);
  expect(await look(port)).toEqual(['http://10.0.0.8:81']);
});

test('where nobody answers, that is the reason, and the deadline of the attempt holds', async () => {
  await expect(look((await bound()).port)).rejects.toMatchObject({
    code: 'PROVISIONING_UNREACHABLE',
    reason: 'not-discovered',
  });
  await expect(look((await bound()).port, 200)).rejects.toMatchObject({
    code: 'PROVISIONING_TIMEOUT',
    reason: 'timeout',
  });
});
