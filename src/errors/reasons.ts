import { catalogue, type ErrorCode } from './catalogue.ts';

/** The two servers that a device talks to. A reason may have a different code and remedy with each. */
export type Server = 'provisioning' | 'nats';

export interface ReasonEntry {
  /**
   * The error code with the provisioning server and with the NATS server; null: it cannot happen there. Reasons of the
   * disk have one code, the first.
   */
  readonly codes: readonly [ErrorCode | null, ErrorCode | null];
  /** What was observed, to follow the server's name: "the NATS server 10.0.0.7:4222: connection refused" */
  readonly cause: string;
  /** One for both, or one for the provisioning server and one for the NATS server */
  readonly remedy: string | readonly [string, string];
}

const unreachable = ['PROVISIONING_UNREACHABLE', 'NATS_UNREACHABLE'] as const;
const tls = ['PROVISIONING_TLS', 'NATS_TLS'] as const;
const rejected = ['PROVISIONING_REJECTED', null] as const;
const answerInvalid = ['PROVISIONING_ANSWER_INVALID', null] as const;
const denied = [null, 'NATS_DENIED'] as const;
const disk = ['STATE_UNWRITABLE', null] as const;
const damaged = ['STATE_CORRUPT', null] as const;
const rejectedByFleet = [null, 'REGISTRATION_REJECTED'] as const;
const letIn =
  'Set `provisioning.tokenFile` to a file with a valid token, or allow this device on the provisioning server.';
const serverLog = 'Read the log of the provisioning server';
const byItself = 'the device tries again by itself';

