import { expect, test } from 'vitest';
import { describeEdge, edgesOf, nodesOf, statechart } from '../../../scripts/statechart.ts';
import type { ErrorCode } from '../../../src/errors/catalogue.ts';
import { OnboardingError } from '../../../src/errors/onboardingError.ts';
import { stateNames } from '../../../src/events.ts';
import type { Resumed } from '../../../src/machines/contracts.ts';
import { onboarding } from '../../../src/machines/onboarding.ts';
import type { Stage } from '../../../src/machines/stage.ts';
import { untried } from '../../../src/machines/unopened.ts';
import { type Callback, drive, type Move, policy, start, type Work } from '../../support/machineDriver.ts';

/** A move, and the state that it leads to. */
type Line = readonly [Move, string];

const minute = 60_000;
const year = 365 * 24 * 60 * minute;
const passing = new OnboardingError('STATE_UNWRITABLE', 'the disk is full');
const lasting = new OnboardingError('STATE_CORRUPT', 'the key is damaged');
const clockWrong = new OnboardingError('CLOCK_WRONG', 'the clock says 1970');
const unopened = new OnboardingError('NATS_TLS', 'the certificate is not trusted');
const refused = new OnboardingError('NATS_DENIED', 'authorization violation', { reason: 'not-authorized' });
const candidate = {
  serial: 'A1',
  notAfter: '2027-01-01T00:00:00Z',
  renewAt: '2026-12-20T00:00:00Z',
  opened: false,
  candidate: { new: true },
};
const kept = { ...candidate, candidate: null };
const renewed = { serial: kept.serial, notAfter: kept.notAfter, renewAt: kept.renewAt };
const soon = { notAfter: new Date(start + 300).toISOString() };
const opening = { ...renewed, opened: true };
const addressRefused = { code: 'NATS_UNREACHABLE', cause: 'refused' } as const;

const done = (work: Work, output?: unknown): Move => ({ done: work, output });
const fails = (work: Work, error: Error): Move => ({ fails: work, error });
const waits = (ms: number): Move => ({ waits: ms });
const throwsNext = (callback: Callback, error: Error): Move => ({ willThrow: callback, error });
const clockStepped: Move = { sends: 'watchClock', event: { type: 'CLOCK_STEPPED' } };
const session = (type: 'CONNECTED' | 'PUBLISHED' | 'EXPIRED'): Move => ({
  sends: 'register',
  event: { type },
});
const answered: Move = { sends: 'register', event: { type: 'ANSWERED', alias: 'Alpha' } };
const sessionFails = (error: Error): Move => ({ sends: 'register', event: { type: 'FAILED', error } });
const facts = (stage: Stage, more: Partial<Resumed> = {}): Resumed => ({
  deviceId: 'device-1',
  alias: null,
  stage,
  lack: null,
  renewAt: null,
  notAfter: start + year,
  opened: false,
  refused: false,
  candidate: false,
  verifiedAt: start - minute,
  ...more,
});
const resumes = (stage: Stage, more: Partial<Resumed> = {}) => done('resume', facts(stage, more));

const toKeygen: Line[] = [[resumes('keygen'), 'keygen.generating']];
const toCsr: Line[] = [[resumes('csr'), 'csr.requesting']];
const toTrial: Line[] = [...toCsr, [done('requestCertificate', candidate), 'csr.trying']];
const toProvisioned: Line[] = [[resumes('provisioned'), 'provisioned.preparing']];
const connecting = 'registering.requesting.connecting';
const toRegistering: Line[] = [
  ...toProvisioned,
  [done('prepareIdentity', { registered: false }), connecting],
];
const toRegistered: Line[] = [[resumes('registered'), 'registered.delivering']];
const toChecking: Line[] = [...toRegistered, [done('deliverResult'), 'registered.checking']];
const toRenewing: Line[] = [...toChecking, [resumes('renewal'), 'registered.renewing']];
const toRenewalTrial: Line[] = [...toRenewing, [done('renewCertificate', renewed), 'registered.trying']];
/** The device is late by days: NATS is opened within the next minutes. */
const late = { verifiedAt: start - 7 * 24 * 60 * minute };
const toVerifying: Line[] = [
  ...toChecking,
  [resumes('registered', late), 'registered.watching'],
  ...Array.from({ length: 8 }, (_, index): Line[] => [
    [waits(index < 7 ? minute : minute / 2), 'registered.checking'],
    [resumes('registered', late), index < 7 ? 'registered.watching' : 'registered.verifying'],
  ]).flat(),
];
/** Four refusals, and so much time that one more is for good. */
const toLastRefusal: Line[] = [
  ...toVerifying,
  ...Array.from({ length: 4 }, (): Line[] => [
    [fails('verifyRegistration', refused), 'registered.watching'],
    [waits(2 * minute), 'registered.checking'],
    [resumes('registered', late), 'registered.verifying'],
  ]).flat(),
];
const toRetreating: Line[] = [
  ...toLastRefusal,
  [fails('verifyRegistration', refused), 'registered.retreating'],
];
/** Nine failures in a row: the certificate is of no use if one more follows. */
const toNineFailures: Line[] = [
  ...toRegistering,
  ...Array.from({ length: 9 }, (_, index): Line[] => [
    [sessionFails(unopened), 'registering.backingOff'],
    [waits(500 * 2 ** index), connecting],
  ]).flat(),
];
/** Three failures before a rest in `failed`: long enough ago for the certificate to be of no use. */
const toUselessRest: Line[] = [
  ...toNineFailures.slice(0, toRegistering.length + 6),
  [sessionFails(lasting), 'failed'],
  [waits(900_000), 'idle.resuming'],
];
const toReplacement: Line[] = [...toNineFailures, [sessionFails(unopened), 'csr.requesting']];
const toReplacementTrial: Line[] = [...toReplacement, [done('requestCertificate', candidate), 'csr.trying']];

