import { type Chance, chanceOf, pick, scaleBetween, wholeBetween } from '../support/chance.ts';
import type { DiskFault } from './disk.ts';

export const provisioningFaults = [
  'refused',
  'silent',
  'late',
  'tls',
  'answer lost',
  'HTTP 500',
  'HTTP 503, Retry-After',
  'HTTP 429',
  'HTTP 403',
  'HTTP 404',
  'captive portal',
  'truncated',
  'field missing',
  'address malformed',
  'certificate of another key',
  'certificate of another CA',
  'certificate expired',
  'certificate not yet valid',
  'certificate of another device',
  'another CA',
] as const;
export const natsFaults = [
  'refused',
  'silent',
  'tls',
  'not secure',
  'denied',
  'refuses the device',
  'breaks',
  'half-open',
  'publish denied',
  'subscription denied',
  'no stream',
  'look-up silent',
] as const;
export const managerFaults = [
  'away',
  'request lost',
  'result lost',
  'result late',
  'result twice',
  'result malformed',
  'result of another device',
  'result old',
  'refuses',
] as const;

/**
 * Somebody on the network of the provisioning server, which is plain HTTP. Over `https:` none of it works.
 *
 * - `answers`: with a CA of his own and an address where nobody is
 * - `answers, runs NATS`: with a NATS server of his own behind it. Only to a device that has opened the fleet's before,
 *   or whose configuration names the fleet's CA: any other believes the first answer by design
 * - `moves the address`: passes on the fleet's own answer, with an address of his own
 * - `replays`: the certificate that was answered last, with an address of his own
 */
export const adversaryMoves = ['answers', 'answers, runs NATS', 'moves the address', 'replays'] as const;

export const adoptions = ['whole', 'no certificate', 'no key'] as const;

type Window<Kind extends string, Fault> = {
  readonly kind: Kind;
  readonly fault: Fault;
  readonly from: number;
  readonly to: number;
};

/** The power fails, or the process is killed, before the step of the boot. */
export interface Crash {
  readonly kind: 'power cut' | 'kill';
  readonly boot: number;
  readonly step: number;
  readonly offMs: number;
}

/** Strikes before a step of what is done to the device, counted from its beginning. */
export interface Strike {
  readonly kind: 'power cut' | 'kill';
  readonly step: number;
}

/** Somebody runs `onboardd reset`, again and again if it is struck, once for each strike. */
export interface Reset {
  readonly kind: 'reset';
  readonly at: number;
  readonly keepsId: boolean;
  readonly strikes: readonly Strike[];
}

/** What befalls a device. Times in milliseconds since its first power-on; boots and steps count from 1. */
export type Adversity =
  | Crash
  | { readonly kind: 'restart'; readonly at: number }
  | Reset
  | { readonly kind: 'damage'; readonly boot: number; readonly file: string; readonly how: Damage }
  | { readonly kind: 'clock step'; readonly at: number; readonly byMs: number }
  | { readonly kind: 'no battery'; readonly wallAtBoot: number; readonly setAfterMs: number }
  | { readonly kind: 'other machine'; readonly boot: number }
  /** From this boot on another build runs. */
  | { readonly kind: 'update'; readonly boot: number }
  | { readonly kind: 'suspend'; readonly at: number; readonly ms: number }
  | Window<'disk', DiskFault>
  | Window<'provisioning', (typeof provisioningFaults)[number]>
  | Window<'nats', (typeof natsFaults)[number]>
  | Window<'manager', (typeof managerFaults)[number]>
  | Window<'adversary', (typeof adversaryMoves)[number]>;
export type Damage = 'emptied' | 'cut' | 'garbage' | 'gone';

