/** What the page is told; shared by its server and its script, hence types only. */
import type { Device, FleetEvent } from '../device.ts';

export interface FaultView {
  name: string;
  label: string;
  meaning: string;
  /** what a device does about it, to go on behind "A device" */
  device: string;
  isOn: boolean;
}

export interface Change {
  /** those that changed, whole */
  devices: Device[];
  /** what happened since the last one, oldest first */
  events: FleetEvent[];
  faults: FaultView[];
}

export interface Snapshot extends Change {
  /** the configuration line that a device needs, and the one that pins the CA */
  line: string;
  pin: string;
  urls: { http: string; https: string; nats: string };
  isOpenToOthers: boolean;
}
