import { OnboardingError } from '../../errors/onboardingError.ts';
import { type StateName, stateNames } from '../../events.ts';
import { type HardwareId, isHardwareId } from './hardwareBinding.ts';

/** `state.json`: the one source of truth besides the key. Times are RFC 3339. */
export interface DeviceState {
  readonly version: typeof stateVersion;
  readonly deviceId: string;
  /** The id was made at random here and no question under it has been answered: no stream can hold a result for it. */
  readonly idIsNew: boolean;
  /** The machine that the state belongs to; null until it was first seen */
  readonly machine: HardwareId | null;
  readonly provisioned: Provisioned | null;
  /**
   * PEM of the CA that a NATS server was first opened with over TLS: over `http:` no other takes its place, unless it
   * was signed by it. Null: none was opened yet
   */
  readonly pinnedCa: string | null;
  /** A question to the fleet manager that has had no answer yet. */
  readonly request: OpenRequest | null;
  /** The refusal that was read last, time and text: seen again in the stream, it answers no newer question. */
  readonly lastRejection: string | null;
  /** A publish of a question that was refused later had no answer: the fleet may have accepted the device by it. */
  readonly mayBeRegistered: boolean;
  readonly registration: Registration | null;
  /** Absolute paths of all files that were ever exported, in the order in which they were first written */
  readonly exported: readonly string[];
  readonly progress: Progress;
}

export interface Provisioned {
  /** PEM, the device's certificate first */
  readonly certificate: string;
  readonly caCertificate: string;
  /** As answered */
  readonly natsUrl: string;
  readonly renewAt: string;
  /** The certificate has opened a connection to NATS. */
  readonly opened: boolean;
}

export interface OpenRequest {
  /** `Nats-Msg-Id`, the same over all attempts */
  readonly messageId: string;
  readonly firstAt: string;
  /** How often it was published, counted before each publish. */
  readonly publishes: number;
  /**
   * The last result that the stream held before the question was first published: its sequence, 0 where there was none.
   * Null where it was not looked for (`idIsNew`), no stream could be read, or an older version asked.
   */
  readonly afterSequence: number | null;
  /** When the stream stored that result, by the stream's own clock; null where there was none */
  readonly afterStoredAt: string | null;
}

export interface Registration {
  readonly alias: string | null;
  readonly at: string;
  /** The fleet's result as it arrived, JSON text, with its secrets. */
  readonly result: string;
}

/** What `status` shows; bookkeeping that decides nothing. */
export interface Progress {
  readonly state: StateName;
  readonly since: string;
  readonly attempt: number;
  readonly nextRetryAt: string | null;
  readonly lastError: LastError | null;
  /** The way it has come: the last visit of each state that was left, in the order in which they were left. */
  readonly history: readonly Visit[];
}

export interface LastError {
  /** An error code, and below it a reason: of this version, or of the one that wrote it */
  readonly code: string;
  readonly reason: string | null;
  readonly message: string;
  readonly at: string;
}

export interface Visit {
  readonly state: StateName;
  /** When it was entered */
  readonly at: string;
  readonly durationMs: number;
}

export const stateVersion = 1;

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
    exported: [],
    progress: {
      state: 'idle',
      since: isoTime(now),
      attempt: 1,
      nextRetryAt: null,
      lastError: null,
      history: [],
    },
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
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt('is no JSON', cause);
  }
  if (!isRecord(json)) throw corrupt('is no JSON object');
  const { version, deviceId, provisioned, pinnedCa, request, registration, progress } = json;
  // Older versions called it `refusal`, and `mayBeRegistered` `mayBeAccepted`.
  const lastRejection = json.lastRejection ?? json.refusal ?? null;
  if (typeof version === 'number' && version > stateVersion) {
    throw new NewerStateError(
      'STATE_CORRUPT',
      `${files.state} has version ${version}; this onboardd knows version ${stateVersion}`,
    );
  }
  if (version !== stateVersion) throw corrupt('has no version');
  if (!isDeviceId(deviceId)) throw corrupt('has no device id');
  if (!isNullOr(provisioned, isProvisioned)) throw corrupt('has a damaged `provisioned`');
  if (!isNullOr(request, isOpenRequest)) throw corrupt('has a damaged `request`');
  if (!isNullOr(lastRejection, isText)) throw corrupt('has a damaged `lastRejection`');
  if (!isNullOr(registration, isRegistration)) throw corrupt('has a damaged `registration`');
  // Bookkeeping alone: damage there must not cost the identity.
  const { progress: fresh } = newState(deviceId, 0);
  return {
    version: stateVersion,
    deviceId,
    idIsNew: json.idIsNew === true,
    machine: isHardwareId(json.machine) ? json.machine : null,
    provisioned: provisioned && { ...provisioned, opened: provisioned.opened ?? registration !== null },
    // Older versions wrote none: a device that is registered has opened NATS with what it has.
    pinnedCa:
      pinnedCa === undefined && registration !== null
        ? (provisioned?.caCertificate ?? null)
        : isText(pinnedCa)
          ? pinnedCa
          : null,
    request: request && { ...request, ...stalenessOf(request) },
    lastRejection,
    mayBeRegistered: json.mayBeRegistered === true || json.mayBeAccepted === true,
    registration,
    exported: pathsOf(json.exported),
    progress: isProgress(progress)
      ? {
          ...progress,
          lastError: progress.lastError && withReason(progress.lastError),
          history: soundHistory(progress.history),
        }
      : fresh,
  };
}

