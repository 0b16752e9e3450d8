import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import type { HardwareId } from '../services/state/hardwareBinding.ts';

/** Serial numbers of the hardware. The device tree's is for everybody to read; DMI's are for root, but for the first,
 * which systemd/onboardd.tmpfiles opens to the service. */
const serialFiles = [
  '/sys/firmware/devicetree/base/serial-number',
  '/sys/class/dmi/id/product_uuid',
  '/sys/class/dmi/id/product_serial',
];

/** Placeholders of boards without a serial number, without hyphens; the last three are UUIDs of firmware vendors. */
const placeholders = new RegExp(
  `^(${[
    '0+|f+|none|n/a|default string|to be filled by o\\.?e\\.?m\\.?|not specified|unknown',
    '03000200040005000006000700080009',
    '00020003000400050006000700080009',
    '123456781234567890abcddeefaabbcc',
    '0?123456789(abcdef)?|system serial number|serial number',
  ].join('|')})$`,
  'i',
);

/** statfs(2) */
const tmpfs = 0x01021994;

/**
 * Identifies this machine, by hashes keyed with the program's name: machine-id(5) asks not to disclose the id itself. An
 * id that lasts only until the next boot (`/run/machine-id`) is ignored.
 */
export function readHardwareId(): HardwareId {
  const serial = serialIn(serialFiles);
  const machineId = readMachineId();
  return { hardware: serial ? hash(serial) : null, installation: machineId ? hash(machineId) : null };
}

/** The serial number in plain, for `{serial}`; null: none is known, or only root may read it. */
export function readSerial(): string | null {
  return serialIn(serialFiles.filter((path) => !path.endsWith('product_uuid')));
}

/** machine-id(5) in plain, for `{machineId}`; null: there is none that outlives the boot */
export function readMachineId(): string | null {
  const machineId = isPassing('/etc/machine-id') ? null : read('/etc/machine-id');
  return machineId !== null && /^[0-9a-f]{32}$/.test(machineId) ? machineId : null;
}

function serialIn(paths: readonly string[]): string | null {
  const isSerial = (text: string | null) => text !== null && !placeholders.test(text.replace(/-/g, ''));
  return paths.map(read).find(isSerial) ?? null;
}

/** Lasts only until the next boot: systemd's own for a read-only `/etc`, or an `/etc` in memory. */
function isPassing(path: string): boolean {
  try {
    return existsSync('/run/machine-id') || statfsSync(path).type === tmpfs;
  } catch {
    return false;
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').replace(/\0/g, '').trim() || null;
  } catch {
    return null;
  }
}

function hash(text: string): string {
  return createHash('sha256').update(`onboardd ${text}`).digest('hex');
}
