import {
  type AnyTransitionDefinition,
  createActor,
  fromCallback,
  fromPromise,
  type NonReducibleUnknown,
  SimulatedClock,
  type StateValue,
} from 'xstate';
import { describeEdge, edgeOf } from '../../scripts/statechart.ts';
import type {
  EmittedEvent,
  GivenUp,
  Issued,
  OnboardingEvent,
  Policy,
  Renewed,
  Resumed,
} from '../../src/machines/contracts.ts';
import { onboarding } from '../../src/machines/onboarding.ts';

export const policy: Policy = {
  retry: { initialMs: 1000, maxMs: 300_000, factor: 2, failedAfterMs: 900_000 },
  provisioningTimeoutMs: 15_000,
  registrationTimeoutMs: 30_000,
  connectTimeoutMs: 35_000,
  refusalsCount: true,
};
/** The wall clock at the start, milliseconds since 1970 */
export const start = Date.UTC(2026, 10, 24);

export type Work =
  | 'resume'
  | 'generateKey'
  | 'requestCertificate'
  | 'tryCertificate'
  | 'prepareIdentity'
  | 'deliverResult'
  | 'renewCertificate'
  | 'tryRenewed'
  | 'verifyRegistration'
  | 'giveUpCertificate';
export type Callback = 'register' | 'watchClock';

/** What befalls the machine. */
export type Move =
  | { readonly done: Work; readonly output?: unknown }
  | { readonly fails: Work; readonly error: Error }
  | { readonly sends: Callback; readonly event: OnboardingEvent }
  /** The next time that it starts */
  | { readonly willThrow: Callback; readonly error: Error }
  | { readonly waits: number }
  /** The wall clock is set back by so many milliseconds; no time passes. */
  | { readonly setsBack: number };

interface Attempt {
  readonly input: unknown;
  readonly signal: AbortSignal;
  readonly resolve: (output: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The machine with actors that do what they are told, in a time that passes when it is told to. */
export function drive(chosen: Policy = policy) {
  const clock = new SimulatedClock();
  let behindMs = 0;
  const attempts = new Map<Work, Attempt>();
  const inputs: [Work | Callback, unknown][] = [];
  const listeners = new Map<Callback, (event: OnboardingEvent) => void>();
  const throwing = new Map<Callback, Error>();
  const emitted: EmittedEvent[] = [];
  const errors: unknown[] = [];
  const taken = new Set<string>();

  const work = <Output, Input = NonReducibleUnknown>(name: Work) =>
    fromPromise<Output, Input>(({ input, signal }) => {
      inputs.push([name, input]);
      return new Promise<Output>((resolve, reject) => {
        attempts.set(name, { input, signal, resolve: resolve as (output: unknown) => void, reject });
      });
    });
  const callback = <Input>(name: Callback) =>
    fromCallback<OnboardingEvent, Input>(({ input, sendBack }) => {
      inputs.push([name, input]);
      const error = throwing.get(name);
      throwing.delete(name);
      if (error !== undefined) throw error;
      listeners.set(name, sendBack);
      return () => listeners.delete(name);
    });
  const machine = onboarding(chosen, { now: () => start + clock.now() - behindMs, random: () => 0.5 });
  type Actors = NonNullable<Parameters<typeof machine.provide>[0]['actors']>;
  const actor = createActor(
    machine.provide({
      actors: {
        resume: work<Resumed>('resume'),
        generateKey: work<void>('generateKey'),
        requestCertificate: work<Issued, { isReplacement: boolean }>('requestCertificate'),
        tryCertificate: work<Renewed, Issued>('tryCertificate'),
        prepareIdentity: work<{ registered: boolean }>('prepareIdentity'),
        register: callback<{ deviceId: string }>('register'),
        deliverResult: work<void>('deliverResult'),
        renewCertificate: work<Renewed>('renewCertificate'),
        tryRenewed: work<Renewed>('tryRenewed'),
        verifyRegistration: work<void>('verifyRegistration'),
        giveUpCertificate: work<GivenUp>('giveUpCertificate'),
        watchClock: callback<{ since: number }>('watchClock'),
      } satisfies Required<Actors>,
    }),
    {
      clock,
      inspect(event) {
        if (event.type !== '@xstate.microstep') return;
        for (const transition of event._transitions as AnyTransitionDefinition[]) {
          if (transition.source.path.length > 0) taken.add(describeEdge(edgeOf(transition)));
        }
      },
    },
  );
  actor.subscribe({ error: (error) => errors.push(error) });
  actor.on('*', (event) => emitted.push(event));
  actor.start();

  const attemptOf = (name: Work): Attempt => {
    const attempt = attempts.get(name);
    if (attempt === undefined || attempt.signal.aborted) throw new Error(`${name} is not under way`);
    attempts.delete(name);
    return attempt;
  };

  function begin(move: Move): void {
    if ('done' in move) attemptOf(move.done).resolve(move.output);
    else if ('fails' in move) attemptOf(move.fails).reject(move.error);
    else if ('willThrow' in move) throwing.set(move.willThrow, move.error);
    else if ('waits' in move) clock.increment(move.waits);
    else if ('setsBack' in move) behindMs += move.setsBack;
    else {
      const listener = listeners.get(move.sends);
      if (listener === undefined) throw new Error(`${move.sends} is not under way`);
      listener(move.event);
    }
  }

  return {
    /** @returns the state that the machine is in then, `registering.requesting.connecting` */
    async move(move: Move): Promise<string> {
      begin(move);
      // Promises settle before the next turn of the event loop.
      await new Promise(setImmediate);
      return pathOf(actor.getSnapshot().value);
    },
    context: () => actor.getSnapshot().context,
    isDelivered: () => actor.getSnapshot().hasTag('delivered'),
    isUnderWay: (name: Work) => attempts.get(name)?.signal.aborted === false,
    stop: () => actor.stop(),
    inputs,
    emitted,
    errors,
    taken,
  };
}

function pathOf(value: StateValue): string {
  if (typeof value === 'string') return value;
  return Object.entries(value)
    .map(([key, inner]) => `${key}.${pathOf(inner ?? '')}`)
    .join();
}
