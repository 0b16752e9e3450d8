import type { ErrorClass, ErrorCode } from './errors/catalogue.ts';
import type { Reason } from './errors/reasons.ts';

/** The top level of the machine: the only values of `state` in logs and in `status`. */
export const stateNames = [
  'idle',
  'keygen',
  'csr',
  'provisioned',
  'registering',
  'registered',
  'failed',
] as const;
export type StateName = (typeof stateNames)[number];

export type Level = 'error' | 'warn' | 'info' | 'debug';

/** Why `registered` is left. */
const leaveReasons = {
  'key-lost': 0,
  'certificate-missing': 0,
  'certificate-foreign': 0,
  'certificate-expired': 0,
  'certificate-refused': 0,
  'registration-missing': 0,
  'permanent-failure': 0,
  'announcement-changed': 0,
} as const;
export type LeaveReason = keyof typeof leaveReasons;

/** What was lost of an identity. */
const replaceReasons = { 'state-damaged': 0, 'state-missing': 0, 'key-lost': 0 } as const;
export type ReplaceReason = keyof typeof replaceReasons;

/** The one catalogue of log events. The types of `log(…)`, docs/events.md and its JSON schema come from here. */
export interface EventEntry {
  readonly level: Level;
  /** The level that it has at times, and when */
  readonly or?: { readonly level: Level; readonly when: string };
  /** 128 bits, hex, never changed: for forwarders that write the native journal (docs/events.md). */
  readonly messageId: string;
  readonly meaning: string;
  readonly fields: Readonly<Record<string, Field<unknown>>>;
}

/** One field: its JSON schema and its meaning. `T` is its type in the source. */
export interface Field<T> {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly meaning: string;
  /** Never set: carries only the type. */
  readonly is?: T;
}

const string = (meaning: string): Field<string> => ({ schema: { type: 'string' }, meaning });
const time = (meaning: string): Field<string> => ({
  schema: { type: 'string', format: 'date-time' },
  meaning: `${meaning} (RFC 3339, UTC)`,
});
const count = (meaning: string): Field<number> => ({ schema: { type: 'integer', minimum: 0 }, meaning });
const orNull = <T>({ schema, meaning }: Field<T>, when: string): Field<T | null> => ({
  schema: { ...schema, type: [schema.type, 'null'] },
  meaning: `${meaning}; null: ${when}`,
});
const oneOf = <T extends string>(values: Readonly<Record<T, 0>>, meaning: string): Field<T> => ({
  schema: { type: 'string', enum: Object.keys(values) },
  meaning,
});

const state = (meaning: string): Field<StateName> => ({
  schema: { type: 'string', enum: stateNames },
  meaning,
});
const errorClass = (meaning: string) => oneOf<ErrorClass>({ transient: 0, permanent: 0 }, meaning);
const code = (meaning: string): Field<ErrorCode> => ({
  schema: { type: 'string', pattern: '^[A-Z][A-Z_]+$' },
  meaning,
});

const reason = (meaning: string): Field<Reason | null> => ({
  schema: { type: ['string', 'null'], pattern: '^[a-z][a-z0-9-]+$' },
  meaning,
});

/** Fields of every line; `deviceId` and `state` once they are known, `repeated` only if lines were left out. */
export const commonFields = {
  message: string('one sentence for a person; its wording may change'),
  timestamp: time('when it happened'),
  level: oneOf({ error: 0, warn: 0, info: 0, debug: 0 }, 'severity'),
  event: string("the event's name"),
  version: string('of onboardd'),
  runId: {
    schema: { type: 'string', pattern: '^[0-9a-f]{32}$' },
    meaning: 'one start of the daemon, at random',
  },
  deviceId: {
    schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
    meaning: "the device's id",
  },
  state: state('the state that the device is in after the event'),
  repeated: {
    schema: { type: 'integer', minimum: 1 },
    meaning: 'how many lines of the same event and failure were left out since the last such line',
  },
} as const satisfies Record<string, Field<unknown>>;

/** The common fields that every line has. */
const always = ['message', 'timestamp', 'level', 'event', 'version', 'runId'] as const;

/** After what the programs of `hooks.dir` are run. */
const hookTriggers = { registered: 0, renewed: 0, failed: 0, reset: 0 } as const;
export type HookTrigger = keyof typeof hookTriggers;
const hookTrigger = oneOf<HookTrigger>(hookTriggers, 'what happened');

/** Of a certificate that the device has got. */
const certificateFields = {
  serial: {
    schema: { type: 'string', pattern: '^[0-9A-F]+$' },
    meaning: 'serial number, hex, as `openssl x509 -serial` prints it',
  },
  notAfter: time('when it expires'),
  renewAt: time('when it will be renewed'),
} as const satisfies Record<string, Field<string>>;