export interface Plan {
  readonly seed: number;
  readonly api: 'jetstream' | 'request';
  readonly failedAfterMs: number;
  readonly certificateLifeMs: number;
  readonly roundTripMs: number;
  /** Messages that the network loses, a fraction */
  readonly loss: number;
  /**
   * Another device of the fleet has this device's id already. Told apart only where no answer is lost: to a device that
   * asked before, “already registered” is its own registration.
   */
  readonly clash: boolean;
  /**
   * The device's id is configured, and had an earlier life: its result is still in the stream. Told from an answer for sure
   * only where the stream can be read before the question, and `state.json` stays whole.
   */
  readonly earlierLife: boolean;
  /** What an earlier agent left on the device, which had registered it; absent: nothing */
  readonly adopted?: (typeof adoptions)[number] | undefined;
  readonly https: boolean;
  /** The configuration names the fleet's CA. */
  readonly pinned: boolean;
  /** Each renewal is for a new key. */
  readonly newKey: boolean;
  /** Once the device is registered and all is well, the fleet takes its certificates back; it gives new ones. */
  readonly isRevoked: boolean;
  /**
   * Its first renewed certificate is taken back, and no other: the device goes back to the one before. Strikes count from
   * that moment. Absent: it is not
   */
  readonly rollsBack?: { readonly strikes: readonly Strike[] } | undefined;
  readonly adversities: readonly Adversity[];
  /** How long it is watched once it is registered and all is well; 1.3 lives of a short certificate by default */
  readonly liveOnMs?: number;
}

const minute = 60_000;
const day = 24 * 60 * minute;
/** From here on nothing befalls the device any more. */
export const healAt = 120 * minute;

/** One seed, one whole life. */
export function planOf(seed: number): Plan {
  const chance = chanceOf(seed, 'plan');
  const count = Math.floor(chance() ** 2 * 9);
  const clash = chance() < 0.02;
  const drawn = Array.from({ length: count }, () => adversityOf(chance));
  const api = chance() < 0.75 ? 'jetstream' : 'request';
  const earlierLife = !clash && api === 'jetstream' && chanceOf(seed, 'earlier life')() < 0.1;
  const adopts = !clash && !earlierLife && chanceOf(seed, 'adopted')() < 0.15;
  const adversities = drawn.filter((adversity) =>
    clash ? adversity.kind === 'provisioning' : !earlierLife || !blindsToThePast(adversity),
  );
  const isShort = chance() < 0.3;
  // Renewals are rare: where there is one, somebody often tries to slip in another CA.
  if (isShort && chance() < 0.15) {
    adversities.push({ kind: 'provisioning', fault: 'another CA', from: 20 * minute, to: healAt });
  }
  // Where the stream cannot be looked at, a clock that is slow makes an old result look younger than the question.
  if (earlierLife && chanceOf(seed, 'slow clock')() < 0.5) {
    adversities.push({ kind: 'clock step', at: 0, byMs: -2 * minute });
  }
  const update = chanceOf(seed, 'update');
  if (update() < 0.2) adversities.push({ kind: 'update', boot: wholeBetween(update, 2, 4) });
  const resets = chanceOf(seed, 'reset');
  if (!clash && !earlierLife && resets() < 0.08) adversities.push(resetOf(resets));
  const rollsBack = chanceOf(seed, 'rolls back');
  const isRolledBack = rollsBack() < 0.005;
  if (chance() < 0.2) {
    const from = chance() < 0.5 ? 0 : scaleBetween(chance, minute, 60 * minute);
    const to = isShort ? healAt : from + scaleBetween(chance, minute, 45 * minute);
    adversities.push({ kind: 'adversary', fault: pick(chance, adversaryMoves), from, to });
  }
  return {
    seed,
    api,
    failedAfterMs: chance() < 0.8 ? 15 * minute : 0,
    // Renewed after a day: the one before lives when the next day's look finds that the renewed one is refused.
    certificateLifeMs: isRolledBack
      ? 10 * day
      : isShort
        ? scaleBetween(chance, 30 * minute, 5 * 60 * minute)
        : 365 * day,
    roundTripMs: scaleBetween(chance, 1, 900),
    loss: chance() < 0.3 ? chance() * 0.3 : 0,
    clash,
    earlierLife,
    adopted: adopts ? pick(chanceOf(seed, 'adoption'), adoptions) : undefined,
    https: chance() < 0.3,
    pinned: chanceOf(seed, 'pin')() < 0.2,
    newKey: chanceOf(seed, 'new key')() < 0.4,
    isRevoked: !isRolledBack && chanceOf(seed, 'revoked')() < 0.02,
    rollsBack: isRolledBack ? { strikes: strikesOf(rollsBack, 60) } : undefined,
    adversities,
  };
}

