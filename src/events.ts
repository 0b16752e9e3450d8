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

/** The one catalogue of log events. The types of `log(…)`, docs/events.md and its JSON schema come from here. */
export interface EventEntry {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  /** 128 bits, hex, made once and never changed: for forwarders that write the native journal (docs/events.md). */
  readonly messageId: string;
  readonly meaning: string;
  readonly fields: Readonly<Record<string, Field<unknown>>>;
}

/** One field: its JSON schema, and what it says. `T` is its type in the source. */
export interface Field<T> {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly meaning: string;
  /** Never set: carries the type alone. */
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

/** Of every line. `deviceId` and `state` once they are known. */
export const commonFields = {
  timestamp: time('when it happened'),
  level: oneOf({ error: 0, warn: 0, info: 0, debug: 0 }, 'how much it matters'),
  event: string('the event’s name'),
  message: string('one sentence for a person; its wording may change'),
  deviceId: {
    schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$' },
    meaning: 'the device’s id',
  },
  state: state('the state that the device is in after the event'),
} as const satisfies Record<string, Field<unknown>>;

/** After what the programs of `hooks.dir` are run. */
const hookTriggers = { registered: 0, renewed: 0, failed: 0, reset: 0 } as const;
export type HookTrigger = keyof typeof hookTriggers;
const hookTrigger = oneOf<HookTrigger>(hookTriggers, 'what happened');

/** Why a device is not registered any more. */
const leftReasons = { 'announcement-changed': 0 } as const;

export const events = {
  'daemon.started': {
    level: 'info',
    messageId: '3127b89c96f540338c1204e7f070e19b',
    meaning: 'The daemon runs and holds the state directory.',
    fields: { version: string('of onboardd'), pid: count('of the process') },
  },
  'daemon.stopped': {
    level: 'info',
    messageId: '56c63a19bb6d4eabaa78225c69815c54',
    meaning: 'The daemon ends in good order.',
    fields: { signal: orNull(string('the signal that ended it'), 'it ended by itself, with --once') },
  },
  'config.reloaded': {
    level: 'info',
    messageId: 'a517366295f8f5606d92809ad2d82007',
    meaning:
      'The configuration was read again at SIGHUP; the device goes on from the facts on disk with the new one.',
    fields: { changed: string('keys whose values differ, separated by commas; empty: none') },
  },
  'config.warning': {
    level: 'warn',
    messageId: '000ffe0d31bba1a90e173b9e1d7dbe77',
    meaning: 'Something in the configuration is allowed and not safe.',
    fields: { key: string('the key, or the option that names the file') },
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
    messageId: '52cac6d549c24c8192a788ba26559834',
    meaning: 'An attempt failed. A transient failure is tried again; a permanent one leads to `failed`.',
    fields: {
      step: string(
        'the state whose step failed; `renewing`: the renewal of a registered device; `reload`: a configuration that was read again',
      ),
      code: code('the error code'),
      reason: reason('why, finer than the code, where that is known; null: the code says it all'),
      class: errorClass('whether trying again may help by itself'),
      attempt: count('of this step, from 1'),
      retryInMs: orNull(count('milliseconds until the next try'), 'never by itself'),
      cause: string('what went wrong, in one line'),
    },
  },
  'device.registered': {
    level: 'info',
    messageId: '7b5709207cc64a25afd8ef462716bbe7',
    meaning: 'The device is a member of the fleet: after registering, and again after each start.',
    fields: {
      alias: orNull(string('the name that the fleet gave'), 'it gave none'),
      durationMs: count('milliseconds since this start of the daemon'),
    },
  },
  'device.failed': {
    level: 'error',
    messageId: '07b6264a580d48e38173a7f9a233bbf8',
    meaning: 'Somebody has to do something: the device rests in `failed`, or the daemon cannot start.',
    fields: { code: code('the error code'), remedy: string('what to do') },
  },
  'registration.left': {
    level: 'info',
    messageId: '21b245410d4549bf8f47ac1265545e39',
    meaning: 'The device is not registered any more, and registers anew with the same id.',
    fields: {
      reason: oneOf(
        leftReasons,
        'why: `announcement-changed`: alias, owner or build version, with `registration.onChange`',
      ),
    },
  },
  'certificate.renewed': {
    level: 'info',
    messageId: 'f6617d73e7b1455c9edf95904581ccce',
    meaning: 'A new certificate took the place of one that still lived.',
    fields: { notAfter: time('when it expires'), renewAt: time('when it will be renewed') },
  },
  'address.refused': {
    level: 'warn',
    messageId: '90500bb88432433ba06e48755d54b894',
    meaning:
      'An answer over plain HTTP named another NATS address, which the new certificate did not open: the certificate is kept, with the address that is known.',
    fields: { code: code('why it did not open'), cause: string('what was seen') },
  },
  'certificate.useless': {
    level: 'warn',
    messageId: '179112bedabb4cf6b952d01846b15c1d',
    meaning:
      'A certificate has never opened a connection to NATS, in many tries: another one is asked for, and this one kept until it is there.',
    fields: {
      code: code('the error code of the last try'),
      failures: count('tries in a row'),
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
    meaning: 'What `status` shows could not be written; the device goes on.',
    fields: {},
  },
} as const satisfies Record<string, EventEntry>;

export type EventName = keyof typeof events;

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
  const lines = Object.entries(events).map(([name, { level, fields }]) => {
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
        required: ['timestamp', 'level', 'event', 'message', ...Object.keys(fields)],
        properties: {
          ...Object.fromEntries([...shared, ...own]),
          level: { const: level },
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
