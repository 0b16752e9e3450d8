import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { at, failure, fleetWith, launch, onboard, state } from '../../support/harness.ts';

test('a device that may not publish says NATS_DENIED and registers once it may', async () => {
  const fleet = await fleetWith({
    rights: (id) => ({ publish: { allow: ['elsewhere'] }, subscribe: { allow: [`device_results.${id}.>`] } }),
  });
  const program = launch(at(fleet));
  await program.until(failure('NATS_DENIED'));
  await fleet.nats.setRights(() => 'all');
  await program.until((line) => line.event === 'device.registered');
});

test('a new device that may not hear its result says NATS_DENIED, however short its patience', async () => {
  const fleet = await fleetWith({
    rights: (id) => ({ publish: { allow: [`device_actions.${id}.>`] }, subscribe: { allow: ['_INBOX.>'] } }),
  });
  const program = launch(at(fleet, { registration: { timeoutMs: 1000 } }));
  const failed = await program.until((line) => line.event === 'step.failed');
  expect(failed).toMatchObject({ code: 'NATS_DENIED', reason: 'permission-denied' });
  await fleet.nats.setRights(() => 'all');
  await program.until((line) => line.event === 'device.registered');
});

test('a NATS server without TLS gets nothing', async () => {
  const fleet = await fleetWith({ nats: { tls: false } });
  const program = launch(at(fleet), ['--once']);
  expect(await program.ended).toBe(1);
  expect(program.lines.find(failure('NATS_NOT_SECURE'))).toMatchObject({
    class: 'permanent',
    step: 'registering',
  });
  expect(fleet.manager.requests).toEqual([]);
});

test('an id that another device registered is a clash, however often it is asked', async () => {
  const fleet = await fleetWith();
  const identity = { deviceId: 'laptop-1' };
  await onboard(at(fleet, { identity }));
  const second = launch(at(fleet, { identity }));
  let seen = 0;
  await second.until((line) => line.event === 'device.failed' && ++seen === 1);
  await second.until(
    (line) =>
      line.event === 'step.failed' &&
      line.code === 'REGISTRATION_REJECTED' &&
      fleet.manager.requests.length >= 3,
  );
  expect(second.lines.some((line) => line.event === 'device.registered')).toBe(false);
});

test('a device that the fleet accepts after it rejected it finds that out, and is registered once', async () => {
  const fleet = await fleetWith({ fields: () => ({ token: 'dG9rZW4K' }) });
  fleet.manager.behave = ({ id }, n) => {
    if (n > 1) return undefined;
    void fleet.manager.publish(id, { status: 'failure', error: 'awaiting approval' });
    return 'hold';
  };
  const retry = { initialMs: 50, maxMs: 500, factor: 2, failedAfterMs: 2000 };
  const device = at(fleet, { retry });
  const program = launch(device);
  await program.until(failure('REGISTRATION_REJECTED'));
  await fleet.manager.release();
  await program.until((line) => line.event === 'device.registered');
  expect(program.lines.filter((line) => line.event === 'step.failed')).toHaveLength(1);
  expect(JSON.parse(state(device).registration.result).token).toBe('dG9rZW4K');
  expect(fleet.manager.requests).toHaveLength(1);
});

test('a device that asked before, and whose answer was lost, takes “already registered” as registered', async () => {
  const fleet = await fleetWith({ api: 'plain' });
  fleet.manager.behave = (_, n) => (n === 1 ? 'lose' : undefined);
  const device = at(fleet, { registration: { timeoutMs: 1000 } });
  const program = await onboard(device);
  expect(program.lines.some(failure('REGISTRATION_TIMEOUT'))).toBe(true);
  expect(fleet.manager.accepted.get(state(device).deviceId)?.count).toBe(1);
});

test('a device whose answer was lost, while the stream holds its request, is registered within seconds and accepted once', async () => {
  const fleet = await fleetWith();
  fleet.manager.behave = (_, n) => (n === 1 ? 'lose' : undefined);
  const device = at(fleet, { registration: { timeoutMs: 1000 } });
  const program = await onboard(device);
  const seconds =
    (Number(program.lines.find(({ event }) => event === 'device.registered')?.durationMs) || 0) / 1000;
  // The stream's own window for duplicates is two minutes.
  expect(seconds).toBeLessThan(30);
  expect(fleet.manager.requests).toHaveLength(2);
  expect(fleet.manager.accepted.get(state(device).deviceId)?.count).toBe(1);
  expect(fleet.manager.errors).toEqual([]);
}, 180_000);

