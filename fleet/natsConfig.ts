/** NATS permissions of one user: subjects, with NATS wildcards. */
export interface Rights {
  publish?: { allow?: string[]; deny?: string[] };
  subscribe?: { allow?: string[]; deny?: string[] };
}

/** What a device of this common name may do; 'all', or 'none': then it is not even let in. */
export type RightsOf = (id: string, commonName: string) => Rights | 'all' | 'none';

export const managerName = 'fleet-manager';
/** Who hears of connections, where the server tells of them. */
export const monitorName = 'fleet-monitor';
/** The account of devices and fleet manager, where the server tells of connections: it does so of named ones only. */
export const fleetAccount = 'FLEET';

/** What a device may do by default: ask, read the answer through JetStream's direct get, and hear it. */
export function deviceRights(id: string): Rights {
  return {
    publish: {
      allow: [
        `device_actions.${id}.>`,
        `$JS.API.DIRECT.GET.*.device_results.${id}.>`,
        '$JS.API.STREAM.NAMES',
      ],
    },
    subscribe: { allow: [`device_results.${id}.>`, '_INBOX.>', `_INBOX_${id}.>`] },
  };
}

const loopback = '127.0.0.1';

export interface ConfigInput {
  name: string;
  /** the address to listen on; 127.0.0.1 by default */
  host?: string;
  /** -1 chooses a free one */
  port: number;
  /** undefined: JetStream is off */
  storeDir: string | undefined;
  /** PEM files; undefined: without TLS, and then everybody may do everything */
  tls: { certFile: string; keyFile: string; caFile: string } | undefined;
  /** common names and what they may do */
  users: Iterable<readonly [commonName: string, rights: Rights | 'all']>;
  cluster?: { port: number; routes: string[] };
  /** Whether `monitorName` may hear of connections, on `$SYS.ACCOUNT.FLEET.*`. */
  isMonitored?: boolean;
  /** bytes; 1 MiB by default, as with nats-server itself */
  maxPayload?: number;
}

/** A nats-server configuration file. JSON is one of the forms that nats-server reads, but for some escapes. */
export function natsConfig({
  name,
  port,
  storeDir,
  tls,
  users,
  cluster,
  host = loopback,
  isMonitored = false,
  maxPayload = 1_048_576,
}: ConfigInput): string {
  const known = [...users].map(userOf);
  const json = JSON.stringify(
    {
      server_name: name,
      listen: `${host.includes(':') ? `[${host}]` : host}:${port}`,
      // A reload refuses another monitoring port than the one first written.
      http: `${loopback}:-1`,
      max_payload: maxPayload,
      ...(storeDir === undefined
        ? {}
        : { jetstream: { store_dir: storeDir, max_memory_store: 64 * 2 ** 20, max_file_store: 2 ** 30 } }),
      ...(cluster === undefined
        ? {}
        : { cluster: { name: 'fleet', listen: `${loopback}:${cluster.port}`, routes: cluster.routes } }),
      ...(tls === undefined
        ? {}
        : {
            tls: {
              cert_file: tls.certFile,
              key_file: tls.keyFile,
              ca_file: tls.caFile,
              verify_and_map: true,
              timeout: 10,
            },
            ...(isMonitored
              ? accountsOf(known, storeDir !== undefined)
              : { authorization: { users: known } }),
          }),
    },
    null,
    1,
  );
  return json.replace(/\\(u[0-9a-f]{4}|.)/g, (_, escaped: string) => natsEscape(escaped));
}

/** @param escaped what follows the backslash in JSON. nats-server knows `\xHH`, but neither `\uHHHH` nor `\b` and `\f`. */
function natsEscape(escaped: string): string {
  if (escaped === 'b') return '\\x08';
  if (escaped === 'f') return '\\x0c';
  if (escaped.startsWith('u00')) return `\\x${escaped.slice(3)}`;
  // Half of a surrogate pair, which no UTF-8 has.
  if (escaped.length > 1) return '\ufffd';
  return `\\${escaped}`;
}

function accountsOf(users: object[], jetstream: boolean) {
  return {
    system_account: 'SYS',
    accounts: {
      SYS: { users: [userOf([monitorName, 'all'])] },
      [fleetAccount]: { users, ...(jetstream ? { jetstream: 'enabled' } : {}) },
    },
  };
}

function userOf([commonName, rights]: readonly [string, Rights | 'all']) {
  return { user: `CN=${escapedValue(commonName)}`, ...(rights === 'all' ? {} : { permissions: rights }) };
}

/** A value of a distinguished name as Go's crypto/x509/pkix writes it, which `verify_and_map` compares with (RFC 4514, 2.4). */
function escapedValue(text: string): string {
  return text.replace(/[,+"\\<>;]|^[# ]|(?!^) $/g, '\\$&');
}