/** A state that works, and how a failure of it goes on. */
const working: readonly [Work, Line[], string][] = [
  ['resume', [], 'idle.resuming'],
  ['generateKey', toKeygen, 'keygen.generating'],
  ['requestCertificate', toCsr, 'csr.requesting'],
  ['prepareIdentity', toProvisioned, 'provisioned.preparing'],
  ['deliverResult', toRegistered, 'registered.delivering'],
];
const scenarios: readonly (readonly [string, Line[]])[] = [
  ...working.flatMap(([work, before, state]): [string, Line[]][] => {
    const backingOff = `${state.split('.')[0]}.backingOff`;
    return [
      [
        `${state} fails, waits and tries again`,
        [...before, [fails(work, passing), backingOff], [waits(499), backingOff], [waits(1), state]],
      ],
      [
        `${state} finds the clock wrong, and tries again once it is set`,
        [...before, [fails(work, clockWrong), backingOff], [clockStepped, state]],
      ],
      [
        `${state} fails for another reason than the clock, and waits although it is set`,
        [...before, [fails(work, passing), backingOff], [clockStepped, backingOff]],
      ],
      [
        `${state} waits although nobody can watch the clock`,
        [
          ...before,
          [throwsNext('watchClock', passing), state],
          [fails(work, passing), backingOff],
          [waits(500), state],
        ],
      ],
      [`${state} fails for good`, [...before, [fails(work, lasting), 'failed']]],
    ];
  }),
  [
    'a certificate that is at hand after all is used',
    [...toCsr, [done('requestCertificate', { ...kept, atHand: true }), 'provisioned.preparing']],
  ],
  [
    'a new device goes all the way',
    [
      ...toKeygen,
      [done('generateKey'), 'csr.requesting'],
      [done('requestCertificate', kept), 'provisioned.preparing'],
      [done('prepareIdentity', { registered: false }), connecting],
      [session('CONNECTED'), 'registering.requesting.lookingUp'],
      [session('PUBLISHED'), 'registering.requesting.awaitingResult'],
      [answered, 'registered.delivering'],
      [done('deliverResult'), 'registered.checking'],
      [resumes('registered'), 'registered.watching'],
      [waits(minute), 'registered.checking'],
    ],
  ],
  [
    'a device that has its result already does not register again',
    [...toProvisioned, [done('prepareIdentity', { registered: true }), 'registered.delivering']],
  ],
  [
    'failed starts over after its rest',
    [
      [fails('resume', lasting), 'failed'],
      [waits(899_999), 'failed'],
      [waits(1), 'idle.resuming'],
    ],
  ],
  [
    'failed starts over once the clock is set, if that may help',
    [
      [
        fails('resume', new OnboardingError('CLOCK_WRONG', 'the clock says 1970', { class: 'permanent' })),
        'failed',
      ],
      [clockStepped, 'idle.resuming'],
    ],
  ],
  [
    'failed rests although the clock is set',
    [
      [fails('resume', lasting), 'failed'],
      [clockStepped, 'failed'],
    ],
  ],
  [
    'failed rests although nobody can watch the clock',
    [
      [throwsNext('watchClock', passing), 'idle.resuming'],
      [fails('resume', lasting), 'failed'],
      [waits(900_000), 'idle.resuming'],
    ],
  ],

  // Requests for certificates
  [
    'the provisioning server is silent',
    [...toCsr, [waits(14_999), 'csr.requesting'], [waits(1), 'csr.backingOff']],
  ],
  [
    'a certificate that has to prove itself is kept',
    [...toTrial, [done('tryCertificate', opening), 'provisioned.preparing']],
  ],
  [
    'a certificate that has to prove itself is kept, with the address known before',
    [...toTrial, [done('tryCertificate', { ...opening, addressRefused }), 'provisioned.preparing']],
  ],
  [
    'a certificate that has to prove itself does not',
    [...toTrial, [fails('tryCertificate', unopened), 'csr.backingOff']],
  ],
  ['the trial of a certificate fails for good', [...toTrial, [fails('tryCertificate', lasting), 'failed']]],
  [
    'the trial of a certificate takes too long',
    [...toTrial, [waits(34_999), 'csr.trying'], [waits(1), 'csr.backingOff']],
  ],
  ...(
    [
      [
        'waits for its turn',
        [
          [waits(499), 'csr.pacing'],
          [waits(1), 'csr.requesting'],
        ],
      ],
      ['goes at once when the clock was set', [[clockStepped, 'csr.requesting']]],
    ] satisfies [string, Line[]][]
  ).map(([what, then]): [string, Line[]] => [
    `a request soon after another ${what}`,
    [
      ...toCsr,
      [done('requestCertificate', kept), 'provisioned.preparing'],
      [done('prepareIdentity', { registered: false }), connecting],
      [session('EXPIRED'), 'idle.resuming'],
      [resumes('csr'), 'csr.pacing'],
      ...then,
    ],
  ]),
  [
    'a request waits for its turn although nobody can watch the clock',
    [
      ...toCsr,
      [done('requestCertificate', kept), 'provisioned.preparing'],
      [done('prepareIdentity', { registered: false }), connecting],
      [session('EXPIRED'), 'idle.resuming'],
      [throwsNext('watchClock', passing), 'idle.resuming'],
      [resumes('csr'), 'csr.pacing'],
      [waits(500), 'csr.requesting'],
    ],
  ],

  // Registration
  [
    'NATS fails',
    [...toRegistering, [sessionFails(unopened), 'registering.backingOff'], [waits(500), connecting]],
  ],
  ['the fleet manager rejects the device', [...toRegistering, [sessionFails(lasting), 'failed']]],
  [
    'the session cannot begin',
    [
      ...toProvisioned,
      [throwsNext('register', passing), 'provisioned.preparing'],
      [done('prepareIdentity', { registered: false }), 'registering.backingOff'],
    ],
  ],
  [
    'the session can never begin',
    [
      ...toProvisioned,
      [throwsNext('register', lasting), 'provisioned.preparing'],
      [done('prepareIdentity', { registered: false }), 'failed'],
    ],
  ],
  [
    'the clock is wrong for a registration',
    [...toRegistering, [sessionFails(clockWrong), 'registering.backingOff'], [clockStepped, connecting]],
  ],
  [
    'a registration waits although nobody can watch the clock',
    [
      ...toRegistering,
      [throwsNext('watchClock', passing), connecting],
      [sessionFails(unopened), 'registering.backingOff'],
      [waits(500), connecting],
    ],
  ],
  ['NATS is silent', [...toRegistering, [waits(34_999), connecting], [waits(1), 'registering.backingOff']]],
  [
    'the stream is silent',
    [
      ...toRegistering,
      [session('CONNECTED'), 'registering.requesting.lookingUp'],
      [waits(19_999), 'registering.requesting.lookingUp'],
      [waits(1), 'registering.backingOff'],
    ],
  ],
  [
    'the fleet manager is silent',
    [
      ...toRegistering,
      [session('CONNECTED'), 'registering.requesting.lookingUp'],
      [session('PUBLISHED'), 'registering.requesting.awaitingResult'],
      [waits(29_999), 'registering.requesting.awaitingResult'],
      [waits(1), 'registering.backingOff'],
    ],
  ],

  // A certificate that is of no use
  ['ten failures in a row, and another certificate is requested', toReplacement],
  ['the tenth failure is a silent server', [...toNineFailures, [waits(35_000), 'csr.requesting']]],
  [
    'the tenth failure keeps the session from beginning',
    [
      ...toNineFailures.slice(0, -1),
      [throwsNext('register', unopened), 'registering.backingOff'],
      [waits(128_000), 'csr.requesting'],
    ],
  ],
  [
    'nine failures, an opened connection, and the count starts over',
    [
      ...toNineFailures,
      [session('CONNECTED'), 'registering.requesting.lookingUp'],
      [sessionFails(unopened), 'registering.backingOff'],
    ],
  ],
  [
    'ten minutes of failures are noticed after a rest in failed',
    [...toUselessRest, [resumes('provisioned'), 'csr.requesting']],
  ],
  [
    'a device that turns out to be registered keeps its certificate, whatever failed before',
    [...toUselessRest, [resumes('registered'), 'registered.delivering']],
  ],
  [
    'a certificate that opened NATS before this start is not of no use',
    [
      [resumes('provisioned', { opened: true }), 'provisioned.preparing'],
      ...toNineFailures.slice(1),
      [sessionFails(unopened), 'registering.backingOff'],
    ],
  ],
  [
    'another certificate takes its place',
    [...toReplacement, [done('requestCertificate', kept), 'provisioned.preparing']],
  ],
  ...(
    [
      ['is refused for good', toReplacement, fails('requestCertificate', lasting)],
      ['is refused', toReplacement, fails('requestCertificate', passing)],
      ['is not answered', toReplacement, waits(15_000)],
      ['does not open NATS either', toReplacementTrial, fails('tryCertificate', unopened)],
      ['meets a silent NATS server', toReplacementTrial, waits(35_000)],
    ] satisfies [string, Line[], Move][]
  ).map(([what, before, move]): [string, Line[]] => [
    `another certificate ${what}, and the device goes on with the one it has`,
    [...before, [move, 'provisioned.preparing']],
  ]),

  // A registered device
  [
    'the facts cannot be read',
    [
      ...toChecking,
      [fails('resume', passing), 'registered.backingOff'],
      [waits(500), 'registered.delivering'],
    ],
  ],
  ['the facts are damaged', [...toChecking, [fails('resume', lasting), 'failed']]],
  [
    'the registration is gone',
    [...toChecking, [resumes('provisioned', { lack: 'registration-missing' }), 'idle.resuming']],
  ],
  [
    'the certificate is renewed once it has proved itself',
    [...toRenewalTrial, [done('tryRenewed', opening), 'registered.delivering']],
  ],
  [
    'a certificate that was taken without a trial is verified at once',
    [
      ...toRenewalTrial,
      [done('tryRenewed', { ...opening, opened: false }), 'registered.delivering'],
      [done('deliverResult'), 'registered.checking'],
      [resumes('registered'), 'registered.verifying'],
    ],
  ],
  [
    'the certificate is renewed, and the address that came with it is not taken',
    [...toRenewalTrial, [done('tryRenewed', { ...opening, addressRefused }), 'registered.delivering']],
  ],
  [
    'a certificate that is due again waits for its turn',
    [
      ...toRenewalTrial,
      [done('tryRenewed', opening), 'registered.delivering'],
      [done('deliverResult'), 'registered.checking'],
      [resumes('renewal', { renewAt: start }), 'registered.watching'],
      [waits(999), 'registered.watching'],
      [waits(1), 'registered.checking'],
      [resumes('renewal'), 'registered.renewing'],
    ],
  ],
  [
    'a renewal fails, waits and looks again',
    [
      ...toRenewing,
      [fails('renewCertificate', passing), 'registered.renewalBackingOff'],
      [waits(499), 'registered.renewalBackingOff'],
      [waits(1), 'registered.checking'],
    ],
  ],
  [
    'a renewal that is refused for good does not end the registration',
    [
      ...toRenewing,
      [fails('renewCertificate', lasting), 'registered.renewalBackingOff'],
      [waits(900_000), 'registered.checking'],
    ],
  ],
  [
    'a renewal finds the clock wrong, and looks again once it is set',
    [
      ...toRenewing,
      [fails('renewCertificate', clockWrong), 'registered.renewalBackingOff'],
      [clockStepped, 'registered.checking'],
      [resumes('renewal'), 'registered.renewing'],
    ],
  ],
  [
    'a renewal waits although nobody can watch the clock',
    [
      ...toRenewing,
      [throwsNext('watchClock', passing), 'registered.renewing'],
      [fails('renewCertificate', passing), 'registered.renewalBackingOff'],
      [waits(500), 'registered.checking'],
    ],
  ],
  [
    'a renewal is not answered',
    [...toRenewing, [waits(14_999), 'registered.renewing'], [waits(1), 'registered.renewalBackingOff']],
  ],
  [
    'a renewed certificate does not open NATS, and is tried again',
    [
      ...toRenewalTrial,
      [fails('tryRenewed', lasting), 'registered.renewalBackingOff'],
      [waits(900_000), 'registered.checking'],
      [resumes('renewal', { candidate: true }), 'registered.trying'],
    ],
  ],
  [
    'NATS refuses a renewed certificate, and is opened with the one in use',
    [
      ...toRenewalTrial,
      [fails('tryRenewed', refused), 'registered.renewalBackingOff'],
      [waits(500), 'registered.checking'],
      [resumes('renewal', { candidate: true }), 'registered.verifying'],
      [done('verifyRegistration'), 'registered.checking'],
      [resumes('renewal', { candidate: true }), 'registered.trying'],
    ],
  ],
  [
    'a certificate expires while its renewal waits, and the device leaves',
    [
      ...toChecking,
      [resumes('renewal', { notAfter: start + 5000 }), 'registered.renewing'],
      [fails('renewCertificate', lasting), 'registered.renewalBackingOff'],
      [waits(5000), 'registered.renewalBackingOff'],
      [waits(1), 'registered.checking'],
      [resumes('csr', { lack: 'certificate-expired' }), 'idle.resuming'],
    ],
  ],
  [
    'a certificate turns out to have expired when the clock is set, and its renewal waits no longer',
    [
      ...toChecking,
      [resumes('renewal', { notAfter: start - 1, candidate: true }), 'registered.trying'],
      [fails('tryRenewed', passing), 'registered.renewalBackingOff'],
      [clockStepped, 'registered.checking'],
    ],
  ],
  [
    'a certificate expires while the result cannot be delivered',
    [
      ...toRenewalTrial,
      [done('tryRenewed', { ...opening, ...soon }), 'registered.delivering'],
      [fails('deliverResult', passing), 'registered.backingOff'],
      [waits(299), 'registered.backingOff'],
      [waits(2), 'idle.resuming'],
    ],
  ],
  [
    'a certificate turns out to have expired when the clock is set, and the result was not delivered',
    [
      ...toRenewalTrial,
      [
        done('tryRenewed', { ...opening, notAfter: new Date(start - 1).toISOString() }),
        'registered.delivering',
      ],
      [fails('deliverResult', passing), 'registered.backingOff'],
      [clockStepped, 'idle.resuming'],
    ],
  ],

  // Verification
  ['NATS is opened once a day, and within minutes by a device that is late', toVerifying],
  [
    'a verified device goes on',
    [
      ...toVerifying,
      [done('verifyRegistration'), 'registered.checking'],
      [resumes('registered'), 'registered.watching'],
    ],
  ],
  ['NATS cannot be opened', [...toVerifying, [fails('verifyRegistration', unopened), 'registered.watching']]],
  [
    'NATS is silent when it is to be verified',
    [...toVerifying, [waits(34_999), 'registered.verifying'], [waits(1), 'registered.watching']],
  ],
  [
    'NATS refuses the certificate for good, and the one before is back',
    [
      ...toRetreating,
      [done('giveUpCertificate', { rolledBackTo: kept.notAfter }), 'registered.delivering'],
      [done('deliverResult'), 'registered.checking'],
      [resumes('registered'), 'registered.verifying'],
    ],
  ],
  [
    'NATS refuses the only certificate for good, and another one is requested',
    [
      ...toRetreating,
      [done('giveUpCertificate', { rolledBackTo: null }), 'idle.resuming'],
      [resumes('provisioned', { refused: true, lack: 'registration-missing' }), 'csr.requesting'],
      [fails('requestCertificate', passing), 'provisioned.preparing'],
    ],
  ],
  [
    'what is to be done about a refusal cannot be written',
    [...toRetreating, [fails('giveUpCertificate', passing), 'registered.watching']],
  ],
  [
    'a renewed certificate meets a silent NATS server',
    [...toRenewalTrial, [waits(34_999), 'registered.trying'], [waits(1), 'registered.renewalBackingOff']],
  ],
];

