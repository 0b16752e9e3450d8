/** What the fleet saw, in the order in which it saw it. The log of the workbench holds one a line. */
export type FleetEvent = { at: number } & (
  | { event: 'request.refused'; id?: string; address: string; status: number | null; error: string }
  | {
      event: 'certificate.issued';
      id: string;
      address: string;
      commonName: string;
      serial: string;
      notBefore: number;
      notAfter: number;
      keySha256: string;
    }
  | { event: 'nats.connected' | 'nats.disconnected'; id: string; address: string; reason: string }
  | {
      event: 'registration.accepted';
      id: string;
      /** of the request, in its stream: the same request may be delivered again */
      sequence?: number;
      alias: string;
      deviceType: string;
      architecture: string;
      buildVersion: string;
    }
  | { event: 'registration.rejected'; id: string; error: string }
  | { event: 'device.revoked' | 'device.restored' | 'device.forgotten'; id: string }
  | { event: 'fault.on' | 'fault.off'; fault: string }
);

export type DeviceState = 'refused' | 'certified' | 'registered' | 'rejected' | 'revoked' | 'forgotten';

/** A device as the fleet knows it. Times in milliseconds since 1970. */
export interface Device {
  id: string;
  /** `revoked` as long as `isRevoked` */
  state: DeviceState;
  /** since when it is in this state */
  since: number;
  firstSeen: number;
  lastSeen: number;
  isConnected: boolean;
  /** from its revocation until it is let in again, whatever comes in between */
  isRevoked: boolean;
  address: string;
  commonName: string;
  alias: string;
  deviceType: string;
  architecture: string;
  buildVersion: string;
  certificate: { serial: string; notBefore: number; notAfter: number; keySha256: string } | null;
  /** how many certificates it was given, and how many different keys they were for */
  certificates: number;
  keys: number;
  /** how often it was registered since it was last forgotten; more than once is an error of the fleet */
  registrations: number;
  /** of the request that was accepted last */
  acceptedSequence?: number;
}
