import type { Fleet, FleetOptions } from '../../../fleet/fleet.ts';
import type { ManagerBehaviour } from '../../../fleet/manager.ts';
import type { ProvisioningBehaviour } from '../../../fleet/provisioningBehaviour.ts';
import { type RelayOptions, startRelay } from '../../fleet/relay.ts';
import type { Line } from '../../support/program.ts';

/** One fault: a fresh fleet, the fault, the real program. */
export interface Row {
  readonly fault: string;
  /** The codes that may be logged first; `none`: the device registers in spite of it. */
  readonly codes: readonly string[];
  /** Rows of one group that did alike are one line of the table. */
  readonly group?: string;
  readonly fleet?: FleetOptions;
  readonly device?: Record<string, unknown>;
  /** Why the row cannot be run here; null where it can. */
  readonly unable?: string | null;
  /** What must hold of the first failed step. @returns what is wrong with it */
  readonly check?: (line: Line) => string | null;
  /** Makes the fault before the device starts. */
  readonly make: (fleet: Fleet) => Promise<Made> | Made;
}

export interface Made {
  /** Ends the fault; without it the fault stays. */
  readonly end?: () => Promise<unknown> | unknown;
  /** Sections of the device's configuration to replace. */
  readonly device?: Record<string, unknown>;
  /** Takes away what the fault needed, whatever happened. */
  readonly clean?: () => Promise<unknown> | unknown;
}

export function provisioning(
  fault: string,
  code: string,
  behaviour: ProvisioningBehaviour,
  more: Partial<Row> = {},
): Row {
  return {
    fault: `provisioning: ${fault}`,
    codes: [code],
    make: (fleet) => {
      fleet.provisioning.behave = () => behaviour;
      return { end: () => (fleet.provisioning.behave = () => undefined) };
    },
    ...more,
  };
}

export function manager(
  fault: string,
  code: string,
  behaviour: ManagerBehaviour,
  more: Partial<Row> = {},
): Row {
  return {
    fault: `fleet manager: ${fault}`,
    codes: [code],
    fleet: { api: 'plain' },
    make: (fleet) => {
      fleet.manager.behave = () => behaviour;
      return { end: () => (fleet.manager.behave = () => undefined) };
    },
    ...more,
  };
}

/** Spoils the NATS server, and mends it. */
export function server(
  fault: string,
  code: string,
  spoil: (fleet: Fleet) => Promise<unknown> | unknown,
  mend: (fleet: Fleet) => unknown,
  more: Partial<Row> = {},
): Row {
  return {
    fault: `NATS: ${fault}`,
    codes: [code],
    make: async (fleet) => {
      await spoil(fleet);
      return { end: () => mend(fleet) };
    },
    ...more,
  };
}

/** A link that is broken from the start, or once so many bytes have passed. */
export function link(
  fault: string,
  code: string,
  to: 'provisioning' | 'nats',
  how: 'cut' | 'freeze',
  afterBytes = 0,
): Row {
  return {
    fault: `${to === 'nats' ? 'NATS' : 'provisioning'}: ${fault}`,
    codes: [code],
    make: async (fleet) => {
      let broken = false;
      const broke = async () => {
        if (broken) return;
        broken = true;
        await relay[how]();
      };
      const relay = await relayTo(fleet, to, {
        onBytes: (bytes) => afterBytes > 0 && bytes >= afterBytes && broke(),
      });
      if (afterBytes === 0) await broke();
      return { device: through(relay.port, to), end: () => relay.mend(), clean: () => relay.stop() };
    },
  };
}

export function relayTo(fleet: Fleet, to: 'provisioning' | 'nats', options: Partial<RelayOptions> = {}) {
  const url = new URL(to === 'nats' ? fleet.nats.url : fleet.provisioningUrl);
  return startRelay({ ...options, to: { host: url.hostname, port: Number(url.port) } });
}

/** The configuration of a device that goes through a relay. */
export function through(port: number, to: 'provisioning' | 'nats'): Record<string, unknown> {
  const address = `127.0.0.1:${port}`;
  return to === 'nats'
    ? { nats: { url: address } }
    : { provisioning: { url: `http://${address}`, timeoutMs: 1500 } };
}

export const hour = 3_600_000;
export const ago = (ms: number) => new Date(Date.now() - ms);