export const events = {
  'daemon.started': {
    level: 'info',
    messageId: '3127b89c96f540338c1204e7f070e19b',
    meaning: 'The daemon has started and locked the state directory.',
    fields: { pid: count('of the process') },
  },
  'daemon.stopped': {
    level: 'info',
    messageId: '56c63a19bb6d4eabaa78225c69815c54',
    meaning: 'The daemon stops in an orderly way.',
    fields: { signal: orNull(string('the signal that ended it'), 'it stopped by itself, with --once') },
  },
  'config.reloaded': {
    level: 'info',
    messageId: 'a517366295f8f5606d92809ad2d82007',
    meaning: 'The configuration was reloaded at SIGHUP; the device continues with it from the facts on disk.',
    fields: { changed: string('keys whose values differ, separated by commas; empty: none') },
  },
  'config.warning': {
    level: 'warn',
    messageId: '000ffe0d31bba1a90e173b9e1d7dbe77',
    meaning:
      'A setting is allowed but unsafe or probably a mistake, or a file that it names cannot be written.',
    fields: { key: string('the key, or the option that names the file') },
  },
  'supervisor.unreachable': {
    level: 'warn',
    messageId: 'debcc4404a364c6eb094b6a6ae813ee6',
    meaning:
      'The service manager cannot be told that the daemon runs, nor its state; told once until it can. What tells it is tried again every second.',
    fields: { cause: string('what went wrong') },
  },
  'state.changed': {
    level: 'info',
    messageId: '6dc089364a3e44fa9eb6f61f84f4d7af',
    meaning: 'The device entered another of the seven states.',
    fields: {
      from: state('the state before'),
      to: state('the state now'),
      durationMs: count('milliseconds spent in `from`, by the monotonic clock'),
    },
  },
  'step.failed': {
    level: 'warn',
    or: {
      level: 'error',
      when: 'a renewal fails in the last third of the time between `renewAt` and `notAfter`',
    },
    messageId: '52cac6d549c24c8192a788ba26559834',
    meaning: 'An attempt failed. A transient failure is retried; a permanent one leads to `failed`.',
    fields: {
      step: string(
        'the state whose step failed; `renewing`: the renewal of a registered device; `verifying`: its daily look at NATS; `reload`: reloading the configuration',
      ),
      code: code('the error code'),
      reason: reason('why, finer than the code; null if the code says it all'),
      class: errorClass('`transient`: a retry may help; `permanent`: an operator has to act'),
      attempt: count('of this step, from 1'),
      retryInMs: orNull(count('milliseconds until the next attempt'), 'no attempt by itself'),
      cause: string('what went wrong, in one line'),
    },
  },
  'device.registered': {
    level: 'info',
    messageId: '7b5709207cc64a25afd8ef462716bbe7',
    meaning: 'The device is registered: logged after registering, and after each start.',
    fields: {
      alias: orNull(string('the name that the fleet gave'), 'it gave none'),
      durationMs: count('milliseconds since this start of the daemon'),
    },
  },
  'device.failed': {
    level: 'error',
    messageId: '07b6264a580d48e38173a7f9a233bbf8',
    meaning: 'An operator has to act: the device waits in `failed`, or the daemon cannot start.',
    fields: { code: code('the error code'), remedy: string('what to do') },
  },
  'identity.adopted': {
    level: 'info',
    messageId: '467a122714b94dc3b0ca9b073575b701',
    meaning: 'The identity that an earlier agent left on this device was taken over, under the same id.',
    fields: {
      key: oneOf({ kept: 0, new: 0 }, "whether the agent's key is used"),
      certificate: oneOf({ kept: 0, requested: 0 }, "whether the agent's certificate is used"),
      cause: orNull(string('why key or certificate are not used'), 'both are'),
    },
  },
  'export.failed': {
    level: 'warn',
    messageId: 'fb03b8e0929647e39d9cf0a65dd30bc8',
    meaning:
      'A file of `exports` was not written; the others were, and the device goes on. It is tried again every minute, and said again when the cause changes.',
    fields: {
      item: string('the item of `exports`'),
      path: string('the file'),
      code: code('the error code'),
      reason: reason('finer than the code; null: the code says it all'),
      cause: string('what went wrong, in one line'),
    },
  },
  'identity.replaced': {
    level: 'warn',
    messageId: '700a5106b9cb483c8e30c505e163e065',
    meaning:
      'A damaged or missing state led to a new id or key: the fleet still knows the device by the one before. A damaged file was told by `step.failed` with `STATE_CORRUPT`.',
    fields: {
      reason: oneOf<ReplaceReason>(
        replaceReasons,
        '`state-damaged`, `state-missing`: there was no key either, and the device starts over, with a new id unless one is configured; `key-lost`: a key that had a certificate was damaged or gone, and the device gets a new one under its id',
      ),
    },
  },
  'certificate.issued': {
    level: 'info',
    messageId: '54c4aeaedb7a49aaba7a7e8ac4770586',
    meaning:
      'The provisioning server issued a certificate to a device that had none of use: the first one, or one in place of a certificate that expired, was refused or never opened NATS.',
    fields: certificateFields,
  },
  'certificate.renewed': {
    level: 'info',
    messageId: 'f6617d73e7b1455c9edf95904581ccce',
    meaning: 'A new certificate replaced one that was still valid.',
    fields: certificateFields,
  },
  'certificate.rolled-back': {
    level: 'warn',
    messageId: '423a024c8ecd259a6bd1d2b5b7d30bd6',
    meaning:
      'NATS refuses a renewed certificate for good: the certificate that it replaced, and its key, are in use again.',
    fields: { notAfter: time('when it expires') },
  },
  'registration.left': {
    level: 'warn',
    messageId: 'af68350071791fa18d1f78fbf91e233c',
    meaning: 'A registered device is not registered any more, and goes back to the step that is missing.',
    fields: {
      reason: oneOf<LeaveReason>(
        leaveReasons,
        'what is missing; `certificate-refused`: NATS refuses the certificate for good; `certificate-foreign`: it is for another key, or of a CA that the configuration does not allow; `announcement-changed`: alias, owner or build version changed, with `registration.onChange`',
      ),
    },
  },
  'address.refused': {
    level: 'warn',
    messageId: '90500bb88432433ba06e48755d54b894',
    meaning:
      'An answer over plain HTTP named another NATS address, to which the new certificate could not connect: the certificate is kept, with the known address.',
    fields: { code: code('why the connection failed'), cause: string('what went wrong, in one line') },
  },
  'certificate.useless': {
    level: 'warn',
    messageId: '179112bedabb4cf6b952d01846b15c1d',
    meaning:
      'A certificate that has never opened a connection to NATS failed many times, or NATS refuses for good the one of a device that is registering: another one is requested, and this one is kept until it arrives.',
    fields: {
      code: code('the error code of the last attempt'),
      failures: count('attempts in a row'),
    },
  },
  'daemon.heartbeat': {
    level: 'info',
    messageId: '1ed349858c894bb9bc39fcfbbfab901f',
    meaning: 'The daemon runs: once a day, whatever else happens.',
    fields: {
      since: time('when the device entered its state'),
      notAfter: orNull(time("when the device's certificate expires"), 'it has none'),
    },
  },
  'hook.failed': {
    level: 'warn',
    messageId: 'aecae49f610744c0af78ad03777f6078',
    meaning: 'A program of `hooks.dir` ended badly, or could not be run; the device goes on.',
    fields: {
      hook: string('path of the program'),
      moment: hookTrigger,
      cause: string('how it ended'),
    },
  },
  'hook.skipped': {
    level: 'warn',
    messageId: 'e4c9e4e49d4446feaacfd1119d93ae1a',
    meaning:
      'A file of `hooks.dir` is not run: it is not executable, or somebody else could have changed it.',
    fields: { hook: string('path of the file or folder'), cause: string('why') },
  },
  'hook.ended': {
    level: 'debug',
    messageId: '45e0dc1405e84f60a51cf5187526fe25',
    meaning: 'A program of `hooks.dir` has ended.',
    fields: {
      hook: string('path of the program'),
      moment: hookTrigger,
      durationMs: count('milliseconds that it ran'),
      output: string('the first 4 KiB of what it wrote'),
    },
  },
  'progress.unsaved': {
    level: 'debug',
    messageId: 'a2d66d3b93d64b5480d1f24f9abf7aaf',
    meaning: 'The data for `status` could not be written; the device continues.',
    fields: {},
  },
} as const satisfies Record<string, EventEntry>;

