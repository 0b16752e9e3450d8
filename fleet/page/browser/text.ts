/** What the page says of times, states and events. */
import type { Device, FleetEvent } from '../../device.ts';
import { faults, isFault } from '../../faultCatalogue.ts';

const unitsMs: [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** For example `12 s`; `now` below a second. */
export function span(ms: number): string {
  const [unit, length] = unitsMs.find(([, least]) => Math.abs(ms) >= least) ?? ['', 0];
  return length === 0 ? 'now' : `${Math.floor(Math.abs(ms) / length)} ${unit}`;
}

export function ago(at: number, now: number): string {
  const text = span(Math.max(0, now - at));
  return text === 'now' ? text : `${text} ago`;
}

export function until(at: number, now: number): string {
  return at < now ? `expired ${ago(at, now)}` : `for ${span(at - now)}`;
}

/** Local time of day; with the date where that is not today's */
export function clock(at: number, now = Date.now()): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString(undefined, { hour12: false });
  return date.toDateString() === new Date(now).toDateString() ? time : `${date.toLocaleDateString()} ${time}`;
}

export const states: Record<Device['state'], string> = {
  registered: 'registered',
  certified: 'has a certificate',
  rejected: 'registration refused',
  refused: 'no certificate',
  revoked: 'revoked',
  forgotten: 'forgotten',
};

export function sentenceOf(event: FleetEvent): string {
  switch (event.event) {
    case 'request.refused':
      return event.status === null
        ? 'asked for a certificate and got no answer'
        : `asked for a certificate, answered ${event.status}: ${event.error}`;
    case 'certificate.issued':
      return event.notAfter < event.at
        ? 'was issued a certificate that has expired already'
        : `was issued a certificate until ${clock(event.notAfter)}`;
    case 'nats.connected':
      return `connected to NATS from ${event.address}`;
    case 'nats.disconnected':
      return `left NATS${event.reason === '' ? '' : `: ${event.reason}`}`;
    case 'registration.accepted':
      return `registered as ${event.alias}`;
    case 'registration.rejected':
      return `was refused registration: ${event.error}`;
    case 'device.revoked':
      return 'was revoked';
    case 'device.restored':
      return 'was let in again';
    case 'device.forgotten':
      return 'was forgotten by the fleet manager';
    case 'fault.on':
      return `switched on: ${labelOf(event.fault)}`;
    case 'fault.off':
      return `switched off: ${labelOf(event.fault)}`;
  }
}

function labelOf(fault: string): string {
  return isFault(fault) ? faults[fault].label : fault;
}

/** good, waiting or bad: its colour, never its only sign */
export function toneOf(event: FleetEvent): 'good' | 'bad' | 'plain' {
  if (event.event === 'registration.accepted' || event.event === 'fault.off') return 'good';
  if (/refused|rejected|revoked|fault\.on/.test(event.event)) return 'bad';
  return event.event === 'certificate.issued' && event.notAfter < event.at ? 'bad' : 'plain';
}