async function play(lines: readonly Line[], chosen = policy) {
  const driver = drive(chosen);
  const visited: string[] = [];
  for (const [move] of lines) visited.push(await driver.move(move));
  return { ...driver, visited };
}

/** A scenario is played once, for its own test and for the test of the edges. */
const played = new Map<readonly Line[], ReturnType<typeof play>>();
function playOnce(lines: readonly Line[]) {
  const earlier = played.get(lines) ?? play(lines);
  played.set(lines, earlier);
  return earlier;
}

test.each(scenarios)('%s', async (_, lines) => {
  const { visited, errors, stop } = await playOnce(lines);
  stop();
  expect(visited).toEqual(lines.map(([, state]) => state));
  expect(errors).toEqual([]);
});

test('every edge of the chart is taken by a scenario', async () => {
  const all = await Promise.all(scenarios.map(([, lines]) => playOnce(lines)));
  const taken = new Set(all.flatMap((one) => [...one.taken]));
  expect([...taken].sort()).toEqual(edgesOf(statechart()).map(describeEdge).sort());
});

test('the states are those that logs and status know', () => {
  expect(Object.keys(statechart().states)).toEqual([...stateNames]);
});

test('each state but failed starts the step of its name', () => {
  const steps = Object.values(statechart().states).map(({ key, config }) => [key, [config.entry].flat()[0]]);
  expect(steps).toEqual(
    stateNames.map((step) => [
      step,
      step === 'failed' ? 'recordFailure' : { type: 'startStep', params: { step } },
    ]),
  );
});