function resetOf(chance: Chance): Reset {
  const at = scaleBetween(chance, 1000, 100 * minute);
  return { kind: 'reset', at, keepsId: chance() < 0.5, strikes: strikesOf(chance, 40) };
}

/** None to three. @param last step of the last one at the most */
function strikesOf(chance: Chance, last: number): Strike[] {
  return Array.from({ length: Math.floor(chance() * 4) }, () => ({
    kind: chance() < 0.7 ? 'power cut' : 'kill',
    step: wholeBetween(chance, 1, last),
  }));
}

function blindsToThePast(adversity: Adversity): boolean {
  return (
    adversity.kind === 'damage' ||
    (adversity.kind === 'nats' && ['no stream', 'look-up silent'].includes(adversity.fault))
  );
}

function adversityOf(chance: Chance): Adversity {
  const from = chance() < 0.4 ? 0 : scaleBetween(chance, 10, 60 * minute);
  const to = from + scaleBetween(chance, 100, 45 * minute);
  const kinds: (() => Adversity)[] = [
    () => crash(chance),
    () => crash(chance),
    () => crash(chance),
    () => ({ kind: 'restart', at: from }),
    () => (chance() < 0.3 ? { kind: 'other machine', boot: wholeBetween(chance, 2, 4) } : crash(chance)),
    () => ({
      kind: 'damage',
      boot: wholeBetween(chance, 1, 4),
      file: pick(chance, [
        'state.json',
        'identity.key',
        'device_id.txt',
        'identity.crt',
        'registration.json',
      ]),
      how: pick(chance, ['emptied', 'cut', 'garbage', 'gone']),
    }),
    () => ({
      kind: 'clock step',
      at: from,
      byMs: pick(chance, [-1, 1]) * scaleBetween(chance, 1000, 8000 * day),
    }),
    () => ({
      kind: 'no battery',
      wallAtBoot: pick(chance, [0, Date.UTC(2019, 0, 1), Date.UTC(2026, 10, 12)]),
      setAfterMs: scaleBetween(chance, 100, 30 * minute),
    }),
    () => ({ kind: 'suspend', at: from, ms: scaleBetween(chance, 1000, 60 * minute) }),
    () => ({ kind: 'disk', fault: pick(chance, ['EIO', 'ENOSPC', 'EROFS']), from, to }),
    () => ({ kind: 'provisioning', fault: pick(chance, provisioningFaults), from, to }),
    () => ({ kind: 'provisioning', fault: pick(chance, provisioningFaults), from, to }),
    () => ({ kind: 'nats', fault: pick(chance, natsFaults), from, to }),
    () => ({ kind: 'nats', fault: pick(chance, natsFaults), from, to }),
    () => ({ kind: 'manager', fault: pick(chance, managerFaults), from, to }),
    () => ({ kind: 'manager', fault: pick(chance, managerFaults), from, to }),
  ];
  return pick(chance, kinds)();
}

function crash(chance: Chance): Adversity {
  return {
    kind: chance() < 0.7 ? 'power cut' : 'kill',
    boot: wholeBetween(chance, 1, 4),
    step: wholeBetween(chance, 1, 220),
    offMs: scaleBetween(chance, 100, 20 * minute),
  };
}