export type EventName = keyof typeof events;

/** The levels that an event may have. */
export type LevelOf<E extends EventName> = (typeof events)[E] extends {
  readonly level: infer Usual extends Level;
  readonly or: { readonly level: infer Other extends Level };
}
  ? Usual | Other
  : (typeof events)[E]['level'];

/** The event's own fields, as the source has them. */
export type FieldsOf<E extends EventName> = {
  readonly [Name in keyof (typeof events)[E]['fields']]: (typeof events)[E]['fields'][Name] extends Field<
    infer T
  >
    ? T
    : never;
};

/** JSON Schema (draft 2020-12) of one line of the log. It is closed: a field that is not in the catalogue is an error. */
export function eventSchema(codes: readonly string[], reasons: readonly string[]): Record<string, unknown> {
  const closed: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    code: { type: 'string', enum: codes },
    reason: { type: ['string', 'null'], enum: [...reasons, null] },
  };
  const lines = Object.entries<EventEntry>(events).map(([name, { level, or, fields }]) => {
    const own = Object.entries<Field<unknown>>(fields).map(([field, { schema, meaning }]) => [
      field,
      { ...('enum' in schema ? schema : (closed[field] ?? schema)), description: meaning },
    ]);
    const shared = Object.entries(commonFields).map(([field, { schema, meaning }]) => [
      field,
      { ...schema, description: meaning },
    ]);
    return [
      name,
      {
        type: 'object',
        additionalProperties: false,
        required: [...always, ...Object.keys(fields)],
        properties: {
          ...Object.fromEntries([...shared, ...own]),
          level: or === undefined ? { const: level } : { enum: [level, or.level] },
          event: { const: name },
        },
      },
    ] as const;
  });
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'one line of the onboardd log',
    oneOf: lines.map(([name]) => ({ $ref: `#/$defs/${name}` })),
    $defs: Object.fromEntries(lines),
  };
}
