/** What the fleet can be told to do wrong, until it is told to recover. */
export const faults = {
  'provisioning-503': {
    label: 'Answer 503',
    meaning: 'The provisioning server answers 503 Service Unavailable.',
    device: 'keeps trying with growing waits: PROVISIONING_REJECTED, http-503.',
  },
  'expired-certificate': {
    label: 'Issue expired certificates',
    meaning: 'The CA issues certificates that expired a minute ago.',
    device: 'refuses the certificate, CERTIFICATE_EXPIRED, and tries again after retry.failedAfterMs.',
  },
  'stall-nats': {
    label: 'Stall NATS',
    meaning: 'nats-server is stopped (SIGSTOP): connections stay open, nothing is answered.',
    device: 'times out and keeps trying: NATS_UNREACHABLE or REGISTRATION_TIMEOUT.',
  },
  'ignore-registrations': {
    label: 'Lose registrations',
    meaning: 'The fleet manager loses requests: it registers nothing and answers nothing.',
    device: 'asks again after registration.timeoutMs: REGISTRATION_TIMEOUT.',
  },
} as const;

export type Fault = keyof typeof faults;

export function isFault(name: unknown): name is Fault {
  return typeof name === 'string' && Object.hasOwn(faults, name);
}
