import { placeholders } from '../../config/templates.ts';

/** What this machine says of itself; null: it does not say. */
export interface DeviceFacts {
  readonly id: string;
  readonly hostname: string | null;
  /** Serial number of the hardware */
  readonly serial: string | null;
  /** machine-id(5) */
  readonly machineId: string | null;
}

/** `device.*` of the configuration. */
export interface DeviceTexts {
  readonly type: string;
  readonly architecture: string;
  readonly buildVersion: string | null;
  readonly currentOwner: string | null;
  readonly alias: string | null;
  readonly tailscaleID: string | null;
}

export interface DeviceFields {
  /** The request's fields that come from the configuration; null: left out (protocol.md, part 2) */
  readonly fields: Readonly<Record<string, string | null>>;
  /** Keys of the configuration whose fields are left out although they are configured, and why */
  readonly leftOut: readonly { readonly key: string; readonly message: string }[];
}

/**
 * Fills in `{id}`, `{hostname}`, `{serial}` and `{machineId}`. A field that needs what is not known is left out: half of
 * a name would be another device's.
 *
 * @param tailscaleId what `device.tailscaleID: "auto"` found, null: nothing
 */
export function deviceFields(
  device: DeviceTexts,
  facts: DeviceFacts,
  tailscaleId: string | null,
): DeviceFields {
  const leftOut: { key: string; message: string }[] = [];
  const fill = (name: keyof DeviceTexts, text: string | null) => {
    const unknown = placeholders.filter((fact) => text?.includes(`{${fact}}`) && facts[fact] === null);
    if (unknown.length === 0)
      return (
        text?.replace(
          /\{(id|hostname|serial|machineId)\}/g,
          (_, fact: keyof DeviceFacts) => `${facts[fact]}`,
        ) ?? null
      );
    const key = `device.${name}`;
    const names = unknown.map((fact) => `{${fact}}`).join(' and ');
    leftOut.push({ key, message: `${key} is left out: ${names} of this device is not known` });
    return null;
  };
  const isAuto = device.tailscaleID === 'auto';
  if (isAuto && tailscaleId === null) {
    const key = 'device.tailscaleID';
    leftOut.push({ key, message: `${key} is left out: "auto" finds no Tailscale that runs on this device` });
  }
  const fields = {
    deviceType: device.type,
    architecture: device.architecture,
    buildVersion: fill('buildVersion', device.buildVersion),
    currentOwner: fill('currentOwner', device.currentOwner),
    tailscaleID: isAuto ? tailscaleId : fill('tailscaleID', device.tailscaleID),
    alias: fill('alias', device.alias),
  };
  return { fields, leftOut };
}
