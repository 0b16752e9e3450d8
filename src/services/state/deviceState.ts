import * as v from 'valibot';
import { OnboardingError } from '../../errors/onboardingError.ts';
import { stateNames } from '../../events.ts';
import { isRecord } from '../../text/json.ts';
import { hardwareIdSchema } from './hardwareBinding.ts';

export const stateVersion = 1;

const text = v.pipe(v.string(), v.nonEmpty());
const time = v.pipe(
  v.string(),
  v.check((value) => Number.isFinite(Date.parse(value))),
);
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const flag = v.fallback(v.boolean(), false);
const path = v.pipe(v.string(), v.regex(/^\/[^\0]{1,4095}$/));
const deviceIdSchema = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/));

/** A list that older versions did not write. What is malformed in it is left out: it decides nothing. */
function tolerantList<Item>(item: v.GenericSchema<unknown, Item>) {
  return v.pipe(
    v.fallback(v.array(v.unknown()), []),
    v.transform((values) =>
      values
        .map((value) => v.safeParse(item, value))
        .flatMap(({ success, output }) => (success ? [output] : [])),
    ),
  );
}

const provisionedSchema = v.object({
  /** PEM, the device's certificate first */
  certificate: text,
  caCertificate: text,
  /** As answered */
  natsUrl: v.string(),
  renewAt: time,
  /** The certificate has opened a connection to NATS. Older versions wrote none. */
  opened: v.optional(v.boolean()),
});

/** What a registration tells the fleet and `registration.onChange` watches: as it was sent, null where it was left out. */
const announcedSchema = v.object({
  alias: v.nullable(text),
  currentOwner: v.nullable(text),
  buildVersion: v.nullable(text),
});

const requestSchema = v.object({
  /** `Nats-Msg-Id`, the same over all attempts */
  messageId: text,
  firstAt: time,
  /** How often it was published, counted before each publish. */
  publishes: count,
  /**
   * The last result that the stream held before the question was first published: its sequence, 0 where there was none.
   * Null where it was not looked for (`idIsNew`), no stream could be read, or an older version asked: the times alone
   * then say which result is an old one.
   */
  afterSequence: v.fallback(v.nullable(count), null),
  /** When the stream stored that result, by the stream's own clock; null where there was none */
  afterStoredAt: v.fallback(v.nullable(time), null),
  /** By its first publish: the fleet may have heard that one. Older versions recorded none. */
  announced: v.fallback(v.nullable(announcedSchema), null),
});

const registrationSchema = v.object({
  alias: v.nullable(text),
  at: time,
  /** The fleet's result as it arrived, JSON text, with its secrets. */
  result: text,
  /** By the request that it answers; null: older versions recorded none */
  announced: v.fallback(v.nullable(announcedSchema), null),
});

const visitSchema = v.object({
  state: v.picklist(stateNames),
  /** When it was entered */
  at: time,
  durationMs: count,
});

const progressSchema = v.object({
  state: v.picklist(stateNames),
  since: time,
  attempt: count,
  nextRetryAt: v.nullable(time),
  lastError: v.nullable(
    v.object({
      code: text,
      /** Below the code; of this version, or of the one that wrote it. Older versions wrote none. */
      reason: v.fallback(v.nullable(text), null),
      message: text,
      at: time,
    }),
  ),
  /** The way it has come: the last visit of each state that was left, in the order in which they were left. */
  history: v.pipe(
    tolerantList(visitSchema),
    v.transform((visits) => visits.reduce<Visit[]>(withVisit, [])),
  ),
});

const stateSchema = v.pipe(
  v.object({
    version: v.literal(stateVersion),
    deviceId: deviceIdSchema,
    /** The id was made at random here and no question under it has been answered: no stream can hold a result for it. */
    idIsNew: flag,
    /** The machine that the state belongs to; null until it was first seen */
    machine: v.fallback(v.nullable(hardwareIdSchema), null),
    provisioned: v.nullable(provisionedSchema),
    /**
     * PEM of the CA that a NATS server was first opened with over TLS: over `http:` no other takes its place, unless it
     * was signed by it. Null: none was opened yet
     */
    pinnedCa: v.optional(v.fallback(v.nullable(text), null)),
    /** A question to the fleet manager that has had no answer yet. */
    request: v.nullable(requestSchema),
    /** The refusal that was read last, time and text: seen again in the stream, it answers no newer question. */
    lastRejection: v.nullable(text),
    /** A publish of a question that was refused later had no answer: the fleet may have accepted the device by it. */
    mayBeRegistered: flag,
    registration: v.nullable(registrationSchema),
    /** The registration that was left to register anew: "already registered" then means this one. */
    formerRegistration: v.fallback(v.nullable(registrationSchema), null),
    /** Absolute paths of all files that were ever exported, in the order in which they were first written */
    exported: tolerantList(path),
    /**
     * Path of an export → SHA-256, hex, of what was written there or is about to be, the newest last. A path without any
     * is one that an older version wrote.
     */
    exportDigests: v.fallback(v.record(v.string(), v.array(v.string())), {}),
    /** `reset` has begun: nothing here is an identity to start from any more. */
    resetting: flag,
    /** Bookkeeping alone: damage there must not cost the identity. */
    progress: v.fallback(progressSchema, newProgress(0)),
  }),
  // Older versions wrote neither: a device that is registered has opened NATS with what it has.
  v.transform((state) => ({
    ...state,
    provisioned: state.provisioned && {
      ...state.provisioned,
      opened: state.provisioned.opened ?? state.registration !== null,
    },
    pinnedCa:
      state.pinnedCa === undefined
        ? state.registration && (state.provisioned?.caCertificate ?? null)
        : state.pinnedCa,
  })),
);