test('a chart that loops without a wait ends after a hundred steps', () => {
  expect(onboarding(policy, { now: () => 0, random: () => 0 }).config.options).toEqual({
    maxIterations: 100,
  });
});

test('every state says what it is for, and names its actions', () => {
  for (const { id, description, config, transitions } of nodesOf(statechart())) {
    expect(description, id).toMatch(/^[A-Z].*\.$/s);
    const steps = [
      config.entry,
      config.exit,
      ...[...transitions.values()].flat().map(({ actions }) => actions),
    ];
    for (const action of steps.flat().filter((one) => one !== undefined))
      expect(typeof action === 'string' ? action : (action as { type?: unknown }).type, id).toMatch(
        /^[a-z]\w+$/i,
      );
  }
});

test('whatever an actor throws, and whatever takes too long, is handled', () => {
  for (const { id, invoke, transitions } of nodesOf(statechart())) {
    const events = [...transitions.keys()].filter((event) => /Timeout\.|^FAILED$/.test(event));
    for (const event of [...invoke.map((one) => `xstate.error.actor.${one.id}`), ...events])
      expect(transitions.get(event)?.at(-1), `${id}, ${event}`).toMatchObject({ guard: undefined });
  }
});

test('no time limit is a permanent failure', () => {
  const limits = edgesOf(statechart()).filter(({ event }) => event.endsWith('Timeout'));
  expect(limits.map(({ event }) => event)).toContain('resultTimeout');
  expect(limits.filter(({ guard, target }) => guard === 'isPermanent' || target?.[0] === 'failed')).toEqual(
    [],
  );
});