const entries = {
  dns: {
    codes: unreachable,
    cause: 'host name not found',
    remedy: 'Correct the host name in the configuration, or add it to the DNS of this network.',
  },
  'dns-timeout': {
    codes: unreachable,
    cause: 'no usable answer from a DNS server',
    remedy:
      'Check the network cable or Wi-Fi, and the DNS server in /etc/resolv.conf: it is not reached, or cannot look the name up itself (SERVFAIL).',
  },
  refused: {
    codes: unreachable,
    cause: 'connection refused',
    remedy: 'Start the server, or correct the port: the host is up, but nothing listens on this port.',
  },
  'no-route': {
    codes: unreachable,
    cause: 'no route to host',
    remedy: "Check the device's IP address, its default route (`ip route`) and the cable or Wi-Fi.",
  },
  blocked: {
    codes: unreachable,
    cause: 'connection blocked on this device',
    remedy:
      "Allow the connection in the device's own firewall, and in `IPAddressDeny=` of the service's unit.",
  },
  'out-of-resources': {
    codes: unreachable,
    cause: 'this device is out of memory or file descriptors',
    remedy: 'Find the program on this device that uses up memory, open files or sockets.',
  },
  timeout: {
    codes: ['PROVISIONING_TIMEOUT', 'NATS_UNREACHABLE'],
    cause: 'no answer in time',
    remedy: [
      'Look for a firewall that drops packets, a wrong address, or a server that hangs; raise `provisioning.timeoutMs` on a slow link.',
      'Look for a firewall that drops packets, a wrong address, or a server that hangs.',
    ],
  },
  reset: {
    codes: unreachable,
    cause: 'connection closed unexpectedly',
    remedy: [
      "Read the server's log, check whether `provisioning.url` needs `https:`, and look for a firewall or proxy that cuts connections.",
      "Read the server's log, and look for a firewall or proxy that cuts connections.",
    ],
  },
  'connection-failed': {
    codes: unreachable,
    cause: 'connection failed',
    remedy: 'Look up the named system error (`man errno`), and check the network of this device.',
  },
  'tls-untrusted': {
    codes: tls,
    cause: 'the server certificate is not signed by a trusted CA',
    remedy: [
      'Set `provisioning.caFile` to the CA of the server certificate, or give the server a certificate of the trusted CA.',
      "Give the NATS server a certificate of the fleet's CA (identity_ca.crt, as provisioning answers it).",
    ],
  },
  'tls-expired': {
    codes: tls,
    cause: 'the server certificate has expired',
    remedy: "Renew the server certificate; if its dates are right, set this device's clock.",
  },
  'tls-not-yet-valid': {
    codes: tls,
    cause: 'the server certificate is not yet valid',
    remedy: "Set this device's clock; if it is right, correct the clock of the server's CA.",
  },
  'tls-wrong-host': {
    codes: tls,
    cause: 'the server certificate is for another host',
    remedy: 'Use a host name that the server certificate names, or add this one to the certificate.',
  },
  'tls-wrong-purpose': {
    codes: tls,
    cause: 'the server certificate is not for TLS servers',
    remedy: 'Give the server a certificate whose extended key usage includes `serverAuth`.',
  },
  'tls-failed': {
    codes: tls,
    cause: 'the TLS handshake failed',
    remedy:
      "Check that the server supports TLS 1.2 or newer, with keys and signatures that are still accepted; read the server's log.",
  },
  'not-tls': {
    codes: tls,
    cause: 'the server sends something other than TLS, possibly a man in the middle',
    remedy:
      'Correct the address or port, or turn on TLS there; if both are right, look for a proxy or an attacker on the path.',
  },
  'client-certificate-refused': {
    codes: tls,
    cause: 'the server refuses the device certificate',
    remedy: [
      "Configure the server to accept devices without a certificate, or to trust the CA of the device's certificate.",
      "Configure the server to trust the CA of the device's certificate; check its dates with `onboardd check`.",
    ],
  },
  'provisioning-off': {
    codes: ['CONFIG_INVALID', null],
    cause: 'the settings of the earlier agent do not allow certificate requests',
    remedy:
      "Set AUTOMATIC_PROVISIONING=true in the file of `--env-file`, or put the device's key, certificate and CA where that file says.",
  },
  'agent-identity': {
    codes: ['CONFIG_INVALID', 'STATE_CORRUPT'],
    cause: "the identity that an earlier agent left is contradictory, or differs from this device's",
    remedy:
      'Decide which identity the device has: set `identity.deviceId`, move the other files away, or run `onboardd reset` (docs/migrating.md).',
  },
  'agent-key': {
    codes: ['STATE_CORRUPT', null],
    cause: 'the key that an earlier agent left is encrypted, no PEM, too short or of an unknown kind',
    remedy:
      'Make it a plain PEM of RSA, P-256 or P-384 (`openssl pkey -in OLD -out NEW`), or move it away: the device then gets a new key under its id (docs/migrating.md).',
  },
  'agent-unreadable': {
    codes: ['STATE_UNWRITABLE', null],
    cause: 'a file of the earlier agent cannot be read',
    remedy: "Let the service's user read the named file and the folders above it (docs/migrating.md).",
  },
  'credentials-unusable': {
    codes: tls,
    cause: 'a local certificate or key cannot be read',
    remedy: [
      'Check that `provisioning.caFile` holds PEM certificates.',
      "Run `onboardd check`: the device's own key, certificate or CA is damaged.",
    ],
  },
  'not-http': {
    codes: answerInvalid,
    cause: 'the answer is not HTTP',
    remedy: 'Correct the host and port of `provisioning.url`: another service listens there.',
  },
  redirected: {
    codes: answerInvalid,
    cause: 'the server redirects, which is not followed',
    remedy:
      'Log in to the captive portal if this network has one; otherwise set `provisioning.url` to an address at which the provisioning server answers without a redirect.',
  },
  'captive-portal': {
    codes: answerInvalid,
    cause: 'a web page answers, probably a captive portal',
    remedy:
      'Log in to the captive portal of this network, or let the device past it; without a portal, correct `provisioning.url`.',
  },
  'proxy-unreachable': {
    codes: unreachable,
    cause: 'the proxy refuses the connection',
    remedy: [
      'Correct the address of the proxy in `provisioning.proxy` (or HTTP_PROXY, HTTPS_PROXY), or start the proxy.',
      'Correct the address of the proxy in `nats.proxy`, or start the proxy.',
    ],
  },
  'proxy-refused': {
    codes: unreachable,
    cause: 'the proxy does not open the connection',
    remedy: [
      'Correct `provisioning.proxy` (or HTTPS_PROXY, NO_PROXY) and its login, or let the device past the proxy.',
      'Correct `nats.proxy` and its login, or let the proxy open connections to the port of NATS.',
    ],
  },
  'not-discovered': {
    codes: ['PROVISIONING_UNREACHABLE', null],
    cause: 'no provisioning server announces itself on this network',
    remedy:
      'Check that the server announces `_provisioning._tcp` and that multicast reaches this device, or set `provisioning.url`.',
  },
  'token-unusable': {
    codes: rejected,
    cause: 'the token file cannot be used',
    remedy: 'Set `provisioning.tokenFile` to a file that the service can read and that holds only the token.',
  },
  'http-202': {
    codes: rejected,
    cause: 'the server accepted the request and has not issued the certificate yet',
    remedy: `Wait, or approve the device at the provisioning server; ${byItself}, no sooner than the server asks.`,
  },
  'http-400': {
    codes: rejected,
    cause: 'the server considers the request malformed',
    remedy: `Correct what the server names, often \`provisioning.swarmId\` or \`identity.commonName\`; its log may say more.`,
  },
  'http-401': { codes: rejected, cause: 'the server requires a token', remedy: letIn },
  'http-403': { codes: rejected, cause: 'the server refuses this device', remedy: letIn },
  'http-404': {
    codes: rejected,
    cause: 'the server has nothing at this URL',
    remedy:
      'Correct `provisioning.url`: the server that answers does not serve provisioning at `<URL>/api/devices/provision`.',
  },
  'http-405': {
    codes: rejected,
    cause: 'the server does not accept POST at this URL',
    remedy: 'Correct the path of `provisioning.url`: the server that answers accepts no POST there.',
  },
  'http-407': {
    codes: rejected,
    cause: 'a proxy requires authentication',
    remedy:
      'Correct the login in `provisioning.proxy` (or HTTP_PROXY, HTTPS_PROXY), or let the device past the proxy.',
  },
  'http-408': {
    codes: rejected,
    cause: 'the server waited too long for the request',
    remedy: `Check the speed of the network; ${byItself}.`,
  },
  'http-409': {
    codes: rejected,
    cause: 'the server already knows a device with this id',
    remedy: 'Remove the other device with this id from the fleet, or run `onboardd reset` on this one.',
  },
  'http-413': {
    codes: rejected,
    cause: 'the request is too large for the server',
    remedy: 'Raise the limit of the server, or of the proxy in front of it, to 16 KiB for a request.',
  },
  'http-415': {
    codes: rejected,
    cause: 'the server does not accept JSON',
    remedy: 'Correct the host of `provisioning.url`: the server that answers does not accept JSON.',
  },
  'http-422': {
    codes: rejected,
    cause: 'the server rejects the content of the request',
    remedy: `${serverLog}; check \`identity.commonName\`, \`identity.keyType\` and the device id.`,
  },
  'http-425': {
    codes: rejected,
    cause: 'the server is not ready for the request',
    remedy: `Wait: ${byItself}.`,
  },
  'http-429': {
    codes: rejected,
    cause: 'the server limits the rate of requests',
    remedy: `Wait: ${byItself}, no sooner than the server asks; raise the server's limit if many devices start at once.`,
  },
  'http-4xx': {
    codes: rejected,
    cause: 'the server rejects the request',
    remedy: `${serverLog}, and look up the HTTP status.`,
  },
  'http-500': {
    codes: rejected,
    cause: 'the server has an internal error',
    remedy: `${serverLog} and fix the error there; ${byItself}.`,
  },
  'http-502': {
    codes: rejected,
    cause: 'a proxy gets no valid answer from the server',
    remedy: `Start the provisioning server behind the proxy, or correct the proxy; ${byItself}.`,
  },
  'http-503': {
    codes: rejected,
    cause: 'the server is overloaded or in maintenance',
    remedy: `Wait, or check the load of the provisioning server; ${byItself}.`,
  },
  'http-504': {
    codes: rejected,
    cause: 'a proxy gets no answer from the server in time',
    remedy: `Check the load of the provisioning server behind the proxy; ${byItself}.`,
  },
  'http-511': {
    codes: rejected,
    cause: 'the network requires a login',
    remedy: 'Log in to the captive portal of this network, or let the device past it.',
  },
  'http-5xx': {
    codes: rejected,
    cause: 'the server failed',
    remedy: `${serverLog}; ${byItself}.`,
  },
  'not-nats': {
    codes: [null, 'NATS_UNREACHABLE'],
    cause: 'the answer is not from a NATS server',
    remedy: 'Correct the NATS address: another service listens there.',
  },
  'no-headers': {
    codes: [null, 'NATS_UNREACHABLE'],
    cause: 'the server does not support message headers',
    remedy: 'Update the NATS server to 2.2 or newer, and leave message headers on.',
  },
  'nats-error': {
    codes: [null, 'NATS_UNREACHABLE'],
    cause: 'the server reports an error',
    remedy: 'Read the error and the log of the NATS server: a limit of its configuration may be reached.',
  },
  'no-tls': {
    codes: [null, 'NATS_NOT_SECURE'],
    cause: 'the server does not offer TLS',
    remedy: 'Enable TLS on the NATS server. Only in a closed test network: set `nats.tls` to `optional`.',
  },
  'not-authorized': {
    codes: denied,
    cause: 'this device is not authorized',
    remedy: "Add the subject of the device's certificate to the users of the NATS server.",
  },
  'permission-denied': {
    codes: denied,
    cause: 'the server denies this device a subject',
    remedy:
      "Grant the device's certificate subject the named subject on the NATS server: publish device_actions.<id>.>, subscribe device_results.<id>.>. If it reads results only by a consumer, set registration.resultStream, or grant $JS.API.STREAM.NAMES.",
  },
  'already-registered': {
    codes: rejectedByFleet,
    cause: 'the fleet already has a device with this id',
    remedy: 'Remove the other device with this id from the fleet, or run `onboardd reset` on this one.',
  },
  'quota-exceeded': {
    codes: rejectedByFleet,
    cause: 'the fleet has reached its limit of devices',
    remedy: 'Raise the quota of the fleet, or remove devices from it that are no longer used.',
  },
  'disk-full': {
    codes: disk,
    cause: 'no space left on the disk',
    remedy: 'Free space (or inodes) on the disk of the named path.',
  },
  'read-only': {
    codes: disk,
    cause: 'the file system is read-only',
    remedy:
      "Mount the file system of the named path read-write, or add its folder to `ReadWritePaths=` of the service's unit; `dmesg` shows disk errors.",
  },
  'no-permission': {
    codes: disk,
    cause: 'permission denied',
    remedy:
      "Give the service's user write access to the named path and its folder, or configure another path.",
  },
  'group-refused': {
    codes: disk,
    cause: 'the service may not give a file to the group of the export',
    remedy:
      "Let the service be in that group, and see it: `SupplementaryGroups=` with its name, `PrivateUsers=no` and `SystemCallFilter=@chown` in a drop-in ('systemctl edit onboardd'); or leave `group` out of that item of `exports`.",
  },
  'wrong-owner': {
    codes: disk,
    cause: "the state does not belong to the service's user",
    remedy:
      "Give the state directory to the service's user: `chown -R onboardd: /var/lib/onboardd` (or the user and folder that are named), then restart the service.",
  },
  'no-such-path': {
    codes: disk,
    cause: 'a folder of the path does not exist',
    remedy: 'Create the folder of the named path, mount its disk, or correct the path.',
  },
  'disk-error': {
    codes: disk,
    cause: 'the disk reports an error',
    remedy: 'Read `dmesg` for errors of the disk, and replace the disk or the SD card.',
  },
  'seal-failed': {
    codes: disk,
    cause: 'systemd-creds cannot seal the key',
    remedy:
      'Run `systemd-creds setup` as root; `identity.seal` needs systemd 250, and a service that may use its keys (docs/hardware-keys.md).',
  },
  'unseal-failed': {
    codes: disk,
    cause: 'systemd-creds cannot open the sealed key at present',
    remedy:
      'Check that `systemd-creds` is installed and that its TPM answers (`systemd-creds has-tpm2`): the key is kept, and the device tries again by itself.',
  },
  'key-sealed': {
    codes: damaged,
    cause: 'the sealed key cannot be opened on this device',
    remedy:
      'As root, run `systemd-creds decrypt --name=identity.key identity.key -` in the state directory, and put back what it lacks: /var/lib/systemd/credential.secret or the TPM that sealed the key. Only if that is lost for good: `onboardd reset --keep-id` makes a new key.',
  },
  'token-module': {
    codes: disk,
    cause: 'the PKCS#11 module of the hardware key cannot be loaded',
    remedy:
      'Install the package onboardd-pkcs11 and the module of the token, and correct `module-path=` in `identity.keyType`.',
  },
  'token-missing': {
    codes: disk,
    cause: 'the token of the hardware key is not there, or has no user PIN yet',
    remedy:
      "Plug in the token, initialize it with a user PIN, or correct `token=` and `serial=` in `identity.keyType`; `pkcs11-tool --module FILE --list-token-slots` shows what is there. The service's user needs access to its device.",
  },
  'token-pin': {
    codes: disk,
    cause: 'the token refuses the PIN',
    remedy:
      'Correct `pin-source` or `pin-value` in `identity.keyType`, then `systemctl restart onboardd`; if the token has counted its tries, log in once yourself: `pkcs11-tool --module FILE --login --list-objects`.',
  },
  'token-engine': {
    codes: disk,
    cause: "OpenSSL's engine for PKCS#11 cannot be used",
    remedy:
      'Install libengine-pkcs11-openssl for OpenSSL 3, or name its pkcs11.so with `x-engine-path=` in `identity.keyType`.',
  },
  'token-failed': {
    codes: disk,
    cause: 'the token of the hardware key reports an error',
    remedy: 'Look up the named CKR_ code in the documentation of the token, and check its free space.',
  },
  'token-key-missing': {
    codes: damaged,
    cause: 'the token no longer holds the key of the certificate',
    remedy:
      'Put the token back that the device was onboarded with; if its key is lost, run `onboardd reset --keep-id`: the device then gets a new key.',
  },
} as const satisfies Record<string, ReasonEntry>;

