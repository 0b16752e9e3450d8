import { parseNatsAddresses } from '../../config/natsAddress.ts';

/** Limit for one address of the cluster: TCP, TLS and the NATS handshake; enough for seven round trips of 600 ms. */
export const addressTimeoutMs = 10_000;

/** Time limit of connecting in total, milliseconds. */
export function connectTimeoutMs(natsUrl: string | null): number {
  const addresses = natsUrl === null ? 3 : parseNatsAddresses(natsUrl).length;
  return addressTimeoutMs * addresses + 5_000;
}
