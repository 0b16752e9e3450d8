import type { ErrorCode } from './catalogue.ts';
import { describe } from './onboardingError.ts';

/** What `onboardd check` tells apart, finer than the error codes. */
export interface NetworkProblem {
  readonly problem: Problem;
  /** One line: what was seen, and where */
  readonly detail: string;
}

interface Entry {
  /** The code that the daemon logs for it: of the provisioning server, and of the NATS server */
  readonly codes: readonly [ErrorCode, ErrorCode];
  readonly remedy: string;
  /** Where another one is due with the NATS server */
  readonly natsRemedy?: string;
}

const unreachable = ['PROVISIONING_UNREACHABLE', 'NATS_UNREACHABLE'] as const;
const tls = ['PROVISIONING_TLS', 'NATS_TLS'] as const;
const rejected = ['PROVISIONING_REJECTED', 'NATS_DENIED'] as const;
const invalid = ['PROVISIONING_ANSWER_INVALID', 'NATS_UNREACHABLE'] as const;

const entries = {
  'name-unknown': {
    codes: unreachable,
    remedy: 'Correct the host name in the configuration, or add it to the DNS of this network.',
  },
  'resolver-silent': {
    codes: unreachable,
    remedy: 'Check the network cable or Wi-Fi, and the DNS server in /etc/resolv.conf.',
  },
  'no-route': {
    codes: unreachable,
    remedy: 'Check the device’s address, its default route (`ip route`) and the cable or Wi-Fi.',
  },
  refused: {
    codes: unreachable,
    remedy: 'Start the server, or correct the port: the host is up and nothing listens there.',
  },
  silent: {
    codes: ['PROVISIONING_TIMEOUT', 'NATS_UNREACHABLE'],
    remedy: 'Look for a firewall that drops packets, a wrong address, or a server that hangs.',
  },
  cut: {
    codes: unreachable,
    remedy: 'Look at the server’s log, and for a firewall or proxy that cuts connections.',
  },
  'not-http': {
    codes: invalid,
    remedy: 'Correct `provisioning.url`: something else than HTTP answers there.',
  },
  'not-nats': { codes: invalid, remedy: 'Correct the NATS address: something else than NATS answers there.' },
  'tls-untrusted': {
    codes: tls,
    remedy:
      'Trust the named issuer (`provisioning.caFile`), or give the server a certificate of the trusted CA.',
    natsRemedy:
      'Give the NATS server a certificate of the fleet’s CA, the one that provisioning answers (identity_ca.crt).',
  },
  'tls-expired': {
    codes: tls,
    remedy: 'Renew the server’s certificate; where the dates are fine, set this clock.',
  },
  'tls-early': {
    codes: tls,
    remedy: 'Set this device’s clock; where it is right, mend the clock of the server’s CA.',
  },
  'tls-host': {
    codes: tls,
    remedy: 'Use a host name that the server’s certificate names, or add this one to the certificate.',
  },
  'tls-refused-us': {
    codes: tls,
    remedy: 'Let the server trust the CA of this device’s certificate; `onboardd check` shows its dates.',
  },
  'tls-failed': {
    codes: tls,
    remedy: 'Check that the address and port speak TLS, with a version of 1.2 or newer.',
  },
  'http-denied': {
    codes: rejected,
    remedy: 'Give the device a valid `provisioning.tokenFile`, or let it in at the server.',
  },
  'http-busy': {
    codes: rejected,
    remedy: 'Look at the provisioning server’s log; the device tries again by itself.',
  },
  'http-redirect': {
    codes: invalid,
    remedy: 'Set `provisioning.url` to the address that the server itself has.',
  },
  portal: {
    codes: invalid,
    remedy: 'Log in to the network’s portal, or correct `provisioning.url`: a web page answers there.',
  },
  'not-secure': {
    codes: ['PROVISIONING_TLS', 'NATS_NOT_SECURE'],
    remedy: 'Enable TLS on the NATS server. Only in a closed test network: set `nats.tls` to `optional`.',
  },
  'not-let-in': {
    codes: rejected,
    remedy: 'Add the device’s certificate subject to the users of the NATS server.',
  },
  permission: {
    codes: rejected,
    remedy: 'Grant the device’s certificate subject the named subject on the NATS server.',
  },
} as const satisfies Record<string, Entry>;

export type Problem = keyof typeof entries;

export const problems: Readonly<Record<Problem, Entry>> = entries;

const byCode: Readonly<Record<string, Problem>> = {
  ENOTFOUND: 'name-unknown',
  EAI_NONAME: 'name-unknown',
  EAI_NODATA: 'name-unknown',
  EAI_AGAIN: 'resolver-silent',
  EAI_FAIL: 'resolver-silent',
  ENETUNREACH: 'no-route',
  EHOSTUNREACH: 'no-route',
  ENETDOWN: 'no-route',
  EADDRNOTAVAIL: 'no-route',
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'silent',
  ABORT_ERR: 'silent',
  ECONNRESET: 'cut',
  EPIPE: 'cut',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'tls-untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'tls-untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'tls-untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'tls-untrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'tls-untrusted',
  CERT_SIGNATURE_FAILURE: 'tls-untrusted',
  CERT_UNTRUSTED: 'tls-untrusted',
  CERT_HAS_EXPIRED: 'tls-expired',
  CERT_NOT_YET_VALID: 'tls-early',
  ERR_TLS_CERT_ALTNAME_INVALID: 'tls-host',
};

const words: Readonly<Partial<Record<Problem, string>>> = {
  'name-unknown': 'the name does not exist',
  'resolver-silent': 'no DNS server answered',
  'no-route': 'no route to it',
  refused: 'it refused the connection',
  silent: 'it did not answer in time',
  cut: 'it cut the connection',
  'tls-untrusted': 'its certificate is not of a trusted CA',
  'tls-expired': 'its certificate has expired',
  'tls-early': 'its certificate is not valid yet',
  'tls-host': 'its certificate is for another host',
};

/** Reads an error of a socket, a resolver or TLS. @param where the host and port that were asked */
export function classifyNetworkError(error: unknown, where: string): NetworkProblem {
  const { code = '', name = '' } = (error ?? {}) as NodeJS.ErrnoException;
  const problem: Problem =
    byCode[code] ??
    (name === 'AbortError' || name === 'TimeoutError'
      ? 'silent'
      : code.startsWith('HPE_')
        ? 'not-http'
        : /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|EPROTO|INVALID_)/.test(code)
          ? 'tls-failed'
          : 'cut');
  return { problem, detail: `${where}: ${words[problem] ?? describe(error)}` };
}
