import type { ErrorClass, ErrorCode } from '../errors/catalogue.ts';
import type { Reason } from '../errors/reasons.ts';
import type { RetryPolicy } from './backoff.ts';
import type { RequestPace } from './requestPace.ts';
import type { Lack, LeaveReason, Stage } from './stage.ts';
import type { Unopened } from './unopened.ts';
import type { Refusals, Verification } from './verification.ts';

/** What the disk says of where the device stands. */
export interface Resumed {
  readonly deviceId: string;
  /** The name that the fleet gave; null: none yet, or it gives none */
  readonly alias: string | null;
  readonly stage: Stage;
  /** Why the device is not registered; null: it is */
  readonly lack: Lack | null;
  /** Milliseconds since 1970; null without a certificate */
  readonly renewAt: number | null;
  readonly notAfter: number | null;
  /** The certificate has opened a connection to NATS. */
  readonly opened: boolean;
  /** NATS refused the certificate for good. */
  readonly refused: boolean;
  /** There is a renewed certificate that has not been tried yet. */
  readonly candidate: boolean;
  /** When NATS was last opened, milliseconds since 1970; null: not recorded */
  readonly verifiedAt: number | null;
}

/** What became of a certificate that NATS refuses for good. */
export interface GivenUp {
  /** When the certificate that was brought back expires, RFC 3339; null: there was none, and the registration is left */
  readonly rolledBackTo: string | null;
}

/** A certificate that took the place of one that still lived, or may do so. RFC 3339. */
export interface Renewed {
  /** Serial number, upper-case hex */
  readonly serial: string;
  readonly notAfter: string;
  readonly renewAt: string;
  /** The certificate has opened a connection to NATS. */
  readonly opened: boolean;
  /** Why the NATS address that came with it is not taken; absent: it is, or there was none */
  readonly addressRefused?: { readonly code: ErrorCode; readonly cause: string };
}

/** What a request for a certificate brought. */
export interface Issued extends Renewed {
  /** Null: it is kept. Otherwise it is kept only once it has opened the NATS server that came with it. */
  readonly candidate: object | null;
  /** The certificate at hand lives: none was requested. */
  readonly atHand?: true;
}

/** What the machine needs of the configuration. Times in milliseconds. */
export interface Policy {
  readonly retry: RetryPolicy & { readonly failedAfterMs: number };
  readonly provisioningTimeoutMs: number;
  readonly registrationTimeoutMs: number;
  /** Connecting to NATS: name resolution, TCP, TLS and the NATS handshake of every address of the cluster. */
  readonly connectTimeoutMs: number;
  /** NATS is only spoken to over TLS, so a refusal is the fleet's. */
  readonly refusalsCount: boolean;
}

/** What failed, as the log names it: a state, or `renewing` or `verifying` in the state `registered`. */
export type Step =
  | 'idle'
  | 'keygen'
  | 'csr'
  | 'provisioned'
  | 'registering'
  | 'registered'
  | 'renewing'
  | 'verifying';

/** The last failure, as `status` shows it. */
export interface Failure {
  readonly step: Step;
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  readonly class: ErrorClass;
  readonly message: string;
  /** Milliseconds since 1970 */
  readonly at: number;
}

export interface Context {
  /** Null until the facts on disk were read */
  readonly deviceId: string | null;
  /** The name that the fleet gave; null: none yet, or it gives none */
  readonly alias: string | null;
  /** The step under way; a failure of a renewal is recorded as `renewing` all the same. */
  readonly step: Step;
  /** Of the current step, from 1 */
  readonly attempt: number;
  readonly failure: Failure | null;
  readonly delayMs: number;
  /** Milliseconds since 1970; null while nothing waits */
  readonly nextRetryAt: number | null;
  /** When the certificate is due, milliseconds since 1970 */
  readonly renewAt: number | null;
  /** When it expires, milliseconds since 1970: no wait in `registered` is longer. */
  readonly notAfter: number | null;
  readonly verification: Verification;
  /** Of the renewed certificate that is tried */
  readonly trial: Refusals;
  /** A certificate that is kept only once it has opened NATS */
  readonly candidate: Issued | null;
  readonly pace: RequestPace;
  readonly unopened: Unopened;
}

/** What one attempt to register reports while it is under way. */
export type RegisterEvent =
  | { readonly type: 'CONNECTED' }
  | { readonly type: 'PUBLISHED' }
  | { readonly type: 'ANSWERED'; readonly alias: string | null }
  /** The certificate has expired: nothing can be requested with it. */
  | { readonly type: 'EXPIRED' }
  | { readonly type: 'FAILED'; readonly error: unknown };

export type OnboardingEvent = RegisterEvent | { readonly type: 'CLOCK_STEPPED' };

/** An actor is done; the chart invokes it with its name as id. */
interface Done<Actor extends string, Output> {
  readonly type: `xstate.done.actor.${Actor}`;
  readonly output: Output;
}

/** All events that guards and actions read. */
export type MachineEvent =
  | OnboardingEvent
  | Done<'resume', Resumed>
  | Done<'requestCertificate', Issued>
  | Done<'renewCertificate' | 'tryCertificate' | 'tryRenewed', Renewed>
  | Done<'giveUpCertificate', GivenUp>
  | Done<'prepareIdentity', { readonly registered: boolean }>;

/** Emitted to whoever listens: the log. */
export type EmittedEvent =
  | Failed
  | {
      readonly type: 'certificate.issued' | 'certificate.renewed';
      readonly serial: string;
      readonly notAfter: string;
      readonly renewAt: string;
    }
  | { readonly type: 'certificate.rolled-back'; readonly notAfter: string }
  | { readonly type: 'registration.left'; readonly reason: LeaveReason }
  | { readonly type: 'address.refused'; readonly code: ErrorCode; readonly cause: string }
  | { readonly type: 'certificate.useless'; readonly code: ErrorCode; readonly failures: number };

export interface Failed {
  readonly type: 'step.failed';
  readonly step: Step;
  readonly code: ErrorCode;
  readonly reason: Reason | null;
  readonly class: ErrorClass;
  readonly attempt: number;
  /** Null: never by itself */
  readonly retryInMs: number | null;
  readonly cause: string;
  /** The certificate expires soon, and this keeps it from being renewed. */
  readonly urgent?: true;
}