test('a device that is killed between the acknowledgement and the result asks again under a new id, durable before', async () => {
  const fleet = await fleetWith();
  fleet.manager.behave = (_, n) => (n === 1 ? 'lose' : undefined);
  const device = at(fleet);
  const program = launch(device);
  await fleet.manager.journal.atLeast(1);
  program.child.kill('SIGKILL');
  await program.ended;
  const { deviceId, request } = state(device);
  fleet.manager.behave = () => 'hold';
  const second = launch(device);
  await fleet.manager.journal.atLeast(2);
  // The publish of the first id once more, and the new one.
  expect(state(device).request).toMatchObject({ firstAt: request.firstAt, publishes: 3 });
  expect(state(device).request.messageId).not.toBe(request.messageId);
  second.child.kill('SIGKILL');
  await second.ended;
  await fleet.manager.release();
  await onboard(device);
  expect(fleet.manager.requests).toHaveLength(2);
  expect(fleet.manager.accepted.get(deviceId)?.count).toBe(1);
});

test('a result that was published while the device was off is adopted and nothing is asked again', async () => {
  const fleet = await fleetWith();
  fleet.manager.behave = () => 'hold';
  const device = at(fleet);
  const program = launch(device);
  await fleet.manager.journal.atLeast(1);
  program.child.kill('SIGKILL');
  await program.ended;
  await fleet.manager.release();
  await onboard(device);
  expect(fleet.manager.requests).toHaveLength(1);
});

test('a refusal is read once: the device asks again later and is accepted', async () => {
  const fleet = await fleetWith();
  fleet.manager.behave = (_, n) => (n === 1 ? { reject: 'quota exceeded' } : { delayMs: 1500 });
  const program = launch(at(fleet));
  expect(await program.until((line) => line.event === 'device.failed')).toMatchObject({
    code: 'REGISTRATION_REJECTED',
  });
  await program.until((line) => line.event === 'device.registered');
});

test('results that are damaged, old or for another device never register it', async () => {
  const fleet = await fleetWith({ api: 'plain' });
  fleet.manager.behave = (_, n) =>
    n === 1 ? { raw: '{"status":"succ' } : n === 2 ? { headers: { ID: 'somebody-else' } } : undefined;
  const program = await onboard(at(fleet, { registration: { timeoutMs: 1500 } }));
  expect(program.lines.some(failure('REGISTRATION_ANSWER_INVALID'))).toBe(true);
});

test.each([
  ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ['greets with broken JSON', 'INFO {bad\r\n'],
  ['greets with null', 'INFO null\r\n'],
  ['hangs up in the TLS handshake', 'INFO {"server_id":"a","max_payload":9,"tls_required":true}\r\n'],
])('a server that %s is told from a NATS server, and does not end the daemon', async (_, greeting) => {
  const fleet = await fleetWith();
  const server = createServer((socket) => socket.on('error', () => undefined).end(greeting)).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const program = launch(at(fleet, { nats: { url: `127.0.0.1:${port}` } }));
  await program.until(
    (line) => line.event === 'step.failed' && line.code === 'NATS_UNREACHABLE' && line.attempt === 2,
  );
  expect(program.child.exitCode).toBeNull();
  server.close();
});