/** Why an error occurred, finer than its code; the same in the log, `status`, `check`, `report` and `explain`. */
export type Reason = keyof typeof entries;

export const reasons: Readonly<Record<Reason, ReasonEntry>> = entries;

/** What is wrong on a device, for `status` and `check`. */
export interface Problem {
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  readonly message: string;
  readonly remedy: string;
}

export function problemFor(code: ErrorCode, reason: Reason | null, message: string): Problem {
  return { code, reason, message, remedy: remedyOf(code, reason) };
}

export function isReason(value: unknown): value is Reason {
  return typeof value === 'string' && Object.hasOwn(entries, value);
}

/** @returns null if the reason cannot occur with this server */
export function codeOf(reason: Reason, server: Server): ErrorCode | null {
  const [provisioning, nats] = reasons[reason].codes;
  return server === 'provisioning' ? provisioning : nats;
}

/** What to do about a failure: the remedy of its reason with the server of its code, else the remedy of its code. */
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

/** The reason of a disk error; null for other errors. @param error with the `code` of a system call (errno) */
export function reasonOfDiskError(error: unknown): Reason | null {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' && Object.hasOwn(byDiskCode, code) ? (byDiskCode[code] ?? null) : null;
}

const byDiskCode: Readonly<Record<string, Reason>> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'disk-full',
  EROFS: 'read-only',
  EACCES: 'no-permission',
  EPERM: 'no-permission',
  ENOENT: 'no-such-path',
  ENOTDIR: 'no-such-path',
  EIO: 'disk-error',
  EUCLEAN: 'disk-error',
};

/** The reason of an HTTP status; null for success (2xx) and for a number that HTTP does not define. */
export function reasonOfStatus(status: number): Reason | null {
  if (status >= 300 && status < 400) return 'redirected';
  if (status < 400 || status >= 600) return null;
  const exact = `http-${status}`;
  if (httpReasons.has(exact)) return exact as Reason;
  return status < 500 ? 'http-4xx' : 'http-5xx';
}