test('every name that the chart may use is used', () => {
  const { implementations, root } = onboarding(policy, { now: () => 0, random: () => 0 });
  const nodes = nodesOf(root);
  const edges = edgesOf(root);
  const transitions = nodes.flatMap((node) => [...node.transitions.values()].flat());
  const actions = [
    ...nodes.flatMap(({ config }) => [config.entry, config.exit].flat()),
    ...transitions.flatMap((transition) => transition.actions),
  ].map((action) => (typeof action === 'string' ? action : (action as { type?: string } | undefined)?.type));
  const used = {
    actions: new Set(actions.filter((name) => name !== undefined)),
    guards: new Set(edges.flatMap(({ guard }) => guard ?? [])),
    actors: new Set(nodes.flatMap((node) => node.invoke.map(({ src }) => src))),
    delays: new Set(nodes.flatMap((node) => node.after.map(({ delay }) => delay))),
  };
  for (const [kind, names] of Object.entries(used))
    expect([...names].sort(), kind).toEqual(
      Object.keys(implementations[kind as keyof typeof implementations] ?? {}).sort(),
    );
});

test('delivered are the states of a registered device whose result is where it belongs', () => {
  const tagged = nodesOf(statechart()).filter(({ tags }) => tags.includes('delivered'));
  expect(tagged.map(({ path }) => path.join('.'))).toEqual(
    ['watching', 'checking', 'verifying', 'retreating', 'renewing', 'trying', 'renewalBackingOff'].map(
      (key) => `registered.${key}`,
    ),
  );
});

test('a device is delivered once its result is exported, and not before', async () => {
  const { move, isDelivered } = await play(toRegistered);
  expect(isDelivered()).toBe(false);
  await move(done('deliverResult'));
  expect(isDelivered()).toBe(true);
});

test('a failure is reported with its step, its attempt and the wait', async () => {
  const { emitted, context } = await play([...toKeygen, [fails('generateKey', passing), '']]);
  const failed = {
    type: 'step.failed',
    step: 'keygen',
    code: 'STATE_UNWRITABLE',
    reason: null,
    class: 'transient',
  };
  expect(emitted).toEqual([{ ...failed, attempt: 1, retryInMs: 500, cause: 'the disk is full' }]);
  expect(context()).toMatchObject({ attempt: 1, nextRetryAt: start + 500 });
});

test('attempts are counted within a step and start over with the next', async () => {
  const { move, emitted, context } = await play([
    ...toKeygen,
    [fails('generateKey', passing), ''],
    [waits(500), ''],
    [fails('generateKey', passing), ''],
    [waits(1000), ''],
  ]);
  expect(emitted).toMatchObject([{ attempt: 1 }, { attempt: 2, retryInMs: 1000 }]);
  expect(context()).toMatchObject({ attempt: 3, nextRetryAt: null });
  await move(done('generateKey'));
  expect(context()).toMatchObject({ attempt: 1, failure: { code: 'STATE_UNWRITABLE' } });
});

