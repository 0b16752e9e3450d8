import type { NatsConnection } from 'nats';
import { fleetAccount } from './natsConfig.ts';

/** A device's connection, as the server tells of it. */
export interface Connection {
  isOpen: boolean;
  commonName: string;
  address: string;
  /** why it ended, in the server's words */
  reason: string;
}

interface Advisory {
  type?: string;
  reason?: string;
  client?: { user?: string; host?: string };
}

/** Calls back with each connection that opens or ends. @param monitor a connection of the system account */
export async function watchConnections(
  monitor: NatsConnection,
  onConnection: (connection: Connection) => void,
): Promise<void> {
  monitor.subscribe(`$SYS.ACCOUNT.${fleetAccount}.*`, {
    callback(_error, message) {
      const end = message.subject.split('.').at(-1);
      if (end !== 'CONNECT' && end !== 'DISCONNECT') return;
      const { client = {}, reason = '' } = message.json<Advisory>();
      const commonName = (client.user ?? '').replace(/^CN=/, '');
      onConnection({ isOpen: end === 'CONNECT', commonName, address: client.host ?? '', reason });
    },
  });
  await monitor.flush();
}
