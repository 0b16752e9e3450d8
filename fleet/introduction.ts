import { resolve } from 'node:path';
import { renderUnicodeCompact } from 'uqr';
import type { FleetEvent } from './device.ts';
import type { Workbench } from './workbench.ts';

/** What a person at the terminal needs to know, above all the line that a device needs. */
export function introduction(
  { urls, fingerprint, isOpenToOthers, isAnnounced, ledger }: Workbench,
  { version, data, page }: { version: string; data: string; page?: string },
): string {
  const line = `ONBOARDD_PROVISIONING_URL=${urls.http}`;
  const code = isOpenToOthers && page !== undefined ? page : line;
  const known =
    ledger.devices.size === 0
      ? ''
      : `, ${ledger.devices.size} device${ledger.devices.size === 1 ? '' : 's'} known`;
  return [
    `onboardd-fleet ${version}, a workbench fleet for benches and rehearsals: not for production`,
    `  provisioning  ${urls.http}`,
    `                ${urls.https}`,
    `  NATS          ${urls.nats.replaceAll(',', '\n                ')}`,
    ...(page === undefined ? [] : [`  live page     ${page}`]),
    `  data          ${resolve(data)}${known}`,
    isOpenToOthers
      ? `  reachable     by everybody on this network${isAnnounced ? ', announced by multicast DNS' : ''}`
      : '  reachable     from this machine only; --listen 0.0.0.0 opens it to the network',
    '',
    'A device needs one line, in /etc/default/onboardd:',
    '',
    `  ${line}`,
    '',
    'With a second line it trusts this fleet only, whoever answers (SHA-256 of the CA certificate):',
    '',
    `  ONBOARDD_PROVISIONING_FLEET_CA_FINGERPRINT=${fingerprint}`,
    '',
    `${code === line ? 'The first line' : 'The live page'} as a QR code:`,
    '',
    renderUnicodeCompact(code, { border: 2 }),
    '',
  ].join('\n');
}

/** An event as a line for the terminal. Its foreign text has no control characters. */
export function lineOf(event: FleetEvent): string {
  const id = 'id' in event && event.id !== undefined ? event.id : '-';
  return `${new Date(event.at).toISOString().slice(11, 23)}  ${event.event.padEnd(21)}  ${id.padEnd(32)}  ${detailOf(event)}`;
}

function detailOf(event: FleetEvent): string {
  switch (event.event) {
    case 'request.refused':
      return `${event.status ?? 'no answer'}: ${event.error}, from ${event.address}`;
    case 'certificate.issued':
      return `until ${new Date(event.notAfter).toISOString().slice(0, 19)}Z, serial ${event.serial}`;
    case 'nats.connected':
      return `from ${event.address}`;
    case 'nats.disconnected':
      return event.reason;
    case 'registration.accepted':
      return `${event.alias} (${event.deviceType}, ${event.architecture})`;
    case 'registration.rejected':
      return event.error;
    case 'fault.on':
    case 'fault.off':
      return event.fault;
    default:
      return '';
  }
}
