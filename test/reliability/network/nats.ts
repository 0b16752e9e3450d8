import { createAuthority } from '../../../fleet/ca.ts';
import type { Fleet } from '../../../fleet/fleet.ts';
import type { Rights } from '../../../fleet/natsConfig.ts';
import { seeded } from '../../support/sample.ts';
import { noFirewall, spoilPort } from './firewall.ts';
import { ago, hour, link, type Made, type Row, relayTo, server, through } from './row.ts';

const mendServer = (fleet: Fleet) =>
  fleet.nats.restart({ serverCertificate: undefined, clientAuthority: undefined, tls: true });
const untilReached = async (fleet: Fleet) => {
  const reached = () =>
    fleet.manager.connection.flush().then(
      () => true,
      () => false,
    );
  while (!(await reached()));
};
/** The question has arrived and its result is kept back until the fault ends. */
const whileHeld = async (fleet: Fleet, spoil: () => unknown, mend: () => unknown): Promise<Made> => {
  fleet.manager.behave = () => 'hold';
  fleet.manager.journal.atLeast(1).then(spoil);
  const end = async () => {
    fleet.manager.behave = () => undefined;
    await mend();
    await untilReached(fleet);
    await fleet.manager.release();
  };
  return { end };
};
const patient = { registration: { timeoutMs: 30_000 } };

/** The server gets the signal once it has greeted, so that the TLS handshake meets it. */
function inHandshake(signal: string, spoil: (fleet: Fleet) => unknown, mend: (fleet: Fleet) => unknown): Row {
  return {
    fault: `NATS: ${signal} in the TLS handshake`,
    codes: ['NATS_UNREACHABLE'],
    make: async (fleet) => {
      let spoilt = false;
      const relay = await relayTo(fleet, 'nats', {
        onBytes: () => {
          if (!spoilt) spoil(fleet);
          spoilt = true;
        },
      });
      return { device: through(relay.port, 'nats'), end: () => mend(fleet), clean: () => relay.stop() };
    },
  };
}

/** Rights that lack something; the fault ends when all are granted. */
function denied(what: string, codes: string[], rights: (id: string) => Rights): Row {
  return {
    fault: `NATS: ${what}`,
    codes,
    make: async (fleet) => {
      await fleet.nats.setRights(rights);
      return codes.includes('none') ? {} : { end: () => fleet.nats.setRights(() => 'all') };
    },
  };
}

const ask = (id: string) => `device_actions.${id}.>`;
const hear = (id: string) => `device_results.${id}.>`;
const directGet = (id: string) => `$JS.API.DIRECT.GET.*.device_results.${id}.>`;

