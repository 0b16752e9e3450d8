import { expect, test } from 'vitest';
import { hunt } from './hunt.ts';
import { live, usualConfig } from './life.ts';
import { longWait } from './longWait.ts';
import { buildMutant, mutants } from './mutants.ts';
import { type Adversity, type Plan, planOf } from './plan.ts';
import { calmPlan, rollBack } from './rollback.ts';
import { loadOf, machineStorm, requestsByHour, type Storm, storm } from './storm.ts';

// More of them: `npm run test:simulation`, 3,000 of which gate a change.
test('a hundred simulated lives break no invariant', async () => {
  const { violations, lives } = await hunt(1, 100);
  expect(violations).toEqual([]);
  expect(lives).toBe(100);
});

test('a seed is one life: told twice, it is the same story', async () => {
  const [first, second] = [await live(planOf(77), true), await live(planOf(77), true)];
  expect(first.story.length).toBeGreaterThan(5);
  expect(second).toEqual(first);
});

// Each broke an invariant once, in a run of a hundred thousand.
test.each([
  ['a state that is damaged after a reset which kept the id', 3955],
  ['a request that is heard after the device was reset', 23862],
  ['a state that is gone after a reset which kept the id', 27887],
  ['an identity that is adopted while the clock is far ahead', 31673],
  ['a disk that fails while a reset marks the state', 35853],
  ['a certificate that is taken back from a device which registers a change', 52882],
  ['a reset on another machine that is killed after the state is gone', 41886],
  ['a power cut after a reset that was cut off twice', 83330],
  ['a failed read of a state that is half reset', 90217],
])('a device outlives %s', async (_, seed) => {
  const { violation, endedAs } = await live(planOf(seed));
  expect(violation).toBeNull();
  expect(endedAs).toBe('registered');
});

// One of each kind that the simulation exists to find, in a life made for it; by chance: npm run test:simulation -- --mutants
test.each<[string, Adversity[], Partial<Plan>?]>([
  ['a file is renamed before it is synced', []],
  [
    'a question gets a new message id each time',
    [{ kind: 'manager', fault: 'result lost', from: 0, to: 600_000 }],
  ],
  [
    'a result that the stream held before the question is taken for the answer',
    [{ kind: 'manager', fault: 'result late', from: 0, to: 60_000 }],
    { earlierLife: true, api: 'jetstream' },
  ],
  [
    'the stream is not looked at before the first question',
    [
      { kind: 'manager', fault: 'result late', from: 0, to: 60_000 },
      // By the device's own clock the old result is none.
      { kind: 'clock step', at: 0, byMs: -120_000 },
    ],
    { earlierLife: true, api: 'jetstream' },
  ],
  ['a renewed certificate is taken without a trial', [], { certificateLifeMs: 30 * 60_000 }],
  [
    'a switch of keys that was interrupted is not finished',
    [],
    { certificateLifeMs: 30 * 60_000, newKey: true },
  ],
  [
    'a device whose certificate was refused forgets that it was registered',
    [],
    { isRevoked: true, certificateLifeMs: 365 * 86_400_000 },
  ],
  [
    'a rollback does not bring the key back',
    [],
    { certificateLifeMs: 10 * 86_400_000, newKey: true, rollsBack: { strikes: [] } },
  ],
  [
    'a device whose reset was interrupted goes on',
    [{ kind: 'reset', at: 60_000, keepsId: false, strikes: [{ kind: 'power cut', step: 12 }] }],
  ],
  [
    'a damaged state makes a new identity',
    [
      { kind: 'restart', at: 60_000 },
      { kind: 'damage', boot: 2, file: 'state.json', how: 'garbage' },
    ],
  ],
  [
    'the key of an earlier agent is not kept',
    [{ kind: 'restart', at: 60_000 }],
    { adopted: 'no certificate' },
  ],
  [
    'an adoption writes the state before the key',
    Array.from({ length: 12 }, (_, n) => ({ kind: 'kill', boot: n + 1, step: 12 + n, offMs: 1000 }) as const),
    { adopted: 'no certificate' },
  ],
  ['a device that an earlier agent registered counts as refused', [], { adopted: 'whole' }],
])('the simulation finds the fault: %s', async (name, adversities, special) => {
  const mutant = mutants.find((one) => one.name === name);
  if (mutant === undefined) throw new Error('no such mutant');
  const calm = {
    clash: false,
    earlierLife: false,
    adopted: undefined,
    newKey: false,
    isRevoked: false,
    rollsBack: undefined,
  };
  const plan = { ...planOf(1), ...calm, adversities, ...special };
  await using built = await buildMutant(mutant);
  expect((await built.live(plan)).violation).not.toBeNull();
  expect((await live(plan)).violation).toBeNull();
});