test.each<[string, Line[], Move, string, ErrorCode]>([
  ['idle', [], fails('resume', lasting), 'idle', 'STATE_CORRUPT'],
  ['csr', toTrial, fails('tryCertificate', lasting), 'csr', 'STATE_CORRUPT'],
  ['csr', toCsr, waits(15_000), 'csr', 'PROVISIONING_TIMEOUT'],
  ['csr', toTrial, waits(35_000), 'csr', 'NATS_UNREACHABLE'],
  ['csr', toReplacement, fails('requestCertificate', passing), 'csr', 'STATE_UNWRITABLE'],
  ['registering', toRegistering, sessionFails(lasting), 'registering', 'STATE_CORRUPT'],
  ['registering', toRegistering, waits(35_000), 'registering', 'NATS_UNREACHABLE'],
  ['registered', toChecking, fails('resume', lasting), 'registered', 'STATE_CORRUPT'],
  ['registered', toRenewing, fails('renewCertificate', lasting), 'renewing', 'STATE_CORRUPT'],
  ['registered', toRenewing, waits(15_000), 'renewing', 'PROVISIONING_TIMEOUT'],
  ['registered', toRenewalTrial, waits(35_000), 'renewing', 'NATS_UNREACHABLE'],
])('a failure in %s is recorded and reported: %#', async (_, before, move, step, code) => {
  const { emitted, context } = await play([...before, [move, '']]);
  expect(emitted.filter(({ type }) => type === 'step.failed').at(-1)).toMatchObject({ step, code });
  expect(context().failure).toMatchObject({ step, code });
});

test.each([
  ['the answer', [...toRegistering, [answered, '']]],
  ['the disk', [[resumes('registered', { alias: 'Alpha' }), '']]],
] satisfies [string, Line[]][])('the alias is that of %s', async (_, lines) => {
  expect((await play(lines)).context()).toMatchObject({ deviceId: 'device-1', alias: 'Alpha' });
});

test('a device that cannot resume shows its id, if that could be read', async () => {
  const cloned = new OnboardingError('STATE_CLONED', 'copied', { deviceId: 'device-2' });
  expect((await play([[fails('resume', cloned), '']])).context().deviceId).toBe('device-2');
  expect((await play([...toChecking, [fails('resume', cloned), '']])).context().deviceId).toBe('device-1');
});

test('an invocation whose output is read has the name of its actor as id', () => {
  const invoked = nodesOf(statechart()).flatMap(({ invoke }) => invoke);
  const named = invoked.filter(({ id, src }) => id === src).map(({ src }) => src);
  expect([...new Set(named)].sort()).toEqual([
    'giveUpCertificate',
    'prepareIdentity',
    'renewCertificate',
    'requestCertificate',
    'resume',
    'tryCertificate',
    'tryRenewed',
  ]);
});

test('a device that is registered has no failure to show', async () => {
  const { move, context } = await play([...toRegistering, [sessionFails(passing), ''], [waits(500), '']]);
  expect(context().failure).not.toBeNull();
  await move(answered);
  expect(context()).toMatchObject({ failure: null, attempt: 1 });
});

test.each([
  [
    'delivered',
    [...toRegistered, [fails('deliverResult', passing), ''], [waits(500), '']],
    done('deliverResult'),
  ],
  [
    'checked',
    [...toRenewing, [fails('renewCertificate', passing), ''], [waits(500), '']],
    resumes('registered'),
  ],
] satisfies [
  string,
  Line[],
  Move,
][])('a device that was %s after a failure has none to show', async (_, before, move) => {
  const { move: go, context } = await play(before);
  expect(context()).toMatchObject({ failure: { code: 'STATE_UNWRITABLE' }, attempt: 2 });
  await go(move);
  expect(context()).toMatchObject({ failure: null, attempt: 1, nextRetryAt: null, delayMs: 0 });
});

test('a certificate of no use is reported with its failures', async () => {
  const { emitted, context } = await play(toReplacement);
  expect(emitted.slice(-2)).toEqual([
    expect.objectContaining({ type: 'step.failed', step: 'registering', code: 'NATS_TLS', attempt: 10 }),
    { type: 'certificate.useless', code: 'NATS_TLS', failures: 10 },
  ]);
  expect(context().unopened.isReplaced).toBe(true);
});

test('a replacement that failed is a round: the next takes twice as many failures', async () => {
  const { context } = await play([...toReplacement, [fails('requestCertificate', passing), '']]);
  expect(context().unopened).toEqual({
    isUntried: true,
    failures: 0,
    since: null,
    refusals: { count: 0, since: null },
    isReplaced: false,
    rounds: 1,
  });
});

test.each<[string, Line[], Move, boolean]>([
  ['is kept at once', toCsr, done('requestCertificate', kept), true],
  ['was tried', toTrial, done('tryCertificate', opening), true],
  ['was at hand all the time', toCsr, done('requestCertificate', { ...kept, atHand: true }), false],
])('a certificate that %s is reported as issued, if it was', async (_, before, move, isReported) => {
  const { emitted } = await play([...before, [move, 'provisioned.preparing']]);
  expect(emitted).toEqual(isReported ? [{ type: 'certificate.issued', ...renewed }] : []);
});

test('a renewal is reported once it was tried', async () => {
  const { emitted, move } = await play(toRenewalTrial);
  expect(emitted).toEqual([]);
  await move(done('tryRenewed', opening));
  expect(emitted).toEqual([{ type: 'certificate.renewed', ...renewed }]);
});