export function isDeviceId(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value);
}

/** Older versions wrote no `opened`. */
type ReadProvisioned = Omit<Provisioned, 'opened'> & { readonly opened?: boolean };

function isProvisioned(value: unknown): value is ReadProvisioned {
  if (!isRecord(value)) return false;
  const { certificate, caCertificate, natsUrl, renewAt, opened } = value;
  if (opened !== undefined && typeof opened !== 'boolean') return false;
  return isText(certificate) && isText(caCertificate) && typeof natsUrl === 'string' && isTime(renewAt);
}

type Staleness = Pick<OpenRequest, 'afterSequence' | 'afterStoredAt'>;
type ReadRequest = Omit<OpenRequest, keyof Staleness> & Partial<Record<keyof Staleness, unknown>>;

/** Older versions wrote none: the times alone then say which result is an old one. */
function stalenessOf({ afterSequence, afterStoredAt }: ReadRequest): Staleness {
  return {
    afterSequence: isCount(afterSequence) ? afterSequence : null,
    afterStoredAt: isTime(afterStoredAt) ? afterStoredAt : null,
  };
}

function isOpenRequest(value: unknown): value is ReadRequest {
  return isRecord(value) && isText(value.messageId) && isTime(value.firstAt) && isCount(value.publishes);
}

function isRegistration(value: unknown): value is Registration {
  return isRecord(value) && isNullOr(value.alias, isText) && isTime(value.at) && isText(value.result);
}

/** Adds a visit in place of the state's earlier one, so that the history never grows past the states. */
export function withVisit(history: readonly Visit[], visit: Visit): Visit[] {
  return [...history.filter(({ state }) => state !== visit.state), visit];
}

/** Older versions wrote none, and what is malformed in it is left out: it decides nothing. */
function soundHistory(value: unknown): Visit[] {
  if (!Array.isArray(value)) return [];
  const sound = value.slice(-2 * stateNames.length).filter(isVisit);
  return sound.reduce<Visit[]>(
    (all, { state, at, durationMs }) => withVisit(all, { state, at, durationMs }),
    [],
  );
}

function isVisit(value: unknown): value is Visit {
  return isRecord(value) && isStateName(value.state) && isTime(value.at) && isCount(value.durationMs);
}

function isStateName(value: unknown): value is StateName {
  return (stateNames as readonly unknown[]).includes(value);
}

type ReadLastError = Omit<LastError, 'reason'> & { readonly reason?: unknown };
type ReadProgress = Omit<Progress, 'history' | 'lastError'> & {
  readonly lastError: ReadLastError | null;
  readonly history?: unknown;
};

/** Older versions wrote no reason. */
function withReason({ code, reason, message, at }: ReadLastError): LastError {
  return { code, reason: isText(reason) ? reason : null, message, at };
}

function isProgress(value: unknown): value is ReadProgress {
  if (!isRecord(value)) return false;
  const { state, since, attempt, nextRetryAt, lastError } = value;
  return (
    isStateName(state) &&
    isTime(since) &&
    isCount(attempt) &&
    isNullOr(nextRetryAt, isTime) &&
    isNullOr(
      lastError,
      (error) => isRecord(error) && isText(error.code) && isText(error.message) && isTime(error.at),
    )
  );
}

/** Older versions wrote none. What is no absolute path is left out: it was never written to. */
function pathsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((path): path is string => typeof path === 'string' && /^\/[^\0]{1,4095}$/.test(path));
}

function isNullOr<T>(value: unknown, is: (value: unknown) => value is T): value is T | null;
function isNullOr(value: unknown, is: (value: unknown) => boolean): boolean;
function isNullOr(value: unknown, is: (value: unknown) => boolean): boolean {
  return value === null || is(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && Number.isFinite(Date.parse(value));
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function corrupt(what: string, cause?: unknown): OnboardingError {
  return new OnboardingError('STATE_CORRUPT', `${files.state} ${what}`, { cause });
}