type Immutable<T> = T extends object ? { readonly [Key in keyof T]: Immutable<T[Key]> } : T;

/** `state.json`: the one source of truth besides the key. Times are RFC 3339. */
export type DeviceState = Immutable<v.InferOutput<typeof stateSchema>>;
export type Provisioned = NonNullable<DeviceState['provisioned']>;
export type OpenRequest = NonNullable<DeviceState['request']>;
export type Announced = Immutable<v.InferOutput<typeof announcedSchema>>;
export type Registration = NonNullable<DeviceState['registration']>;
/** What `status` shows; bookkeeping that decides nothing. */
export type Progress = DeviceState['progress'];
export type LastError = NonNullable<Progress['lastError']>;
export type Visit = Immutable<v.InferOutput<typeof visitSchema>>;

/** The state directory, seen by the services. Every method throws STATE_UNWRITABLE where the disk fails. */
export interface StateDirectory {
  /** @returns the text, or null where there is no such file; any other failure throws */
  read(name: string): string | null;
  /** Replaces the file atomically; durable (file and folder) when it returns. */
  write(name: string, text: string, mode: number): void;
  /** Writes where the content differs, and sets the mode back. */
  refresh(name: string, text: string, mode: number): void;
  /** Sets the file's mode back where it differs and is ours to set. */
  restrict(name: string, mode: number): void;
  /** Renames a damaged file out of the way. @returns its new name */
  quarantine(name: string): string;
}

export const files = {
  state: 'state.json',
  key: 'identity.key',
  certificate: 'identity.crt',
  caCertificate: 'identity_ca.crt',
  deviceId: 'device_id.txt',
  natsUrl: 'service_nats_url.txt',
  registration: 'registration.json',
} as const;

export function newState(deviceId: string, now: number, idIsNew = false): DeviceState {
  return {
    version: stateVersion,
    deviceId,
    idIsNew,
    machine: null,
    provisioned: null,
    pinnedCa: null,
    request: null,
    lastRejection: null,
    mayBeRegistered: false,
    registration: null,
    formerRegistration: null,
    exported: [],
    exportDigests: {},
    resetting: false,
    progress: newProgress(now),
  };
}

function newProgress(now: number): v.InferOutput<typeof progressSchema> {
  return {
    state: 'idle',
    since: isoTime(now),
    attempt: 1,
    nextRetryAt: null,
    lastError: null,
    history: [],
  };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

export function writeState(directory: StateDirectory, state: DeviceState): void {
  directory.write(files.state, `${JSON.stringify(state, null, 2)}\n`, 0o600);
}

/**
 * Reads and changes `state.json` in one step. The daemon holds the directory's lock, so nobody writes in between.
 *
 * @throws {OnboardingError} STATE_CORRUPT where the file is missing or damaged, STATE_UNWRITABLE
 */
export function updateState(
  directory: StateDirectory,
  change: (state: DeviceState) => Partial<DeviceState>,
): DeviceState {
  const state = currentState(directory);
  const next = { ...state, ...change(state) };
  writeState(directory, next);
  return next;
}

/** @throws {OnboardingError} STATE_CORRUPT where there is none: `resume` makes it, so somebody took it away */
export function currentState(directory: StateDirectory): DeviceState {
  const text = directory.read(files.state);
  if (text === null) throw new OnboardingError('STATE_CORRUPT', `${files.state} is gone`);
  return parseState(text);
}

/** Thrown for a state that a newer version wrote: it is left as it is. */
export class NewerStateError extends OnboardingError {}

/** @throws {OnboardingError} STATE_CORRUPT, naming what is wrong */
export function parseState(text: string): DeviceState {
  const json = parseObject(text);
  const { version } = json;
  if (typeof version === 'number' && version > stateVersion) {
    throw new NewerStateError(
      'STATE_CORRUPT',
      `${files.state} has version ${version}; this onboardd knows version ${stateVersion}`,
    );
  }
  const parsed = v.safeParse(stateSchema, withNewNames(json), { abortEarly: true });
  if (parsed.success) return parsed.output;
  const damaged = String(parsed.issues[0].path?.[0].key);
  throw corrupt(missing[damaged] ?? `has a damaged \`${damaged}\``);
}

const missing: Readonly<Record<string, string>> = {
  version: 'has no version',
  deviceId: 'has no device id',
};

function parseObject(text: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt('is no JSON', cause);
  }
  if (!isRecord(json)) throw corrupt('is no JSON object');
  return json;
}

/** Older versions called `lastRejection` `refusal`, and `mayBeRegistered` `mayBeAccepted`. */
function withNewNames(json: Record<string, unknown>): Record<string, unknown> {
  return {
    ...json,
    lastRejection: json.lastRejection ?? json.refusal ?? null,
    mayBeRegistered: json.mayBeRegistered === true || json.mayBeAccepted === true,
  };
}

export function isDeviceId(value: unknown): value is string {
  return v.is(deviceIdSchema, value);
}

/** Adds a visit in place of the state's earlier one, so that the history never grows past the states. */
export function withVisit(history: readonly Visit[], visit: Visit): Visit[] {
  return [...history.filter(({ state }) => state !== visit.state), visit];
}

function corrupt(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('STATE_CORRUPT', `${files.state} ${what}`, { cause });
}