test('a device that is not registered any more says why', async () => {
  const { emitted } = await play([...toChecking, [resumes('csr', { lack: 'certificate-expired' }), '']]);
  expect(emitted).toEqual([{ type: 'registration.left', reason: 'certificate-expired' }]);
  const failed = await play([...toRegistered, [fails('deliverResult', lasting), '']]);
  expect(failed.emitted[0]).toEqual({ type: 'registration.left', reason: 'permanent-failure' });
});

test.each([
  [null, { type: 'registration.left', reason: 'certificate-refused' }],
  [kept.notAfter, { type: 'certificate.rolled-back', notAfter: kept.notAfter }],
])('what becomes of a refused certificate is reported: %s', async (rolledBackTo, expected) => {
  const { emitted } = await play([...toRetreating, [done('giveUpCertificate', { rolledBackTo }), '']]);
  expect(emitted.at(-1)).toEqual(expected);
});

test('a failed renewal is urgent in the last third of its time', async () => {
  const dates = { renewAt: start, notAfter: start + 30_000 };
  const failing: Line[] = [
    ...toChecking,
    [resumes('renewal', dates), ''],
    [fails('renewCertificate', passing), ''],
    [waits(500), ''],
    [resumes('renewal', dates), ''],
  ];
  const { emitted, move } = await play(failing);
  await move(waits(15_000));
  await move(waits(1000));
  await move(resumes('renewal', dates));
  await move(waits(15_000));
  const urgency = emitted.map((event) => event.type === 'step.failed' && event.urgent === true);
  expect(urgency.slice(0, 2)).toEqual([false, false]);
});

test('a device that cannot open NATS stays registered, says so, and has nothing to say once it can', async () => {
  const { emitted, context, move } = await play([
    ...toVerifying,
    [fails('verifyRegistration', unopened), ''],
  ]);
  expect(emitted.at(-1)).toMatchObject({ step: 'verifying', code: 'NATS_TLS', attempt: 1, retryInMs: 500 });
  expect(context()).toMatchObject({ failure: { step: 'verifying' }, attempt: 1 });
  expect(context().nextRetryAt).toBe(context().verification.at);
  await move(waits(1000));
  await move(resumes('registered', late));
  await move(done('verifyRegistration'));
  await move(resumes('registered'));
  expect(context()).toMatchObject({ failure: null, nextRetryAt: null, verification: { failures: 0 } });
});

test('a device that cannot open NATS renews all the same, however short its waits, and looks at NATS between', async () => {
  const hasty = { ...policy, retry: { ...policy.retry, initialMs: 1, maxMs: 100 } };
  const due = { lack: null, verifiedAt: late.verifiedAt } as const;
  const { context, move, visited } = await play(
    [
      ...toChecking,
      [resumes('registered', late), 'registered.watching'],
      [waits(1000), 'registered.checking'],
      [resumes('renewal', due), 'registered.verifying'],
      [fails('verifyRegistration', unopened), 'registered.watching'],
      [waits(1000), 'registered.checking'],
      [resumes('renewal', due), 'registered.renewing'],
      [done('renewCertificate', renewed), 'registered.trying'],
      [fails('tryRenewed', unopened), 'registered.renewalBackingOff'],
      [waits(100), 'registered.checking'],
      [resumes('renewal', { ...due, candidate: true }), 'registered.verifying'],
      [fails('verifyRegistration', unopened), 'registered.watching'],
      [waits(1000), 'registered.checking'],
      [resumes('renewal', { ...due, candidate: true }), 'registered.trying'],
    ],
    hasty,
  );
  expect(visited.at(-1)).toBe('registered.trying');
  await move(done('tryRenewed', opening));
  expect(context().verification.failures).toBe(0);
});

test('NATS is looked at within a day after the clock was set back by years', async () => {
  const { context, move } = await play([...toChecking, [resumes('registered'), 'registered.watching']]);
  const before = context().verification.at ?? 0;
  await move({ setsBack: 3 * year });
  await move(waits(minute));
  await move(resumes('registered'));
  expect(before).toBeGreaterThan(start);
  expect(context().verification.at).toBe(start - 3 * year + minute + 24 * 60 * minute);
});

test.each([
  ['are not the fleet’s word without TLS', { ...policy, refusalsCount: false }],
  ['of a server that is being set up', policy],
])('refusals %s do not end a registration', async (_, chosen) => {
  const lines: Line[] = chosen.refusalsCount ? toVerifying : toLastRefusal;
  const { visited } = await play([...lines, [fails('verifyRegistration', refused), '']], chosen);
  expect(visited.at(-1)).toBe('registered.watching');
});

test('an address that is not taken is reported after the renewal', async () => {
  const { emitted } = await play([
    ...toRenewalTrial,
    [done('tryRenewed', { ...opening, addressRefused }), ''],
  ]);
  expect(emitted).toEqual([
    { type: 'certificate.renewed', ...renewed },
    { type: 'address.refused', ...addressRefused },
  ]);
});

test('an address that is not taken is reported after the first certificate, too', async () => {
  const { emitted, visited } = await play([
    ...toTrial,
    [done('tryCertificate', { ...opening, addressRefused }), 'provisioned.preparing'],
  ]);
  expect(emitted.map(({ type }) => type)).toEqual(['certificate.issued', 'address.refused']);
  expect(visited).toContain('provisioned.preparing');
});

test('actors get what they need', async () => {
  const { inputs } = await play(toReplacementTrial);
  expect(inputs.find(([name]) => name === 'register')).toEqual(['register', { deviceId: 'device-1' }]);
  expect(inputs.at(-2)).toEqual(['requestCertificate', { isReplacement: true }]);
  expect(inputs.at(-1)).toEqual(['tryCertificate', candidate]);
  expect((await play(toRenewalTrial)).inputs.at(-1)).toEqual(['tryRenewed', undefined]);
});

