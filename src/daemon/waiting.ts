import type { StateValue } from 'xstate';
import type { timeoutsOf } from '../machines/failure.ts';
import { isoTime, type Progress } from '../services/state/deviceState.ts';

/** Where the machine stands, down to the innermost state, and since when (milliseconds since 1970). */
export interface ActiveState {
  readonly place: string;
  readonly since: number;
}

type Timeouts = ReturnType<typeof timeoutsOf>;

/** Place → what is awaited there, and the limit of the chart. */
const awaited: Readonly<Record<string, readonly [string, keyof Timeouts]>> = {
  'csr.requesting': ['the answer of the provisioning server', 'provisioningTimeout'],
  'csr.trying': ['the NATS server', 'connectTimeout'],
  'registering.requesting.connecting': ['the NATS server', 'connectTimeout'],
  'registering.requesting.lookingUp': ['the stream of the results', 'lookUpTimeout'],
  'registering.requesting.awaitingResult': ['the answer of the fleet manager', 'resultTimeout'],
  'registered.renewing': ['the answer of the provisioning server', 'provisioningTimeout'],
  'registered.trying': ['the NATS server', 'connectTimeout'],
  'registered.verifying': ['the NATS server', 'connectTimeout'],
};

export function activeStateAt(value: StateValue, previous: ActiveState, now: number): ActiveState {
  const place = placeOf(value);
  return place === previous.place ? previous : { place, since: now };
}

/** What an attempt waits for, and until when at most; null: it waits for nobody. */
export function waitsAt(
  { place, since }: ActiveState,
  timeouts: Timeouts,
): NonNullable<Progress['waitsFor']> | null {
  const [what, limit] = awaited[place] ?? [];
  if (what === undefined || limit === undefined) return null;
  return { what, until: isoTime(since + timeouts[limit].ms) };
}

/** `registering.requesting.connecting` */
function placeOf(value: StateValue): string {
  if (typeof value === 'string') return value;
  const [[outer, inner] = ['', undefined]] = Object.entries(value);
  return inner === undefined ? outer : `${outer}.${placeOf(inner)}`;
}
