import { catalogue, type ErrorCode } from './catalogue.ts';

/** The two servers that a device talks to; the same observation has another code and often another remedy with each. */
export type Server = 'provisioning' | 'nats';

export interface ReasonEntry {
  /** The error code with the provisioning server and with the NATS server; null: it cannot happen there */
  readonly codes: readonly [ErrorCode | null, ErrorCode | null];
  /** What was observed, for behind the server's name: "127.0.0.1:80: it refused the connection" */
  readonly cause: string;
  /** One for both, or one for the provisioning server and one for the NATS server */
  readonly remedy: string | readonly [string, string];
}

const unreachable = ['PROVISIONING_UNREACHABLE', 'NATS_UNREACHABLE'] as const;
const tls = ['PROVISIONING_TLS', 'NATS_TLS'] as const;
const rejected = ['PROVISIONING_REJECTED', null] as const;
const answerInvalid = ['PROVISIONING_ANSWER_INVALID', null] as const;
const denied = [null, 'NATS_DENIED'] as const;
const letIn = 'Give the device a valid `provisioning.tokenFile`, or let it in at the server.';
const serverLog = 'Read the log of the provisioning server';
const byItself = 'the device tries again by itself';

const entries = {
  dns: {
    codes: unreachable,
    cause: 'the name does not exist',
    remedy: 'Correct the host name in the configuration, or add it to the DNS of this network.',
  },
  'dns-timeout': {
    codes: unreachable,
    cause: 'no DNS server answered',
    remedy: 'Check the network cable or Wi-Fi, and the DNS server in /etc/resolv.conf.',
  },
  refused: {
    codes: unreachable,
    cause: 'it refused the connection',
    remedy: 'Start the server, or correct the port: the host is up and nothing listens there.',
  },
  'no-route': {
    codes: unreachable,
    cause: 'no route to it',
    remedy: 'Check the device’s address, its default route (`ip route`) and the cable or Wi-Fi.',
  },
  blocked: {
    codes: unreachable,
    cause: 'this device does not permit the connection',
    remedy:
      'Allow the connection in the device’s own firewall, and in `IPAddressDeny=` of the service’s unit.',
  },
  'out-of-resources': {
    codes: unreachable,
    cause: 'this device is out of memory or of file descriptors',
    remedy: 'Look for a program on this device that uses up memory, open files or sockets.',
  },
  timeout: {
    codes: ['PROVISIONING_TIMEOUT', 'NATS_UNREACHABLE'],
    cause: 'it did not answer in time',
    remedy: [
      'Look for a firewall that drops packets, a wrong address, or a server that hangs; raise `provisioning.timeoutMs` on a slow link.',
      'Look for a firewall that drops packets, a wrong address, or a server that hangs.',
    ],
  },
  reset: {
    codes: unreachable,
    cause: 'it cut the connection',
    remedy: 'Read the server’s log, and look for a firewall or proxy that cuts connections.',
  },
  'connection-failed': {
    codes: unreachable,
    cause: 'the connection failed',
    remedy: 'Look up the system error that is named (`man errno`), and check the network of this device.',
  },
  'tls-untrusted': {
    codes: tls,
    cause: 'its certificate is not of a trusted CA',
    remedy: [
      'Trust the named issuer (`provisioning.caFile`), or give the server a certificate of the trusted CA.',
      'Give the NATS server a certificate of the fleet’s CA, the one that provisioning answers (identity_ca.crt).',
    ],
  },
  'tls-expired': {
    codes: tls,
    cause: 'its certificate has expired',
    remedy: 'Renew the server’s certificate; if its dates are fine, set this device’s clock.',
  },
  'tls-not-yet-valid': {
    codes: tls,
    cause: 'its certificate is not valid yet',
    remedy: 'Set this device’s clock; if it is right, correct the clock of the server’s CA.',
  },
  'tls-wrong-host': {
    codes: tls,
    cause: 'its certificate is for another host',
    remedy: 'Use a host name that the server’s certificate names, or add this one to the certificate.',
  },
  'tls-wrong-purpose': {
    codes: tls,
    cause: 'its certificate is not one of a server',
    remedy: 'Give the server a certificate whose extended key usage includes `serverAuth`.',
  },
  'tls-failed': {
    codes: tls,
    cause: 'TLS failed',
    remedy:
      'Check that the server speaks TLS 1.2 or newer with keys and signatures of today; its log may tell more.',
  },
  'not-tls': {
    codes: tls,
    cause: 'it sent something else in place of TLS: possibly a man in the middle',
    remedy:
      'Correct the address or port, or turn on TLS there; if both are right, look for a proxy or an attacker on the path.',
  },
  'client-certificate-refused': {
    codes: tls,
    cause: 'it refuses the device’s certificate',
    remedy: [
      'Let the server accept devices without a certificate, or let it trust the CA of the one that it asks for.',
      'Let the server trust the CA of this device’s certificate; `onboardd check` shows its dates.',
    ],
  },
  'provisioning-off': {
    codes: ['CONFIG_INVALID', null],
    cause: 'the settings of the earlier agent forbid to ask for a certificate',
    remedy:
      'Set AUTOMATIC_PROVISIONING=true in the file of `--env-file`, or put the device’s key, certificate and CA where that file says.',
  },
  'agent-identity': {
    codes: ['CONFIG_INVALID', 'STATE_CORRUPT'],
    cause: 'the identity that an earlier agent left does not agree with itself, or with this device’s',
    remedy:
      'Decide which identity the device has: set `identity.deviceId`, move the other files away, or run `onboardd reset` (docs/migrating.md).',
  },
  'agent-unreadable': {
    codes: ['STATE_UNWRITABLE', null],
    cause: 'a file of the earlier agent cannot be read',
    remedy: 'Let the service’s user read the named file and the folders above it (docs/migrating.md).',
  },
  'credentials-unusable': {
    codes: tls,
    cause: 'the certificates or the key that are used for it cannot be read',
    remedy: [
      'Check that `provisioning.caFile` holds PEM certificates.',
      'Run `onboardd check`: the device’s own key, certificate or CA is damaged.',
    ],
  },
  'not-http': {
    codes: answerInvalid,
    cause: 'no HTTP server answers there',
    remedy: 'Correct `provisioning.url`: something else than HTTP answers there.',
  },
  redirected: {
    codes: answerInvalid,
    cause: 'it redirects, and redirects are refused',
    remedy: 'Set `provisioning.url` to the address that the server itself has.',
  },
  'captive-portal': {
    codes: answerInvalid,
    cause: 'it answers with a web page',
    remedy: 'Log in to the network’s portal, or correct `provisioning.url`: a web page answers there.',
  },
  'token-unusable': {
    codes: rejected,
    cause: 'the token cannot be read',
    remedy:
      'Correct `provisioning.tokenFile`: a file that the service may read, with the token and nothing else.',
  },
  'http-400': {
    codes: rejected,
    cause: 'it takes the request for malformed',
    remedy: `${serverLog}: it does not understand the request; check \`provisioning.swarmId\` and \`identity.commonName\`.`,
  },
  'http-401': { codes: rejected, cause: 'it asks for a token', remedy: letIn },
  'http-403': { codes: rejected, cause: 'it refuses this device', remedy: letIn },
  'http-404': {
    codes: rejected,
    cause: 'nothing is found at this URL',
    remedy: 'Correct `provisioning.url`: another server, or another path of it, answers there.',
  },
  'http-405': {
    codes: rejected,
    cause: 'it takes no POST at this URL',
    remedy: 'Correct `provisioning.url`: another server, or another path of it, answers there.',
  },
  'http-407': {
    codes: rejected,
    cause: 'a proxy asks for a login',
    remedy: 'Let the device past the proxy, or correct `provisioning.url`.',
  },
  'http-408': {
    codes: rejected,
    cause: 'it waited too long for the request',
    remedy: `Check the speed of the network; ${byItself}.`,
  },
  'http-409': {
    codes: rejected,
    cause: 'it knows another device with this id',
    remedy: 'Remove the other device with this id from the fleet, or run `onboardd reset` here.',
  },
  'http-413': {
    codes: rejected,
    cause: 'the request is too long for it',
    remedy: 'Raise the limit of the server, or of the proxy in front of it, to 16 KiB for a request.',
  },
  'http-415': {
    codes: rejected,
    cause: 'it takes no JSON',
    remedy: 'Correct `provisioning.url`: the server that answers there takes no JSON.',
  },
  'http-422': {
    codes: rejected,
    cause: 'it refuses what the request holds',
    remedy: `${serverLog}: it refuses the device’s id, key or subject; check \`identity.commonName\` and \`identity.keyType\`.`,
  },
  'http-425': {
    codes: rejected,
    cause: 'it is not ready for the request',
    remedy: `Wait: ${byItself}.`,
  },
  'http-429': {
    codes: rejected,
    cause: 'it gets too many requests',
    remedy: `Wait: ${byItself}, no sooner than the server asks; raise its limit if many devices start at once.`,
  },
  'http-4xx': {
    codes: rejected,
    cause: 'it refuses the request',
    remedy: `${serverLog}: the HTTP status says what it refuses.`,
  },
  'http-500': {
    codes: rejected,
    cause: 'it failed',
    remedy: `${serverLog}: it has a fault; ${byItself}.`,
  },
  'http-502': {
    codes: rejected,
    cause: 'the proxy in front of it gets no answer from it',
    remedy: `Start the provisioning server behind the proxy, or correct the proxy; ${byItself}.`,
  },
  'http-503': {
    codes: rejected,
    cause: 'it is overloaded or under maintenance',
    remedy: `Wait, or look at the load of the provisioning server; ${byItself}.`,
  },
  'http-504': {
    codes: rejected,
    cause: 'the proxy in front of it gets no answer from it in time',
    remedy: `Look at the load of the provisioning server behind the proxy; ${byItself}.`,
  },
  'http-511': {
    codes: rejected,
    cause: 'the network asks for a login',
    remedy: 'Log in to the network’s portal, or let the device past it.',
  },
  'http-5xx': {
    codes: rejected,
    cause: 'it failed',
    remedy: `${serverLog}; ${byItself}.`,
  },
  'not-nats': {
    codes: [null, 'NATS_UNREACHABLE'],
    cause: 'no NATS server answers there',
    remedy: 'Correct the NATS address: something else than NATS answers there.',
  },
  'no-headers': {
    codes: [null, 'NATS_UNREACHABLE'],
    cause: 'it supports no message headers, which registration needs',
    remedy: 'Update the NATS server to 2.2 or newer, and leave message headers on.',
  },
  'nats-error': {
    codes: [null, 'NATS_UNREACHABLE'],
    cause: 'it refuses the connection or a message',
    remedy: 'Read what the NATS server says and its log: a limit of its configuration may be reached.',
  },
  'no-tls': {
    codes: [null, 'NATS_NOT_SECURE'],
    cause: 'it offers no TLS',
    remedy: 'Enable TLS on the NATS server. Only in a closed test network: set `nats.tls` to `optional`.',
  },
  'not-authorized': {
    codes: denied,
    cause: 'it does not let this device in',
    remedy: 'Add the device’s certificate subject to the users of the NATS server.',
  },
  'permission-denied': {
    codes: denied,
    cause: 'it denies this device a subject',
    remedy:
      'Grant the device’s certificate subject the named subject on the NATS server: publish device_actions.<id>.>, subscribe device_results.<id>.>.',
  },
} as const satisfies Record<string, ReasonEntry>;

