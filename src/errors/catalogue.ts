/**
 * The one catalogue of error codes. Logs, `status`, `check` and the documentation take class, cause and remedy from here.
 *
 * `transient`: trying again by itself may help, so the step backs off and tries again.
 * `permanent`: somebody has to change something; the device rests in `failed` for `retry.failedAfterMs` first.
 */
export type ErrorClass = 'transient' | 'permanent';

export interface CatalogueEntry {
  readonly class: ErrorClass;
  readonly cause: string;
  readonly remedy: string;
  /** Setting the device's clock may cure it: a clock step ends the wait at once. */
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
      'Free space on the disk, and check that the state directory is writable by the service’s user; a folder outside it that `exports` names must stand in `ReadWritePaths=` of a drop-in (`systemctl edit onboardd`).',
  },
  STATE_CORRUPT: {
    class: 'permanent',
    cause: 'A file of the state directory is damaged, or was written by a newer version.',
    remedy:
      'Restore the named file from a backup or install the newer version; if the identity may be lost, run `onboardd reset`.',
  },
  STATE_LOCKED: {
    class: 'permanent',
    cause: 'Another onboardd runs on the same state directory.',
    remedy: 'Stop the other one, or give this one a state directory of its own with --state-dir.',
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
      'The device’s clock lies before the build, before its own certificate, or disagrees with the server’s.',
    remedy: 'Set the clock (NTP, or `date -s`); onboardd goes on within seconds of it.',
  },
  PROVISIONING_UNREACHABLE: {
    class: 'transient',
    cause: 'No connection to the provisioning server: name not found, no route, refused, or cut off.',
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
    cause: 'The provisioning server’s TLS certificate is not trusted, expired, or for another host.',
    remedy: 'Check `provisioning.caFile`, the server’s certificate, and the device’s clock.',
  },
  PROVISIONING_REJECTED: {
    class: 'permanent',
    cause: 'The provisioning server answered with an HTTP error (transient for 408, 425, 429 and 5xx).',
    remedy:
      'Read the status: 401 and 403 ask for `provisioning.tokenFile`, 404 for another URL; 400, 409 and 422 are explained in the server’s log; 408, 429 and 5xx pass, or are in its log too.',
  },
  PROVISIONING_ANSWER_INVALID: {
    class: 'transient',
    cause: 'The answer is no provisioning answer: a captive portal, a redirect, truncated or missing fields.',
    remedy:
      'Check that `provisioning.url` reaches the provisioning server itself and no portal or proxy; where it does, the named part of its answer is at fault: see its log.',
  },
  CERTIFICATE_KEY_MISMATCH: {
    class: 'permanent',
    cause: 'The certificate that was issued is not for this device’s key.',
    remedy: 'Check the provisioning server: it answered with another device’s certificate.',
  },
  CERTIFICATE_UNTRUSTED: {
    class: 'permanent',
    cause: 'The certificate does not chain to the CA that came with it.',
    remedy: 'Check the CA and the intermediate certificates that the provisioning server sends.',
  },
  CERTIFICATE_EXPIRED: {
    class: 'permanent',
    clockSensitive: true,
    cause: 'The certificate, or one of its chain, has expired, and the clocks agree.',
    remedy: 'Check the provisioning server’s CA: it issues certificates that are expired.',
  },
  CERTIFICATE_NOT_YET_VALID: {
    class: 'permanent',
    clockSensitive: true,
    cause: 'The certificate, or one of its chain, starts in the future, and the clocks agree.',
    remedy: 'Check the clock of the CA behind the provisioning server.',
  },
  CERTIFICATE_WRONG_DEVICE: {
    class: 'permanent',
    cause: 'The certificate is no client certificate of this device.',
    remedy: 'Check the subject and the extended key usage that the provisioning server issues.',
  },
  NATS_UNREACHABLE: {
    class: 'transient',
    cause:
      'No connection to the NATS server: name not found, no route, refused, cut off, or no NATS server there that supports headers.',
    remedy: 'Check the network, the firewall, and the NATS address that `onboardd status` shows.',
  },
  NATS_TLS: {
    class: 'transient',
    clockSensitive: true,
    cause: 'TLS with the NATS server failed: its certificate is not trusted, or it refused this device’s.',
    remedy:
      'Check that the NATS server’s certificate and its client CA come from the fleet’s CA and are valid.',
  },
  NATS_NOT_SECURE: {
    class: 'permanent',
    cause: 'The NATS server offers no TLS, and `nats.tls` is `required`.',
    remedy: 'Enable TLS on the NATS server. Only in a closed test network: set `nats.tls` to `optional`.',
  },
  NATS_DENIED: {
    class: 'transient',
    cause: 'The NATS server does not let this device in, or denies it a subject.',
    remedy:
      'Grant the device’s certificate subject its rights: publish device_actions.<id>.>, subscribe device_results.<id>.>.',
  },
  REGISTRATION_TIMEOUT: {
    class: 'transient',
    cause: 'The fleet manager did not answer within `registration.timeoutMs`, or nobody listens.',
    remedy: 'Check that the fleet manager runs and that the streams exist.',
  },
  REGISTRATION_REJECTED: {
    class: 'permanent',
    cause: 'The fleet manager refused the device.',
    remedy:
      'Read the fleet manager’s error. “already registered”: another device has this id; remove it there, or reset here.',
  },
  REGISTRATION_ANSWER_INVALID: {
    class: 'transient',
    cause: 'The fleet manager’s answer is no registration result.',
    remedy: 'Check the fleet manager’s version and `registration.api`.',
  },
  INTERNAL: {
    class: 'transient',
    cause: 'A bug of onboardd itself: something happened that it does not foresee. It goes on trying.',
    remedy:
      'Report it with the log of the last hour and the version (`onboardd --version`); the identity is not at fault.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof entries;

export const catalogue: Readonly<Record<ErrorCode, CatalogueEntry>> = entries;
