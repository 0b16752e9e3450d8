/**
 * The one catalogue of error codes. Logs, `status`, `check` and the documentation take class, cause and remedy from here.
 *
 * `transient`: the step backs off and tries again by itself.
 * `permanent`: an operator has to act; the device waits in `failed` for `retry.failedAfterMs`, then starts over.
 */
export type ErrorClass = 'transient' | 'permanent';

export interface CatalogueEntry {
  readonly class: ErrorClass;
  readonly cause: string;
  readonly remedy: string;
  /** Setting the device's clock may fix it: a clock step ends the wait at once. */
  readonly clockSensitive?: true;
}

const entries = {
  CONFIG_INVALID: {
    class: 'permanent',
    cause: 'The configuration has an unknown key, a wrong type or a value out of range.',
    remedy: 'Correct the named key in the configuration file, the environment or the command line.',
  },
  STATE_UNWRITABLE: {
    class: 'transient',
    cause: 'The state directory, or a file that is exported, cannot be read or written.',
    remedy:
      "Check that the named path exists and that the service's user can write it; a folder outside the state directory needs ReadWritePaths= in a drop-in ('systemctl edit onboardd').",
  },
  STATE_CORRUPT: {
    class: 'permanent',
    cause: 'A file of the state directory is damaged, or was written by a newer version.',
    remedy:
      'Restore the named file from a backup or install the newer version; if the identity may be lost, run `onboardd reset`.',
  },
  STATE_LOCKED: {
    class: 'permanent',
    cause: 'Another onboardd uses the same state directory.',
    remedy: 'Stop the other one, or give this one its own state directory with --state-dir.',
  },
  STATE_CLONED: {
    class: 'permanent',
    cause: 'The state directory was copied from another device.',
    remedy: 'Run `onboardd reset` on this device: it then gets an identity of its own.',
  },
  CLOCK_WRONG: {
    class: 'transient',
    clockSensitive: true,
    cause:
      "The device's clock is before the build date or the start of its own certificate, or differs from the server's clock.",
    remedy: 'Set the clock (NTP, or `date -s`); onboardd continues within seconds.',
  },
  PROVISIONING_UNREACHABLE: {
    class: 'transient',
    cause: 'No connection to the provisioning server: host name not found, no route, refused, or closed.',
    remedy: 'Check the network, the name resolution and `provisioning.url`.',
  },
  PROVISIONING_TIMEOUT: {
    class: 'transient',
    cause: 'The provisioning server did not answer within `provisioning.timeoutMs`.',
    remedy: 'Check the network and the load of the server; raise `provisioning.timeoutMs` on a slow link.',
  },
  PROVISIONING_TLS: {
    class: 'transient',
    clockSensitive: true,
    cause: "The provisioning server's TLS certificate is not trusted, expired, or for another host.",
    remedy: "Check `provisioning.caFile`, the server's certificate, and the device's clock.",
  },
  PROVISIONING_REJECTED: {
    class: 'permanent',
    cause: 'The provisioning server answered with an HTTP error (transient for 408, 425, 429 and 5xx).',
    remedy: 'Look up the HTTP status in the message: `onboardd explain http-404`, for example.',
  },
  PROVISIONING_ANSWER_INVALID: {
    class: 'transient',
    cause:
      'The answer is not a provisioning answer: it is malformed or incomplete, or another server sent it.',
    remedy:
      "Check that no portal or proxy answers in place of the provisioning server; if none does, fix the named part of the server's answer.",
  },
  CERTIFICATE_KEY_MISMATCH: {
    class: 'permanent',
    cause: "The issued certificate is not for this device's key.",
    remedy: "Check the provisioning server: it answered with another device's certificate.",
  },
  CERTIFICATE_UNTRUSTED: {
    class: 'permanent',
    cause:
      'The certificate does not chain to the CA certificate in the same answer, or to a CA that is allowed.',
    remedy: 'Check the CA and the intermediate certificates that the provisioning server sends.',
  },
  CERTIFICATE_EXPIRED: {
    class: 'permanent',
    clockSensitive: true,
    cause: 'The certificate, or one of its chain, has expired, and the clocks agree.',
    remedy: "Check the provisioning server's CA: it issues expired certificates.",
  },
  CERTIFICATE_NOT_YET_VALID: {
    class: 'permanent',
    clockSensitive: true,
    cause: 'The certificate, or one of its chain, is not yet valid, and the clocks agree.',
    remedy: 'Set the clock of the CA behind the provisioning server.',
  },
  CERTIFICATE_WRONG_DEVICE: {
    class: 'permanent',
    cause: 'The certificate is not a client certificate for this device.',
    remedy: 'Correct the subject and the extended key usage that the provisioning server issues.',
  },
  NATS_UNREACHABLE: {
    class: 'transient',
    cause:
      'No connection to the NATS server: host name not found, no route, refused, closed, or not a NATS server with message headers.',
    remedy: 'Check the network, the firewall, and the NATS address that `onboardd status` shows.',
  },
  NATS_TLS: {
    class: 'transient',
    clockSensitive: true,
    cause: "TLS with the NATS server failed: its certificate is not trusted, or it refuses this device's.",
    remedy:
      "Check that the NATS server's certificate and its client CA come from the fleet's CA and are valid.",
  },
  NATS_NOT_SECURE: {
    class: 'permanent',
    cause: 'The NATS server does not offer TLS, and `nats.tls` is `required`.',
    remedy: 'Enable TLS on the NATS server. Only in a closed test network: set `nats.tls` to `optional`.',
  },
  NATS_DENIED: {
    class: 'transient',
    cause: 'The NATS server does not authorize this device, or denies it a subject.',
    remedy:
      "Grant the device's certificate subject its rights: publish device_actions.<id>.>, subscribe device_results.<id>.>.",
  },
  REGISTRATION_TIMEOUT: {
    class: 'transient',
    cause: 'The fleet manager did not answer within `registration.timeoutMs`, or nothing listens.',
    remedy: 'Check that the fleet manager runs and that the streams exist.',
  },
  REGISTRATION_REJECTED: {
    class: 'permanent',
    cause: 'The fleet manager rejected the device.',
    remedy: "Resolve the fleet manager's error in the message; its log may say more.",
  },
  REGISTRATION_ANSWER_INVALID: {
    class: 'transient',
    cause: "The fleet manager's answer is not a registration result.",
    remedy: "Check the fleet manager's version and `registration.api`.",
  },
  INTERNAL: {
    class: 'transient',
    cause: 'A bug of onboardd itself. The device keeps trying.',
    remedy:
      'Report it with the log of the last hour and the version (`onboardd --version`); the identity is not at fault.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof entries;

export const catalogue: Readonly<Record<ErrorCode, CatalogueEntry>> = entries;
