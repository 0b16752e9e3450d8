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

/** A list that older versions did not write. Malformed items are dropped: no decision depends on them. */
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
  /** As the provisioning server answered it */
  natsUrl: v.string(),
  renewAt: time,
  /** The certificate has opened a connection to NATS. Absent in the state of older versions. */
  opened: v.optional(v.boolean()),
  /** NATS refuses it for good: another one is requested, and this one is tried only if the request fails. */
  refused: v.optional(v.boolean()),
});

/** A certificate beside the one in use; damage there costs a request, not the identity. */
const spareSchema = v.fallback(v.nullable(v.object({ ...provisionedSchema.entries, opened: flag })), null);

/** What a registration tells the fleet and `registration.onChange` watches: as it was sent; null: left out. */
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
   * Sequence of the last result that the stream held before the request was first published; 0 if there was none. Null if
   * it was not looked up (`idIsNew`), no stream could be read, or an older version published the request: only the times
   * then show which result is old.
   */
  afterSequence: v.fallback(v.nullable(count), null),
  /** When the stream stored that result, by the stream's clock; null if there was none */
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
      /** Finer than the code; may be a reason of another version. Older versions wrote none. */
      reason: v.fallback(v.nullable(text), null),
      message: text,
      at: time,
    }),
  ),
  /** What the attempt waits for, and until when at most; absent in the state of older versions. */
  waitsFor: v.fallback(v.optional(v.nullable(v.object({ what: text, until: time }))), undefined),
  /** Files for other programs that cannot be written at present; absent in what older versions wrote. */
  problems: v.optional(tolerantList(v.object({ code: text, reason: v.nullable(text), message: text }))),
  /** The last visit of each state that was left, in the order of leaving. */
  history: v.pipe(
    tolerantList(visitSchema),
    v.transform((visits) => visits.reduce<Visit[]>(withVisit, [])),
  ),
});

