import { X509Certificate } from 'node:crypto';
import { appendFile, readFile, rename, writeFile } from 'node:fs/promises';
import { sha256Of } from './csr.ts';
import type { Device, DeviceState, FleetEvent } from './device.ts';

/** How much is kept of each device, and of the fleet as a whole. */
export const mostHistory = 100;
/** Foreign text is cut to so many characters. */
const mostText = 300;
/** A longer file is written anew at the start. */
const mostLines = 20_000;

export interface Ledger {
  readonly devices: ReadonlyMap<string, Device>;
  /** The latest events of one device, or of all, oldest first. */
  historyOf(id?: string): readonly FleetEvent[];
  /** Resolves once the event is written. */
  add(event: FleetEvent): Promise<void>;
  /** Called with each event, after it counts. @returns what ends it */
  onEvent(call: (event: FleetEvent) => void): () => void;
  close(): Promise<void>;
}

/**
 * What the fleet saw of its devices. It is written to a file, an event a line, and read back at the next start.
 *
 * @throws {Error} where the file cannot be read or written
 */
export async function openLedger(file: string): Promise<Ledger> {
  const devices = new Map<string, Device>();
  const histories = new Map<string, FleetEvent[]>();
  const latest: FleetEvent[] = [];
  const listeners = new Set<(event: FleetEvent) => void>();
  const remember = (event: FleetEvent) => {
    if ('id' in event && event.id !== undefined) push(listOf(histories, event.id), event);
    push(latest, event);
  };
  const keep = (event: FleetEvent) => {
    count(devices, event);
    remember(event);
  };
  const { lines, isTorn } = await linesOf(file);
  for (const line of lines) {
    if ('device' in line) devices.set(line.device.id, kept(line.device));
    else if ('kept' in line) remember(line.kept);
    else keep(line);
  }
  for (const device of devices.values()) device.isConnected = false;
  const isLong = lines.length > mostLines;
  if (isLong) await compact(file, devices, new Set([...histories.values(), latest].flat()));
  const writer = batchedAppend(file, isTorn && !isLong);
  return {
    devices,
    historyOf: (id) => (id === undefined ? latest : (histories.get(id) ?? [])),
    add(event) {
      keep(event);
      for (const call of listeners) call(event);
      return writer.append(`${JSON.stringify(event)}\n`);
    },
    onEvent(call) {
      listeners.add(call);
      return () => listeners.delete(call);
    },
    close: writer.close,
  };
}

interface Holder {
  id: string;
  address: string;
  /** as the CSR has it: that of a read certificate is escaped */
  commonName: string;
}

/** @param certificate PEM, the device's first */
export function certificateEvent(holder: Holder, certificate: string): FleetEvent {
  const x509 = new X509Certificate(certificate);
  return {
    at: Date.now(),
    event: 'certificate.issued',
    ...holder,
    serial: x509.serialNumber,
    notBefore: Date.parse(x509.validFrom),
    notAfter: Date.parse(x509.validTo),
    keySha256: sha256Of(x509.publicKey),
  };
}

/** Foreign text as it may be kept: cut, without control characters. */
export function shortText(value: unknown): string {
  if (typeof value !== 'string') return '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return value.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, ' ').slice(0, mostText);
}

/** Brings the devices up to date with one event more. */
function count(devices: Map<string, Device>, event: FleetEvent): void {
  if (!('id' in event) || event.id === undefined) return;
  const device = devices.get(event.id) ?? newDevice(event.id, event.at);
  devices.set(event.id, device);
  const enter = (wanted: DeviceState) => {
    const state = device.isRevoked ? 'revoked' : wanted;
    if (device.state !== state) device.since = event.at;
    device.state = state;
  };
  const isSeen = !['device.revoked', 'device.restored', 'device.forgotten'].includes(event.event);
  if (isSeen) device.lastSeen = event.at;
  if ('address' in event && event.address !== '') device.address = event.address;
  switch (event.event) {
    case 'certificate.issued': {
      const { serial, notBefore, notAfter, keySha256 } = event;
      if (keySha256 !== device.certificate?.keySha256) device.keys += 1;
      device.certificate = { serial, notBefore, notAfter, keySha256 };
      device.certificates += 1;
      device.commonName = event.commonName;
      if (device.state !== 'registered') enter('certified');
      break;
    }
    case 'nats.connected':
    case 'nats.disconnected':
      device.isConnected = event.event === 'nats.connected';
      break;
    case 'registration.accepted': {
      const { alias, deviceType, architecture, buildVersion, sequence: acceptedSequence } = event;
      Object.assign(device, { alias, deviceType, architecture, buildVersion, acceptedSequence });
      device.registrations += 1;
      enter('registered');
      break;
    }
    case 'registration.rejected':
      if (device.state !== 'registered') enter('rejected');
      break;
    case 'device.revoked':
      device.isRevoked = true;
      enter('revoked');
      break;
    case 'device.forgotten':
      device.registrations = 0;
      enter('forgotten');
      break;
    case 'device.restored':
      device.isRevoked = false;
      enter(device.registrations > 0 ? 'registered' : 'certified');
      break;
  }
}

function newDevice(id: string, at: number): Device {
  return {
    ...{ id, state: 'refused', since: at, firstSeen: at, lastSeen: at, address: '' },
    ...{ isConnected: false, isRevoked: false },
    ...{ commonName: '', alias: '', deviceType: '', architecture: '', buildVersion: '' },
    ...{ certificate: null, certificates: 0, keys: 0, registrations: 0 },
  };
}

/** A device as a file holds it; older ones said by its state alone that it is revoked. */
function kept(device: Device): Device {
  return { ...device, isRevoked: device.state === 'revoked' };
}

function listOf(histories: Map<string, FleetEvent[]>, id: string): FleetEvent[] {
  const list = histories.get(id) ?? [];
  histories.set(id, list);
  return list;
}

function push(list: FleetEvent[], event: FleetEvent): void {
  list.push(event);
  if (list.length > mostHistory) list.shift();
}

/** A line of the file: an event, or what a start that wrote the file anew kept. */
type Line = FleetEvent | { device: Device } | { kept: FleetEvent };

/** What the file holds; a line that a cut left unfinished is passed over. `isTorn`: the last one is such a line. */
async function linesOf(file: string): Promise<{ lines: Line[]; isTorn: boolean }> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const lines = text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Line];
    } catch {
      return [];
    }
  });
  return { lines, isTorn: text !== '' && !text.endsWith('\n') };
}

async function compact(
  file: string,
  devices: ReadonlyMap<string, Device>,
  events: ReadonlySet<FleetEvent>,
): Promise<void> {
  const kept = [...events].sort((a, b) => a.at - b.at).map((event) => ({ kept: event }));
  const all = [...[...devices.values()].map((device) => ({ device })), ...kept];
  await writeFile(`${file}.new`, all.map((line) => `${JSON.stringify(line)}\n`).join(''), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/**
 * Appends what has come since the last write, in one write. One that fails loses its own lines only.
 *
 * @param isTorn whether the file's last line is unfinished: it is ended first
 */
function batchedAppend(file: string, isTorn: boolean) {
  let waiting = isTorn ? '\n' : '';
  let current: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  return {
    append(line: string): Promise<void> {
      waiting += line;
      next ??= current.then(() => {
        const text = waiting;
        waiting = '';
        next = undefined;
        const run = appendFile(file, text, { mode: 0o600 });
        current = run.catch(() => {
          // It may have written a part of a line.
          waiting = `\n${waiting}`;
        });
        return run;
      });
      return next;
    },
    close: async () => {
      await next?.catch(() => undefined);
      await current;
    },
  };
}