export const natsRows: Row[] = [
  server(
    'down',
    'NATS_UNREACHABLE',
    (fleet) => fleet.nats.kill('SIGKILL'),
    (fleet) => fleet.nats.restart(),
  ),
  inHandshake(
    'SIGSTOP',
    (fleet) => fleet.nats.pause(),
    (fleet) => fleet.nats.resume(),
  ),
  inHandshake(
    'SIGKILL',
    (fleet) => fleet.nats.kill('SIGKILL'),
    (fleet) => fleet.nats.restart(),
  ),
  link('connection refused', 'NATS_UNREACHABLE', 'nats', 'cut'),
  link('half-open link from the start', 'NATS_UNREACHABLE', 'nats', 'freeze'),
  link('half-open link after the greeting', 'NATS_UNREACHABLE', 'nats', 'freeze', 100),
  link('half-open link in the TLS handshake', 'NATS_UNREACHABLE', 'nats', 'freeze', 1000),
  link('reset after the greeting', 'NATS_UNREACHABLE', 'nats', 'cut', 100),
  {
    fault: 'NATS: half-open link between question and result',
    codes: ['NATS_UNREACHABLE'],
    device: patient,
    make: async (fleet) => {
      const relay = await relayTo(fleet, 'nats');
      const made = await whileHeld(
        fleet,
        () => relay.freeze(),
        () => relay.mend(),
      );
      return { ...made, device: through(relay.port, 'nats'), clean: () => relay.stop() };
    },
  },
  {
    fault: 'NATS: SIGSTOP between question and result',
    codes: ['NATS_UNREACHABLE'],
    device: patient,
    make: (fleet) =>
      whileHeld(
        fleet,
        () => fleet.nats.pause(),
        () => fleet.nats.resume(),
      ),
  },
  {
    fault: 'NATS: SIGKILL between question and result',
    codes: ['NATS_UNREACHABLE'],
    make: (fleet) =>
      whileHeld(
        fleet,
        () => fleet.nats.kill('SIGKILL'),
        () => fleet.nats.restart(),
      ),
  },
  {
    fault: 'NATS: lame duck mode between question and result',
    codes: ['NATS_UNREACHABLE'],
    device: patient,
    make: (fleet) =>
      whileHeld(
        fleet,
        () => process.kill(fleet.nats.pid, 'SIGUSR2'),
        () => fleet.nats.restart(),
      ),
  },
  {
    fault: 'NATS: a cluster of three loses the results’ leader between question and result',
    codes: ['none', 'NATS_UNREACHABLE', 'REGISTRATION_TIMEOUT'],
    fleet: { cluster: true },
    device: patient,
    make: (fleet) => {
      fleet.manager.behave = () => 'hold';
      const fall = async () => {
        const leader = await fleet.cluster?.leaderOf('DEVICE_RESULTS');
        fleet.manager.behave = () => undefined;
        await leader?.kill('SIGKILL');
        await untilReached(fleet);
        await insisting(() => fleet.manager.release());
      };
      const falling = fleet.manager.journal.atLeast(1, undefined, 60_000).then(fall);
      return { end: () => falling };
    },
  },
  {
    fault: 'NATS: 600 ms of round trip and 10 % loss',
    codes: ['none'],
    device: patient,
    make: async (fleet) => {
      // A lost segment comes again after the retransmission timeout, round trip and a half by default.
      const loss = { chance: 0.1, afterMs: 900, random: seeded(1) };
      const relay = await relayTo(fleet, 'nats', { delayMs: 300, loss });
      return { device: through(relay.port, 'nats'), clean: () => relay.stop() };
    },
  },
  {
    fault: 'NATS: 10 % of the packets dropped',
    codes: ['none'],
    device: patient,
    unable: noFirewall,
    make: (fleet) => ({ clean: spoilPort(fleet.nats.port, 'numgen random mod 100 < 10 drop') }),
  },
  {
    fault: 'NATS: no route (ICMP)',
    codes: ['NATS_UNREACHABLE'],
    unable: noFirewall,
    make: async (fleet) => {
      const relay = await relayTo(fleet, 'nats');
      const end = spoilPort(relay.port, 'reject with icmp type host-unreachable');
      const clean = () => {
        end();
        return relay.stop();
      };
      return { device: through(relay.port, 'nats'), end, clean };
    },
  },
  { fault: 'NATS: no TLS', codes: ['NATS_NOT_SECURE'], fleet: { nats: { tls: false } }, make: () => ({}) },
  server(
    'certificate of another CA',
    'NATS_TLS',
    async (fleet) => {
      const other = await createAuthority({ commonName: 'another CA' });
      await fleet.nats.restart({ serverCertificate: await other.issueServer({ hosts: ['127.0.0.1'] }) });
    },
    mendServer,
  ),
  server(
    'expired server certificate',
    'NATS_TLS',
    async (fleet) => {
      const dates = { notBefore: ago(2 * hour), notAfter: ago(hour) };
      const serverCertificate = await fleet.ca.issueServer({ hosts: ['127.0.0.1'], ...dates });
      await fleet.nats.restart({ serverCertificate });
    },
    mendServer,
  ),
  server(
    'certificate of another host',
    'NATS_TLS',
    async (fleet) =>
      fleet.nats.restart({ serverCertificate: await fleet.ca.issueServer({ hosts: ['example.org'] }) }),
    mendServer,
  ),
  server(
    'our certificate refused',
    'NATS_TLS',
    async (fleet) =>
      fleet.nats.restart({ clientAuthority: await createAuthority({ commonName: 'another CA' }) }),
    mendServer,
  ),
  server(
    'device not let in',
    'NATS_DENIED',
    (fleet) => fleet.nats.setRights(() => 'none'),
    (fleet) => fleet.nats.setRights(() => 'all'),
  ),
  denied('question denied', ['NATS_DENIED'], (id) => ({
    publish: { allow: [directGet(id), '$JS.API.STREAM.NAMES'] },
    subscribe: { allow: [hear(id), '_INBOX.>'] },
  })),
  denied('all but question and results denied', ['none'], (id) => ({
    publish: { allow: [ask(id)] },
    subscribe: { allow: [hear(id)] },
  })),
  denied('subscription to the results denied, direct get granted', ['none'], (id) => ({
    publish: { allow: [ask(id), directGet(id), '$JS.API.STREAM.NAMES'] },
    subscribe: { allow: ['_INBOX.>'] },
  })),
  denied('direct get denied', ['none'], (id) => ({
    publish: { allow: [ask(id), '$JS.API.STREAM.NAMES'] },
    subscribe: { allow: [hear(id), '_INBOX.>'] },
  })),
  denied('stream names denied', ['none'], (id) => ({
    publish: { allow: [ask(id), directGet(id)] },
    subscribe: { allow: [hear(id), '_INBOX.>'] },
  })),
  denied('usual inbox denied, the device’s own granted', ['none'], (id) => ({
    publish: { allow: [ask(id), directGet(id), '$JS.API.STREAM.NAMES'] },
    subscribe: { allow: [hear(id), `_INBOX_${id}.>`] },
  })),
  denied('result denied on every way', ['NATS_DENIED'], (id) => ({
    publish: { allow: [ask(id)] },
    subscribe: { allow: ['_INBOX.>'] },
  })),
  { fault: 'NATS: JetStream off', codes: ['none'], fleet: { nats: { jetstream: false } }, make: () => ({}) },
  { fault: 'NATS: streams missing', codes: ['none'], fleet: { api: 'plain' }, make: () => ({}) },
];

/** Streams of a cluster take some seconds to agree on another leader. */
async function insisting(work: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + 40_000;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
