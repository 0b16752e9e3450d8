import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { FleetAddress } from './fleetProcess.ts';

/**
 * Relays that delay what passes, and follow which message was sent upon which: a message of the device is one half of a
 * round trip further than the furthest that it had received, and so is a message of a server. The furthest of all is
 * how many halves the run waits for, one after the other, whatever the machine's speed. Connections are taken at once:
 * the round trip of each TCP handshake is not among them.
 */
export interface RoundTripRelays extends FleetAddress {
  /** The longest chain of messages of which each waited for the one before, in round trips; what had no answer is left out. */
  readonly roundTrips: () => number;
  stop(): Promise<void>;
}

/** @param delayMs one way; long next to what device and servers need between two messages */
export async function startRoundTripRelays(fleet: FleetAddress, delayMs: number): Promise<RoundTripRelays> {
  const chain: Chain = { received: 0, longest: 0 };
  const provisioning = await relay(new URL(fleet.provisioningUrl), delayMs, chain);
  const nats = await relay(new URL(fleet.natsUrl), delayMs, chain);
  return {
    provisioningUrl: `http://127.0.0.1:${provisioning.port}`,
    natsUrl: `tls://127.0.0.1:${nats.port}`,
    roundTrips: () => chain.longest / 2,
    async stop() {
      await Promise.all([provisioning.stop(), nats.stop()]);
    },
  };
}

/** In halves of a round trip. */
interface Chain {
  /** The furthest message that the device received, over whichever connection */
  received: number;
  longest: number;
}

async function relay(
  to: URL,
  delayMs: number,
  chain: Chain,
): Promise<{ port: number; stop(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect(Number(to.port), to.hostname);
    // A server that speaks first answers the connection.
    let reachedServer = chain.received;
    carry(near, far, delayMs, () => {
      const depth = chain.received + 1;
      return () => {
        reachedServer = Math.max(reachedServer, depth);
      };
    });
    carry(far, near, delayMs, () => {
      const depth = reachedServer + 1;
      return () => {
        chain.received = Math.max(chain.received, depth);
        chain.longest = chain.received;
      };
    });
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** @param sent called with each message as it is sent. @returns by it: called as it arrives */
function carry(from: Socket, to: Socket, delayMs: number, sent: () => () => void): void {
  from.on('data', (data) => {
    const arrive = sent();
    setTimeout(() => {
      arrive();
      if (!to.destroyed) to.write(data);
    }, delayMs);
  });
  from.once('close', () => setTimeout(() => to.destroy(), delayMs));
}
