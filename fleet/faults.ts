import type { NatsCluster } from './cluster.ts';
import type { Ledger } from './ledger.ts';
import type { Manager } from './manager.ts';
import type { NatsServer } from './nats.ts';
import type { Provisioning } from './provisioning.ts';
import type { ProvisioningBehaviour } from './provisioningBehaviour.ts';

/** What the fleet can be told to do wrong, until it is told to recover. */
export const faults = {
  'provisioning-503': {
    label: 'Answer 503',
    meaning: 'The provisioning server answers 503 Service Unavailable.',
    device: 'Keeps trying with growing waits: PROVISIONING_REJECTED, http-503.',
  },
  'expired-certificate': {
    label: 'Issue expired certificates',
    meaning: 'The CA issues certificates that expired a minute ago.',
    device: 'Refuses the certificate: CERTIFICATE_EXPIRED. Tries again after retry.failedAfterMs.',
  },
  'stall-nats': {
    label: 'Stall NATS',
    meaning: 'nats-server is stopped (SIGSTOP): connections stay open, nothing is answered.',
    device: 'Times out and keeps trying: NATS_UNREACHABLE or REGISTRATION_TIMEOUT.',
  },
  'ignore-registrations': {
    label: 'Lose registrations',
    meaning: 'The fleet manager loses requests: it registers nothing and answers nothing.',
    device: 'Asks again after registration.timeoutMs: REGISTRATION_TIMEOUT.',
  },
} as const;

export type Fault = keyof typeof faults;

export interface Faults {
  readonly active: ReadonlySet<Fault>;
  /** @returns whether that changed anything */
  set(fault: Fault, isOn: boolean): boolean;
}

export function isFault(name: unknown): name is Fault {
  return typeof name === 'string' && Object.hasOwn(faults, name);
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
