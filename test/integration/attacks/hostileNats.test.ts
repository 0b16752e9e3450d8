import { expect, test } from 'vitest';
import { heartbeat, peakMemory } from '../../support/attackers/heartbeat.ts';
import { startHostileNats } from '../../support/attackers/hostileNats.ts';
import { at, failure, fleetWith, launch, state } from '../../support/harness.ts';

test('a message announced with 4,000,000,000 bytes is refused by its first line, and takes no memory', async () => {
  const fleet = await fleetWith({ manager: false });
  const megabyte = Buffer.alloc(1024 * 1024, 'x');
  const server = await startHostileNats(fleet.ca, (line, send) => {
    const [, sid] = /^SUB device_results\.\S+ (\d+)$/.exec(line) ?? [];
    if (sid === undefined) return;
    send(`MSG device_results.x.register ${sid} 4000000000\r\n`);
    for (let sent = 0; sent < 200; sent++) send(megabyte);
  });
  const device = at(fleet, { nats: { url: `tls://127.0.0.1:${server.port}` } });
  const program = launch(device);
  const failed = await program.until(failure('REGISTRATION_ANSWER_INVALID'));
  expect(String(failed.cause)).toMatch(/longer than 4194304 bytes/);
  expect(peakMemory(program)).toBeLessThan(250_000);
  expect(state(device).registration).toBeNull();
});

test('a server that says something else than NATS behind TLS is named as such, at once', async () => {
  const fleet = await fleetWith({ manager: false });
  const server = await startHostileNats(fleet.ca, (line, send) => {
    if (line.startsWith('SUB ')) send('HELLO\r\n');
  });
  const program = launch(at(fleet, { nats: { url: `tls://127.0.0.1:${server.port}` } }));
  const failed = await program.until(failure('REGISTRATION_ANSWER_INVALID'));
  expect(String(failed.cause)).toMatch(/not the NATS protocol/);
});

test.each([
  ['with a time that is none', { time: 'junk' }],
  ['without a time', {}],
])('a result in a stream %s is passed over: the device asks', async (_, times) => {
  const fleet = await fleetWith({ manager: false });
  const inboxes = new Map<string, string>();
  const stored = { subject: 'device_results.d1.register', seq: 1, data: btoa('{"status":"success"}') };
  const server = await startHostileNats(fleet.ca, (line, send) => {
    const [, inbox, sid = ''] = /^SUB (_INBOX\.\S+?)\*? (\d+)$/.exec(line) ?? [];
    if (inbox !== undefined) inboxes.set(inbox, sid);
    const [, api, reply = ''] = /^PUB \$JS\.API\.(\S+) (\S+) \d+$/.exec(line) ?? [];
    if (api === undefined) return;
    const answer = api.startsWith('STREAM.NAMES')
      ? { total: 1, offset: 0, limit: 1, streams: ['S'] }
      : api.startsWith('STREAM.MSG.GET')
        ? { message: { ...stored, ...times } }
        : { error: { code: 403, description: 'no' } };
    const text = JSON.stringify(answer);
    const to = [...inboxes].find(([prefix]) => reply.startsWith(prefix))?.[1];
    send(`MSG ${reply} ${to} ${text.length}\r\n${text}\r\n`);
  });
  const url = `tls://127.0.0.1:${server.port}`;
  const device = at(fleet, { nats: { url }, identity: { deviceId: 'd1' }, registration: { timeoutMs: 500 } });
  const program = launch(device);
  const failed = await program.until((line) => line.event === 'step.failed');
  expect(failed.code, String(failed.cause)).toBe('REGISTRATION_TIMEOUT');
  expect(server.lines.some((line) => line.startsWith('HPUB device_actions.d1.'))).toBe(true);
  expect(state(device).registration).toBeNull();
});

test.each([
  ['slashes', '/'],
  ['quotation marks', '"'],
])('an -ERR of 60 kB of %s keeps the daemon busy for no moment, and is cut', async (_, repeated) => {
  const fleet = await fleetWith({ manager: false });
  const refusal = `-ERR 'Authorization Violation ${repeated.repeat(60_000)}'\r\n`;
  const server = await startHostileNats(fleet.ca, (line, send) => {
    if (line.startsWith('CONNECT ')) send(refusal);
  });
  const { env, stopped } = heartbeat(fleet.dir);
  const program = launch(at(fleet, { nats: { url: `tls://127.0.0.1:${server.port}` } }), [], env);
  const failed = await program.until((line) => line.event === 'step.failed');
  expect(failed).toMatchObject({ code: 'NATS_DENIED', step: 'registering' });
  expect(String(failed.cause).length).toBeLessThan(400);
  await stopped(program);
});

test('a server that pings without end and reads nothing takes no memory', async () => {
  const fleet = await fleetWith({ manager: false });
  const pings = Buffer.from('PING\r\n'.repeat(10_000));
  const server = await startHostileNats(fleet.ca, (line, send, socket) => {
    if (!line.startsWith('SUB device_results')) return;
    socket.pause();
    const flood = () => {
      while (!socket.destroyed && socket.writableLength < 1_000_000) send(pings);
      if (!socket.destroyed) setImmediate(flood);
    };
    flood();
  });
  const program = launch(at(fleet, { nats: { url: `tls://127.0.0.1:${server.port}` } }));
  const failed = await program.until(failure('NATS_UNREACHABLE'));
  expect(String(failed.cause)).toMatch(/does not read/);
  expect(peakMemory(program)).toBeLessThan(250_000);
});

test('an INFO behind TLS that is no JSON is printed nowhere', async () => {
  const fleet = await fleetWith({ manager: false });
  const server = await startHostileNats(fleet.ca, (line, send) => {
    if (line.startsWith('SUB ')) send('INFO \u009b31m{\r\n');
  });
  const program = launch(at(fleet, { nats: { url: `tls://127.0.0.1:${server.port}` } }));
  const failed = await program.until(failure('REGISTRATION_ANSWER_INVALID'));
  expect(String(failed.cause)).toMatch(/INFO that is not JSON/);
  expect(program.stderr()).toBe('');
});