const stateSchema = v.pipe(
  v.object({
    version: v.literal(stateVersion),
    deviceId: deviceIdSchema,
    /** The id was generated here and no request with it has been answered: no stream can hold a result for it. */
    idIsNew: flag,
    /** The hardware that the state belongs to; null until it is first recorded */
    machine: v.fallback(v.nullable(hardwareIdSchema), null),
    provisioned: v.nullable(provisionedSchema),
    /** A renewed certificate that was accepted and has not opened NATS yet; for `identity.key` or `identity.key.next` */
    candidate: spareSchema,
    /** What `provisioned` replaced, for one rollback; for `identity.key` or `identity.key.previous` */
    previous: spareSchema,
    /**
     * PEM of the CA of the first TLS connection to NATS. An answer over `http:` cannot replace it, unless it signed the
     * new one. Null: no connection yet
     */
    pinnedCa: v.optional(v.fallback(v.nullable(text), null)),
    /** The request to the fleet manager that has no answer yet. */
    request: v.nullable(requestSchema),
    /** Time and text of the last rejection: read again from the stream, it answers no newer request. */
    lastRejection: v.nullable(text),
    /** The request of the last rejection, unless that said "already registered": a success may follow it in the stream. */
    rejectedRequest: v.fallback(v.nullable(requestSchema), null),
    /** An earlier publish of a rejected request had no answer: the fleet may have accepted the device then. */
    mayBeRegistered: flag,
    registration: v.nullable(registrationSchema),
    /**
     * The registration that was left to register anew: if the fleet answers "already registered", it means this one,
     * whose result counts.
     */
    formerRegistration: v.fallback(v.nullable(registrationSchema), null),
    /** When the device last opened NATS with its certificate; null: not recorded */
    verifiedAt: v.fallback(v.nullable(time), null),
    /** Absolute paths of all files that were ever exported, in the order of their first export */
    exported: tolerantList(path),
    /**
     * Path of an export -> SHA-256, hex, of what was written there or is about to be, the newest last. A path without any
     * was written by an older version, or by the earlier agent.
     */
    exportDigests: v.fallback(v.record(v.string(), v.array(v.string())), {}),
    /** The key of this identity was made in a token: no setting without it gets the device another key by itself. */
    keyInToken: flag,
    /** `reset` has begun: nothing here is an identity to start from any more. */
    resetting: flag,
    /** What older versions kept here for `status`; it is read and not written again. */
    progress: v.fallback(v.nullable(progressSchema), null),
  }),
  // Older versions wrote neither: a registered device has opened NATS with its certificate.
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
/** The data for `status`; no decision depends on it, and it is not durable. */
export type Progress = NonNullable<DeviceState['progress']>;
export type LastError = NonNullable<Progress['lastError']>;
export type PublishedProblem = NonNullable<Progress['problems']>[number];
export type Visit = Immutable<v.InferOutput<typeof visitSchema>>;

/** The state directory as the services use it. Every method throws STATE_UNWRITABLE if the disk fails. */
export interface StateDirectory {
  /** @returns the text, or null if the file does not exist; any other failure throws */
  read(name: string): string | null;
  /** Replaces the file atomically; durable (file and folder) when it returns. */
  write(name: string, text: string, mode: number): void;
  /**
   * Replaces a copy if the content differs, and restores the mode. After a power cut it holds the old content or the new
   * one; which of them is durable once `settle` or the next `write` returns.
   */
  refresh(name: string, text: string, mode: number): void;
  /** Makes durable what `refresh` replaced. */
  settle(): void;
  /** Replaces bookkeeping atomically, without a sync: a power cut may leave any content. */
  note(name: string, text: string, mode: number): void;
  /** Restores the file's mode if it differs and we may set it. */
  restrict(name: string, mode: number): void;
  /** Renames a damaged file out of the way. @returns its new name */
  quarantine(name: string): string;
  /** Removes the file durably; no-op if there is none. */
  remove(name: string): void;
}

export const files = {
  state: 'state.json',
  key: 'identity.key',
  /** Key of a renewal under way, `renewal.newKey` */
  nextKey: 'identity.key.next',
  /** Key of the certificate that was replaced, until the new one is verified */
  previousKey: 'identity.key.previous',
  certificate: 'identity.crt',
  caCertificate: 'identity_ca.crt',
  deviceId: 'device_id.txt',
  natsUrl: 'service_nats_url.txt',
  registration: 'registration.json',
  /** What `status` shows of a daemon without a runtime directory */
  status: 'status.json',
} as const;

export function newState(deviceId: string, idIsNew = false): DeviceState {
  return {
    version: stateVersion,
    deviceId,
    idIsNew,
    machine: null,
    provisioned: null,
    candidate: null,
    previous: null,
    pinnedCa: null,
    request: null,
    lastRejection: null,
    rejectedRequest: null,
    mayBeRegistered: false,
    registration: null,
    formerRegistration: null,
    verifiedAt: null,
    exported: [],
    exportDigests: {},
    keyInToken: false,
    resetting: false,
    progress: null,
  };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

export function writeState(directory: StateDirectory, state: DeviceState): void {
  const kept = { ...state, progress: undefined };
  directory.write(files.state, `${JSON.stringify(kept, null, 2)}\n`, 0o600);
}

/**
 * Reads and changes `state.json` in one step. The daemon holds the directory's lock, so no other process writes in between.
 *
 * @throws {OnboardingError} STATE_CORRUPT if the file is missing or damaged, STATE_UNWRITABLE
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

/** @throws {OnboardingError} STATE_CORRUPT if it does not exist: `resume` creates it, so it was removed since */
export function currentState(directory: StateDirectory): DeviceState {
  const text = directory.read(files.state);
  if (text === null) throw new OnboardingError('STATE_CORRUPT', `${files.state} does not exist`);
  return parseState(text);
}

/** Thrown for the state of a newer version, which is left unchanged. */
export class NewerStateError extends OnboardingError {}

/** @throws {OnboardingError} STATE_CORRUPT, which names the damaged key */
export function parseState(text: string): DeviceState {
  const json = parseObject(text);
  const { version } = json;
  if (typeof version === 'number' && version > stateVersion) {
    throw new NewerStateError(
      'STATE_CORRUPT',
      `${files.state} has version ${version}; this onboardd supports version ${stateVersion}`,
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
    throw corrupt('is not valid JSON', cause);
  }
  if (!isRecord(json)) throw corrupt('is not a JSON object');
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

/** @returns null if the value is not what `status` shows of a device */
export function readProgress(value: unknown): Progress | null {
  const { success, output } = v.safeParse(progressSchema, value);
  return success ? output : null;
}

export function isDeviceId(value: unknown): value is string {
  return v.is(deviceIdSchema, value);
}

/** Adds a visit and drops the earlier one of the same state, so that the history stays bounded. */
export function withVisit(history: readonly Visit[], visit: Visit): Visit[] {
  return [...history.filter(({ state }) => state !== visit.state), visit];
}

function corrupt(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('STATE_CORRUPT', `${files.state} ${what}`, { cause });
}
