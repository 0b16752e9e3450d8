/** What a setting may name in braces, filled in for each device. */
export const placeholders = ['id', 'hostname', 'serial', 'machineId'] as const;

export interface Templates {
  readonly identity: { readonly deviceId: string | null; readonly commonName: string };
  readonly device: Readonly<Record<'alias' | 'currentOwner' | 'tailscaleID' | 'buildVersion', string | null>>;
}

/**
 * What goes out as it is written although it looks like something to be filled in, such as `{hostName}`, and a common name
 * that is the same on each device of an image. Neither is an error: a name may hold braces.
 */
export function templateWarnings({ identity, device }: Templates): { key: string; message: string }[] {
  const { deviceId, commonName } = identity;
  const { alias, currentOwner, tailscaleID, buildVersion } = device;
  const ofDevice = Object.entries({ alias, currentOwner, tailscaleID, buildVersion });
  const isOneForAll = deviceId === null && !commonName.includes('{id}');
  const key = 'identity.commonName';
  return [
    ...unfilled(key, commonName, ['id']),
    ...(isOneForAll
      ? [
          {
            key,
            message: `${key} is "${commonName}", the same on every device of an image: it names no {id}`,
          },
        ]
      : []),
    ...ofDevice.flatMap(([name, text]) => unfilled(`device.${name}`, text ?? '', placeholders)),
  ];
}

function unfilled(key: string, text: string, known: readonly string[]): { key: string; message: string }[] {
  const strange = [...text.matchAll(/\{([A-Za-z_]\w*)\}/g)].filter(([, name = '']) => !known.includes(name));
  const filled = known.map((name) => `{${name}}`).join(', ');
  return strange.map(([braced]) => ({
    key,
    message: `${key} is "${text}", and ${braced} goes out as it is: filled in are ${filled}`,
  }));
}
