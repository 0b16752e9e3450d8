import type { NatsCluster } from './cluster.ts';
import type { Fault } from './faultCatalogue.ts';
import type { Ledger } from './ledger.ts';
import type { Manager } from './manager.ts';
import type { NatsServer } from './nats.ts';
import type { Provisioning } from './provisioning.ts';
import type { ProvisioningBehaviour } from './provisioningBehaviour.ts';

export interface Faults {
  readonly active: ReadonlySet<Fault>;
  /** @returns whether that changed anything */
  set(fault: Fault, isOn: boolean): boolean;
}

interface Parts {
  provisioning: Provisioning;
  manager: Manager;
  nats: NatsCluster | NatsServer;
  ledger: Ledger;
}

/** The switches. @param certificateMs life of the certificates that are issued rightly */
export function createFaults({ provisioning, manager, nats, ledger }: Parts, certificateMs: number): Faults {
  const active = new Set<Fault>();
  const servers = 'servers' in nats ? nats.servers : [nats];
  provisioning.behave = ({ id = '' }) =>
    ledger.devices.get(id)?.isRevoked
      ? { status: 403, body: JSON.stringify({ error: 'the device is revoked' }) }
      : behaviourOf(active, certificateMs);
  manager.behave = () => (active.has('ignore-registrations') ? 'ignore' : undefined);
  return {
    active,
    set(fault, isOn) {
      if (active.has(fault) === isOn) return false;
      if (isOn) active.add(fault);
      else active.delete(fault);
      if (fault === 'stall-nats') for (const server of servers) isOn ? server.pause() : server.resume();
      return true;
    },
  };
}

function behaviourOf(active: ReadonlySet<Fault>, certificateMs: number): ProvisioningBehaviour {
  if (active.has('provisioning-503')) return { status: 503 };
  const minute = 60_000;
  const now = Date.now();
  return active.has('expired-certificate')
    ? { certificate: { notBefore: new Date(now - 60 * minute), notAfter: new Date(now - minute) } }
    : { certificate: { notAfter: new Date(now + certificateMs) } };
}