test('a first certificate is not requested again', async () => {
  expect((await play(toCsr)).inputs.at(-1)).toEqual(['requestCertificate', { isReplacement: false }]);
});

test('the clock is watched from the failure on', async () => {
  const { inputs } = await play([
    [waits(70), ''],
    [fails('resume', passing), ''],
  ]);
  expect(inputs.at(-1)).toEqual(['watchClock', { since: start + 70 }]);
});

test.each([
  ['a timeout', toCsr, waits(15_000), 'requestCertificate'],
  ['a timeout', toTrial, waits(35_000), 'tryCertificate'],
  ['a timeout', toRenewing, waits(15_000), 'renewCertificate'],
] satisfies [
  string,
  Line[],
  Move,
  Work,
][])('%s aborts the work under way: %#', async (_, before, move, work) => {
  const { move: go, isUnderWay } = await play(before);
  expect(isUnderWay(work)).toBe(true);
  await go(move);
  expect(isUnderWay(work)).toBe(false);
});

test('a certificate is forgotten after its trial', async () => {
  const { move, context } = await play(toTrial);
  expect(context().candidate).toEqual(candidate);
  await move(done('tryCertificate', opening));
  expect(context().candidate).toBeNull();
});

test('without retry.failedAfterMs a device in failed waits for ever, and says so', async () => {
  const never = { ...policy, retry: { ...policy.retry, failedAfterMs: 0 } };
  const { visited, emitted, context } = await play(
    [
      [fails('resume', lasting), ''],
      [waits(1e12), ''],
    ],
    never,
  );
  expect(visited).toEqual(['failed', 'failed']);
  expect(emitted).toMatchObject([{ retryInMs: null }]);
  expect(context().nextRetryAt).toBeNull();
});

test('after a rest in failed nothing waits any more, and the failure still shows', async () => {
  const { context } = await play([
    ...toKeygen,
    [fails('generateKey', passing), ''],
    [waits(500), ''],
    [fails('generateKey', lasting), ''],
    [waits(900_000), 'idle.resuming'],
  ]);
  expect(context()).toMatchObject({ step: 'idle', attempt: 1, delayMs: 0, nextRetryAt: null });
  expect(context().failure).toMatchObject({ code: 'STATE_CORRUPT' });
});

test('a wait for the next request is shown', async () => {
  const { context } = await play([
    ...toCsr,
    [done('requestCertificate', kept), ''],
    [done('prepareIdentity', { registered: false }), ''],
    [session('EXPIRED'), ''],
    [resumes('csr'), 'csr.pacing'],
  ]);
  expect(context().nextRetryAt).toBe(start + 500);
});

test('a watch over the clock that breaks is reported as a bug, and nothing is forgotten', async () => {
  const { emitted, context } = await play([
    [throwsNext('watchClock', new Error('no timers')), ''],
    [fails('resume', passing), ''],
  ]);
  expect(emitted.at(-1)).toEqual({
    type: 'step.failed',
    step: 'idle',
    code: 'INTERNAL',
    reason: null,
    class: 'transient',
    attempt: 1,
    retryInMs: 500,
    cause: 'no timers',
  });
  expect(context().failure).toMatchObject({ code: 'STATE_UNWRITABLE' });
});

test('a registered device looks at its certificate when it is due', async () => {
  const { move } = await play([...toChecking, [resumes('registered', { renewAt: start + 5000 }), '']]);
  expect(await move(waits(4999))).toBe('registered.watching');
  expect(await move(waits(1))).toBe('registered.checking');
});

test('the device id is that of the facts on disk', async () => {
  const { move, context } = await play([]);
  expect(context().deviceId).toBeNull();
  await move(resumes('registered', { deviceId: 'device-2' }));
  expect(context().deviceId).toBe('device-2');
});

test.each<[string, Line[], number, boolean?]>([
  ['is kept at once', [...toReplacement, [done('requestCertificate', kept), '']], 1],
  ['is kept after its trial', [...toReplacementTrial, [done('tryCertificate', opening), '']], 1, false],
  ['is the first', [...toCsr, [done('requestCertificate', kept), '']], 0],
])('a certificate that %s gets its tries anew', async (_, lines, rounds, isUntried = true) => {
  expect((await play(lines)).context().unopened).toEqual({ ...untried, isUntried, rounds });
});

test('a clock that was set ends the distance between requests', async () => {
  const { context } = await play([
    ...toCsr,
    [done('requestCertificate', kept), ''],
    [done('prepareIdentity', { registered: false }), ''],
    [session('EXPIRED'), ''],
    [resumes('csr'), 'csr.pacing'],
    [clockStepped, 'csr.requesting'],
  ]);
  expect(context().pace.requests).toBe(1);
});

test('a request that failed for good and may be cured by the clock is repeated as soon as that is set', async () => {
  const wrong = new OnboardingError('CLOCK_WRONG', 'the certificate is of tomorrow', { class: 'permanent' });
  const lines: Line[] = [
    ...toCsr,
    [fails('requestCertificate', wrong), 'failed'],
    [clockStepped, 'idle.resuming'],
    [resumes('csr'), 'csr.requesting'],
  ];
  expect((await play(lines)).visited).toEqual(lines.map(([, state]) => state));
});

test('a certificate that was of no use before a rest in failed is reported and replaced', async () => {
  const { emitted, context } = await play([...toUselessRest, [resumes('provisioned'), '']]);
  expect(emitted.at(-1)).toEqual({ type: 'certificate.useless', code: 'STATE_CORRUPT', failures: 3 });
  expect(context().unopened.isReplaced).toBe(true);
});
