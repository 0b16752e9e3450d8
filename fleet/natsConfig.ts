/** NATS permissions of one user: subjects, with NATS wildcards. */
export interface Rights {
  publish?: { allow?: string[]; deny?: string[] };
  subscribe?: { allow?: string[]; deny?: string[] };
}

/** What a device of this common name may do; 'all', or 'none': then it is not even let in. */
export type RightsOf = (id: string, commonName: string) => Rights | 'all' | 'none';

export const managerName = 'fleet-manager';

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

export interface ConfigInput {
  name: string;
  /** -1 chooses a free one */
  port: number;
  /** undefined: JetStream is off */
  storeDir: string | undefined;
  /** PEM files; undefined: without TLS, and then everybody may do everything */
  tls: { certFile: string; keyFile: string; caFile: string } | undefined;
  /** common names and what they may do */
  users: Iterable<readonly [commonName: string, rights: Rights | 'all']>;
  cluster?: { port: number; routes: string[] };
  /** bytes; 1 MiB by default, as with nats-server itself */
  maxPayload?: number;
}

/** A nats-server configuration file. JSON is one of the forms that nats-server reads. */
export function natsConfig({
  name,
  port,
  storeDir,
  tls,
  users,
  cluster,
  maxPayload = 1_048_576,
}: ConfigInput): string {
  const host = '127.0.0.1';
  return JSON.stringify(
    {
      server_name: name,
      listen: `${host}:${port}`,
      // A reload refuses another monitoring port than the one first written.
      http: `${host}:-1`,
      max_payload: maxPayload,
      ...(storeDir === undefined
        ? {}
        : { jetstream: { store_dir: storeDir, max_memory_store: 64 * 2 ** 20, max_file_store: 2 ** 30 } }),
      ...(cluster === undefined
        ? {}
        : { cluster: { name: 'fleet', listen: `${host}:${cluster.port}`, routes: cluster.routes } }),
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
            authorization: { users: [...users].map(userOf) },
          }),
    },
    null,
    1,
  );
}

function userOf([commonName, rights]: readonly [string, Rights | 'all']) {
  return { user: `CN=${commonName}`, ...(rights === 'all' ? {} : { permissions: rights }) };
}