test('a renewal with a new key survives a crash at each of its steps', async () => {
  const plan: Plan = {
    ...planOf(1),
    ...{ api: 'jetstream', certificateLifeMs: 30 * 60_000, roundTripMs: 20, loss: 0, newKey: true },
    ...{
      clash: false,
      earlierLife: false,
      https: false,
      isRevoked: false,
      adversities: [],
      liveOnMs: 60_000,
    },
  };
  const { renewal, violation } = await live(plan);
  expect(violation).toBeNull();
  if (renewal === null) throw new Error('nothing was renewed');
  const [begins, ends] = renewal;
  expect(ends - begins).toBeGreaterThan(20);
  const violations: string[] = [];
  // From the new key on, to the last copy.
  for (let step = begins - 8; step < ends + 16; step++) {
    const kind = step % 2 === 0 ? 'kill' : 'power cut';
    const life = await live({ ...plan, adversities: [{ kind, boot: 1, step, offMs: 1000 }] });
    expect(life.boots).toBeGreaterThan(2);
    if (life.violation !== null) violations.push(`${kind} before step ${step}: ${life.violation}`);
  }
  expect(violations).toEqual([]);
});

test('a rollback survives power cuts between the state and the key files', async () => {
  const { violation, boots } = await rollBack([18, 8, 4, 4].map((step) => ({ kind: 'power cut', step })));
  expect(violation).toBeNull();
  expect(boots).toBeGreaterThan(5);
});

test.each([
  [false, undefined],
  [true, 'whole'],
] as const)('a reset survives a crash at each of its steps (keeps the id: %s, adopted: %s)', async (keepsId, adopted) => {
  const violations: string[] = [];
  let step = 0;
  for (let isStruck = true; isStruck; ) {
    const kind = ++step % 2 === 0 ? 'kill' : 'power cut';
    const reset = { kind: 'reset', at: 60_000, keepsId, strikes: [{ kind, step }] } as const;
    const { violation, reached } = await live({ ...calmPlan, adopted, adversities: [reset] });
    if (violation !== null) violations.push(`${kind} before step ${step}: ${violation}`);
    isStruck = [...reached].some((what) => what.startsWith('reset: '));
  }
  expect(violations).toEqual([]);
  expect(step).toBeGreaterThan(20);
});

test('a device that has nothing to do for weeks renews in time and asks nothing else', async () => {
  const { violation, renewals } = await longWait(2, 1);
  expect(violation).toBeNull();
  expect(renewals).toBeGreaterThanOrEqual(3);
});

test('after an outage the devices come back spread out, each gets one certificate, and the waits alone tell the same', async () => {
  const settings: Storm = {
    devices: 300,
    seed: 1,
    retry: usualConfig.retry,
    powerOnMs: 5000,
    downMs: 600_000,
    capacity: Number.POSITIVE_INFINITY,
  };
  const [machine, waits] = [await machineStorm(usualConfig, settings), storm(settings)];
  for (const curve of [machine, waits]) {
    expect(curve.certificatesPerDevice).toEqual(new Map([[1, 300]]));
    expect(loadOf(curve, settings).peak).toBeLessThan(20);
  }
  const requests = ({ requests }: typeof machine) => requests.reduce((sum, count) => sum + count, 0) / 300;
  expect(requests(machine)).toBeCloseTo(requests(waits), 0);
  const many = { ...settings, devices: 50_000 };
  expect(loadOf(storm(many), many).ratio).toBeLessThan(3);
});

test.each([
  ['3 seconds', 3_000],
  ['30 seconds', 30_000],
  ['2 minutes', 120_000],
])('certificates that live for %s are asked for at the pace of retry.*', async (_, lifeMs) => {
  const [first = 0, second = 0] = await requestsByHour(usualConfig, lifeMs, 2);
  expect(first).toBeGreaterThan(5);
  expect(first).toBeLessThan(60);
  // Full jitter: 150 s on average between two requests.
  expect(second).toBeLessThan(45);
});

test('certificates that live for an hour are asked for once an hour, in time', async () => {
  const requests = await requestsByHour(usualConfig, 3_600_000, 12);
  expect(requests.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(19);
});

test('answers that are refused for good are asked for at the pace of retry.failedAfterMs', async () => {
  const [first = 0, second = 0] = await requestsByHour(usualConfig, 3_600_000, 2, {
    provisioning: 'certificate expired',
  });
  expect(first).toBeLessThanOrEqual(5);
  expect(second).toBeLessThanOrEqual(4);
});

test('nor does a NATS server that is away make requests of certificates that live for seconds', async () => {
  const [first = 0, second = 0] = await requestsByHour(usualConfig, 9_000, 2, { nats: 'refused' });
  expect(first).toBeLessThan(60);
  expect(second).toBeLessThan(45);
});