/** A server in clear text that greets with `info` and answers the client's first PING. */
async function greeter(info: Record<string, unknown>, answer: string) {
  const greeting = { server_id: 'a', version: '2.1.0', proto: 1, max_payload: 1_048_576, ...info };
  const server = createServer((socket) => {
    socket.on('error', () => undefined).write(`INFO ${JSON.stringify(greeting)}\r\n`);
    socket.on('data', (data) => String(data).includes('PING') && socket.write(`${answer}\r\n`));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { nats: { url: `127.0.0.1:${port}`, tls: 'optional' }, close: () => server.close() };
}

test('a server without message headers is no server without TLS', async () => {
  const { nats, close } = await greeter({ headers: false }, 'PONG');
  const program = launch(at(await fleetWith(), { nats }));
  const line = await program.until((one) => one.event === 'step.failed' && one.step === 'registering');
  expect(line).toMatchObject({ code: 'NATS_UNREACHABLE', class: 'transient' });
  expect(line.cause).toMatch(/does not support message headers/);
  close();
});

test('a long refusal of a server keeps the daemon busy for no moment, and is cut', async () => {
  const { nats, close } = await greeter(
    { headers: true },
    `-ERR 'Authorization Violation ${'/'.repeat(60_000)}'`,
  );
  const program = launch(at(await fleetWith(), { nats }));
  const line = await program.until((one) => one.event === 'step.failed' && one.attempt === 2);
  expect(line).toMatchObject({ code: 'NATS_DENIED', step: 'registering' });
  expect(String(line.cause).length).toBeLessThan(400);
  close();
});

test.each([
  ['to JetStream', true, []],
  ['to a stream without direct get', false, ['$JS.API.DIRECT.GET.>', '$JS.API.STREAM.NAMES']],
  ['but to the stream itself', true, ['$JS.API.STREAM.MSG.GET.*', '$JS.API.STREAM.NAMES']],
])('a configured id with no right %s registers all the same', async (_, allowDirect, more) => {
  const fleet = await fleetWith({
    allowDirect,
    rights: (id) => ({
      publish: { allow: [`device_actions.${id}.>`, ...more] },
      subscribe: { allow: [`device_results.${id}.>`, '_INBOX.>'] },
    }),
  });
  const program = await onboard(at(fleet, { identity: { deviceId: 'laptop-1' } }));
  expect(program.lines.some((line) => line.event === 'step.failed')).toBe(false);
});

test.each([
  ['success', true],
  ['success', false],
  ['refusal', true],
  ['refusal', false],
] as const)('a %s that an earlier life of the id left in the stream is no answer (direct get allowed: %s)', async (kind, allowDirect) => {
  const fleet = await fleetWith({ allowDirect, rights: () => 'all' });
  const old =
    kind === 'success'
      ? { status: 'success', alias: 'old' }
      : { status: 'failure', error: 'of an earlier life' };
  const minuteAgo = new Date(Date.now() - 60_000).toISOString().replace(/\.\d+Z$/, 'Z');
  await fleet.manager.publish('laptop-1', old, { timestamp: minuteAgo });
  // The first answer is kept back over several looks at the stream, and over a start.
  fleet.manager.behave = () => 'hold';
  const device = at(fleet, { identity: { deviceId: 'laptop-1' } });
  const program = launch(device);
  await fleet.manager.journal.atLeast(1);
  expect(state(device).request).toMatchObject({ publishes: 1, afterSequence: 1 });
  program.child.kill('SIGKILL');
  await program.ended;
  const again = launch(device);
  await again.until((line) => line.event === 'state.changed' && line.to === 'registering');
  // The repetition, which the stream dropped, and the one under a new id.
  await expect.poll(() => state(device).request?.publishes, { timeout: 15_000 }).toBe(3);
  await fleet.manager.release();
  await again.until((line) => line.event === 'device.registered');
  expect(state(device).registration.alias).toBe('Alphalaptop-1');
  for (const { lines } of [program, again])
    expect(lines.some((line) => line.event === 'step.failed')).toBe(false);
});

test('a device that made its own id asks without a look at the stream', async () => {
  const fleet = await fleetWith();
  const device = at(fleet);
  fleet.manager.behave = () => 'hold';
  const program = launch(device);
  await fleet.manager.journal.atLeast(1);
  expect(state(device)).toMatchObject({ idIsNew: true, request: { afterSequence: null } });
  await fleet.manager.release();
  await program.until((line) => line.event === 'device.registered');
  expect(state(device).idIsNew).toBe(false);
});

test('a question that nobody heard does not make another device’s id ours', async () => {
  const fleet = await fleetWith({ manager: false });
  const identity = { deviceId: 'laptop-1' };
  const device = at(fleet, { identity });
  const program = launch(device);
  await program.until(failure('REGISTRATION_TIMEOUT'));
  program.child.kill('SIGKILL');
  await program.ended;
  await fleet.startManager({ api: 'plain' });
  await fleet.manager.registry.create('laptop-1', 'another device');
  const again = launch(device);
  await again.until(failure('REGISTRATION_REJECTED'));
  expect(again.lines.some((line) => line.event === 'device.registered')).toBe(false);
});