/** Why a code came about: finer than the code, the same in the log, `status`, `check` and `explain`. */
export type Reason = keyof typeof entries;

export const reasons: Readonly<Record<Reason, ReasonEntry>> = entries;

export function isReason(value: unknown): value is Reason {
  return typeof value === 'string' && Object.hasOwn(entries, value);
}

/** @returns null where the reason cannot come about with this server */
export function codeOf(reason: Reason, server: Server): ErrorCode | null {
  const [provisioning, nats] = reasons[reason].codes;
  return server === 'provisioning' ? provisioning : nats;
}

/** What to do about a failure: what its reason advises for the server that the code is of, else what its code advises. */
export function remedyOf(code: ErrorCode, reason: Reason | null): string {
  if (reason === null) return catalogue[code].remedy;
  const { remedy, codes } = reasons[reason];
  if (!codes.includes(code)) return catalogue[code].remedy;
  if (typeof remedy === 'string') return remedy;
  return remedy[code.startsWith('NATS_') ? 1 : 0];
}

const httpReasons: ReadonlySet<string> = new Set(
  Object.keys(entries).filter((name) => /^http-\d/.test(name)),
);

/** What an HTTP status says; null for one that announces an answer (2xx), or means nothing to HTTP. */
export function reasonOfStatus(status: number): Reason | null {
  if (status >= 300 && status < 400) return 'redirected';
  if (status < 400 || status >= 600) return null;
  const exact = `http-${status}`;
  if (httpReasons.has(exact)) return exact as Reason;
  return status < 500 ? 'http-4xx' : 'http-5xx';
}
