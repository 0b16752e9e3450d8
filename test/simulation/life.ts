import { sha256 } from '../../src/adapters/disk/digest.ts';
import { readOwn, removeDurably, stageRefresh } from '../../src/adapters/disk/durableFile.ts';
import { stateDirectory } from '../../src/adapters/disk/lockedStateDirectory.ts';
import { type AgentSettings, noAgent } from '../../src/config/agentSettings.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import type { Config } from '../../src/config/schema.ts';
import { type Daemon, type LogContext, startDaemon } from '../../src/daemon/daemon.ts';
import type { Platform } from '../../src/daemon/platform.ts';
import { isDeviceId, parseState } from '../../src/services/state/deviceState.ts';
import { forget } from '../../src/services/state/reset.ts';
import { chanceOf } from '../support/chance.ts';
import { createClock } from './clock.ts';
import { createDisk } from './disk.ts';
import { createFleet, natsUrl } from './fleet.ts';
import { adopted, createInvariants, folder, pathOf } from './invariants.ts';
import { createLoop, settled } from './loop.ts';
import * as pki from './pki.ts';
import { type Adversity, type Crash, healAt, type Plan, type Reset, type Strike } from './plan.ts';

/** What became of one life. */
export interface Outcome {
  /** The first invariant that was broken; null: none */
  readonly violation: string | null;
  readonly story: readonly string[];
  /** What the life reached: edges, codes, crash points, faults. */
  readonly reached: ReadonlySet<string>;
  readonly boots: number;
  readonly steps: number;
  /** Steps of the first boot when it requested its second certificate, and when that was in use and delivered; null: it did not */
  readonly renewal: readonly [number, number] | null;
  readonly endedAs: 'registered' | 'failed' | 'violation';
}

const start = Date.UTC(2026, 10, 23);
const builtAt = start - 30 * 86_400_000;
const exported = { token: '/var/lib/agent/PAT.pat' };
const minute = 60_000;
const hour = 60 * minute;
/** The longest a healthy fleet may wait for a device: the longest Retry-After, rests in `failed`, some backoffs. */
const patienceMs = 4 * hour;
const clashing = 'clashing-device';
const agentFile = (name: string) => `/var/lib/fogdata/${name}`;
const agent: AgentSettings = {
  ...noAgent,
  files: {
    deviceId: agentFile('device_id.txt'),
    deviceIdJson: null,
    key: agentFile('identity.key'),
    certificate: agentFile('identity.crt'),
    caCertificate: agentFile('identity_ca.crt'),
    natsUrl: agentFile('service_nats_url.txt'),
    identity: null,
  },
};
const handedOn = 'handed-on-device';

const resolved = resolveConfig(
  {
    flags: { stateDir: folder },
    environment: {},
    overlay: new Map(),
    file: { provisioning: { url: 'http://10.0.0.1' }, device: { type: 'mobile' }, exports: exported },
  },
  {
    stateDir: folder,
    architecture: 'arm64',
    buildVersion: '1',
    logFormat: 'json',
    tokenFile: null,
    caFile: null,
  },
);
if ('problems' in resolved) throw new Error(resolved.problems.join());
/** The defaults, with the least that must be set. */
export const usualConfig = resolved.config;

interface Boot {
  readonly number: number;
  readonly logContext: LogContext;
  daemon: Daemon | null;
  alive: boolean;
  registered: boolean;
  steps: number;
  crash: Crash | null;
  lastFailure: string | null;
  /** Nothing was sent since the last failure. */
  waits: boolean;
  /** Nothing was sent and nothing logged since the clock was set. */
  quiet: boolean;
}

function attempt<T>(call: () => T): T | null {
  try {
    return call();
  } catch {
    return null;
  }
}

/** The agent's files: the certificate is a day old, and lives as long as others do. */
function leftBehind({ adopted: what, certificateLifeMs }: Plan, ca: string): Record<string, string> {
  const certificate = pki.certificatePem({
    subject: usualConfig.identity.commonName.replace('{id}', adopted.id),
    key: adopted.key,
    issuer: 'fleetroot',
    notBefore: start - minute,
    notAfter: start + certificateLifeMs,
    authority: false,
    serial: 0,
  });
  return {
    'device_id.txt': `${adopted.id}\n`,
    'identity_ca.crt': ca,
    'service_nats_url.txt': natsUrl,
    ...(what !== 'no key' && { 'identity.key': pki.keyPem(adopted.key) }),
    ...(what !== 'no certificate' && { 'identity.crt': certificate }),
  };
}

/**
 * One whole life of a device: the real machine and the real services over a simulated disk, network, clock and fleet.
 * The invariants are looked at in every step; the first one broken ends the life.
 */
export async function live(plan: Plan, tellStory = false): Promise<Outcome> {
  const loop = createLoop(start);
  const story: string[] = [];
  const reached = new Set<string>();
  const damaged: string[] = [];
  let violation: string | null = null;
  let boot = null as Boot | null;
  let machine = 'board';
  /** The disk came into another machine with an identity on it. */
  let isClone = false;
  let boots = 0;
  let requests = 0;
  let renewalAt = 0;
  let renewedAt: number | null = null;
  let steps = 0;
  /** Registered, and nothing befalls the device any more. */
  let livesOn = false;
  /** Another program than the daemon is at work on the device. */
  let tool: { steps: number; readonly strike: Strike | null; isStruck: boolean } | null = null;
  /** What strikes the device next, counted from a moment of its life. */
  const strikes: { steps: number; due: readonly Strike[] } = { steps: 0, due: [] };

  const tell = (line: string) => {
    if (tellStory) story.push(`${((loop.now() - start) / 1000).toFixed(3).padStart(11)} s  ${line}`);
  };
  const violate = (what: string) => {
    if (violation === null) tell(`VIOLATION: ${what}`);
    violation ??= what;
  };
  const since = () => loop.now() - start;
  const active = <Kind extends Adversity['kind']>(kind: Kind) => {
    if (since() >= healAt) return null;
    for (const adversity of plan.adversities) {
      if (adversity.kind !== kind || !('from' in adversity)) continue;
      if (adversity.from > since() || adversity.to <= since()) continue;
      reached.add(`fault ${kind}: ${adversity.fault}`);
      return adversity.fault as Extract<Adversity, { kind: Kind; fault: string }>['fault'];
    }
    return null;
  };
  const of = <Kind extends Adversity['kind']>(kind: Kind) =>
    plan.adversities.filter((one): one is Extract<Adversity, { kind: Kind }> => one.kind === kind);

  const crashes = plan.adversities.filter(
    (one): one is Crash => one.kind === 'power cut' || one.kind === 'kill',
  );

  /** A moment at which the device can be struck. */
  const step = (operation: string, name: string) => {
    if (tool !== null) {
      tool.isStruck ||= ++tool.steps === tool.strike?.step;
      if (!tool.isStruck) return;
      reached.add(`reset: ${tool.strike?.kind} before ${operation} ${name.replace(`${folder}/`, '')}`);
      throw new Error('the power is off');
    }
    if (boot === null || !boot.alive) throw new Error('the power is off');
    steps++;
    boot.steps++;
    if (operation === 'send') {
      boot.waits = boot.quiet = false;
      invariants.checkWhole();
    }
    if (plan.newKey) invariants.checkPair();
    const crash = crashNow(boot);
    if (crash === undefined) return;
    boot.crash = crash;
    boot.alive = false;
    const where = `${crash.kind} before ${operation} ${name.replace(`${folder}/`, '')}`;
    reached.add(where);
    tell(where);
    throw new Error('the power is off');
  };
  function crashNow(own: Boot): Crash | undefined {
    const [strike] = strikes.due;
    if (strike !== undefined && ++strikes.steps >= strike.step) {
      strikes.due = strikes.due.slice(1);
      strikes.steps = 0;
      return { ...strike, boot: own.number, offMs: 1000 };
    }
    if (since() >= healAt) return undefined;
    return crashes.find((one) => one.boot === own.number && one.step === own.steps);
  }
  const disk = createDisk(chanceOf(plan.seed, 'disk'), step, () => active('disk'));
  const fleet = createFleet({
    plan,
    loop,
    chance: chanceOf(plan.seed, 'fleet'),
    provisioningFault: () => active('provisioning'),
    natsFault: () => active('nats'),
    managerFault: () => active('manager'),
    adversary: () => active('adversary'),
    tell,
  });
  if (plan.clash) fleet.registry.set(clashing, 'another device');
  if (plan.adopted !== undefined) {
    fleet.registry.set(adopted.id, 'the agent');
    const left = leftBehind(plan, fleet.ca);
    for (const [name, text] of Object.entries(left)) disk.put(agentFile(name), text);
    reached.add(`adopts: ${plan.adopted}`);
  }
  if (plan.earlierLife) fleet.leaveResult(handedOn, start - minute);
  const invariants = createInvariants({ plan, disk, fleet, damaged, violate });
  const clock = createClock(loop, plan, {
    isAwake: () => boot?.alive === true,
    onSet: () => checkClockIsNoticed(),
    onSuspend: () => fleet.hangUp('told'),
    tell,
  });

  const deviceChance = chanceOf(plan.seed, 'device');
  let made = 0;
  const newId = () =>
    `${(++made).toString(16).padStart(8, '0')}-0000-4000-8000-${Math.floor(deviceChance() * 2 ** 40)
      .toString(16)
      .padStart(12, '0')}`;
  const config: Config = {
    ...usualConfig,
    provisioning: { ...usualConfig.provisioning, url: plan.https ? 'https://10.0.0.1' : 'http://10.0.0.1' },
    identity: {
      ...usualConfig.identity,
      deviceId: plan.clash ? clashing : plan.earlierLife ? handedOn : null,
    },
    registration: { ...usualConfig.registration, api: plan.api, onChange: of('update').length > 0 },
    retry: { ...usualConfig.retry, failedAfterMs: plan.failedAfterMs },
    renewal: { at: plan.rollsBack ? 0.1 : usualConfig.renewal.at, newKey: plan.newKey },
  };

  const versionAt = (number: number) =>
    `${of('update').filter(({ boot: from }) => from <= number).length + 1}`;

  function worldOf(own: Boot): Platform {
    const timed = (call: () => void) => () => own.alive && call();
    return {
      directory: stateDirectory(folder, disk.disk, () => () => {}).directory,
      readOutside: (path) => readOwn(path, disk.disk),
      stageExport: (path, text, mode) => stageRefresh(path, text, mode, { disk: disk.disk }),
      sha256,
      pki,
      newKey: async () => pki.keyPem(`key${newId().replaceAll('-', '')}`),
      post(json, signal) {
        step('send', 'csr');
        if (++requests === 2) renewalAt = own.steps;
        if (isClone) violate('a clone asks for a certificate');
        invariants.checkRequest(json);
        return fleet.post(json, signal, own.logContext.state === 'registered');
      },
      async connect(identity, signal) {
        step('send', 'connect');
        if (isClone) violate('a clone connects');
        invariants.checkIdentity(identity);
        const session = await fleet.connect(identity, signal);
        if (fleet.isAdversary(session)) violate("the device opened the adversary's NATS server");
        return {
          ...session,
          publishRequest(subject, text, headers) {
            step('send', 'question');
            invariants.checkQuestion(identity.deviceId, headers['Nats-Msg-Id']);
            session.publishRequest(subject, text, headers);
          },
        };
      },
      connectTimeoutMs: 35_000,
      machine: () => ({ hardware: machine, installation: 'system' }),
      now: clock.now,
      monotonic: clock.monotonic,
      random: deviceChance,
      randomUUID: newId,
      setTimer: (ms, call) => clock.after(ms, timed(call)),
      watchForSteps: (before, onStep) => clock.watch(before, timed(onStep)),
      timers: {
        setTimeout: (call, ms) => clock.after(ms, timed(call)),
        clearTimeout: (cancel) => (cancel as (() => void) | undefined)?.(),
      },
    };
  }

  function powerOn(): void {
    boots++;
    clock.boot();
    for (const { boot: number, file, how } of of('damage')) {
      if (number === boots && since() < healAt) damage(file, how);
    }
    for (const { boot: number } of of('other machine')) if (number === boots && since() < healAt) moveDisk();
    const device = { ...config.device, buildVersion: versionAt(boots) };
    const logContext: LogContext = { deviceId: null, state: 'idle' };
    const own: Boot = {
      number: boots,
      logContext,
      daemon: null,
      alive: true,
      registered: false,
      steps: 0,
      crash: null,
      lastFailure: null,
      waits: false,
      quiet: false,
    };
    boot = own;
    tell(`boot ${boots}`);
    try {
      const world = worldOf(own);
      own.daemon = startDaemon(
        world,
        {
          config: { ...config, device },
          hostname: 'device',
          agent: plan.adopted === undefined ? noAgent : agent,
          fleetCa: plan.pinned ? pki.parseCertificates(fleet.ca).map(({ fingerprint }) => fingerprint) : null,
          builtAt,
        },
        logContext,
        (_, event, text, fields) => {
          if (own.alive) onLog(own, event, text, fields ?? {});
        },
      );
      own.daemon.broken.catch((error: unknown) => {
        if (own.alive) violate(`a bug ended the daemon: ${error instanceof Error ? error.stack : error}`);
      });
    } catch (error) {
      if (own.alive) throw error;
    }
  }

  function powerOff(kind: 'power cut' | 'kill' | 'restart', offMs: number): void {
    if (boot === null) return;
    const own = boot;
    own.alive = false;
    own.daemon?.stop();
    fleet.hangUp('silently');
    if (kind === 'power cut') disk.cutPower();
    invariants.checkDisk();
    invariants.checkPair();
    boot = null;
    loop.at(loop.now() + offMs, powerOn);
  }

  /** Stops the daemon and runs `onboardd reset`; what is struck is started, refuses, and is reset again a minute later. */
  function resetDevice({ keepsId, strikes: [next, ...later] }: Omit<Reset, 'at' | 'kind'>): void {
    const strike = next ?? null;
    const again = (ms: number, left: readonly Strike[], keeps = keepsId) =>
      loop.at(loop.now() + ms, () => resetDevice({ keepsId: keeps, strikes: left }));
    if (boot === null) {
      again(1000, strike === null ? later : [strike, ...later]);
      return;
    }
    boot.alive = false;
    boot.daemon?.stop();
    fleet.hangUp('silently');
    boot = null;
    tool = { steps: 0, strike, isStruck: false };
    invariants.noteReset(keepsId);
    const how = `reset${keepsId ? ' --keep-id' : ''}`;
    try {
      runReset(keepsId);
      reached.add(how);
      tell(`${how}: done`);
    } catch (error) {
      const { code } = error as { code?: string };
      if (!tool.isStruck && code === undefined) throw error;
      tell(`${how}: ${tool.isStruck ? `${strike?.kind} before step ${strike?.step}` : code}`);
      if (tool.isStruck && strike?.kind === 'power cut') disk.cutPower();
      // An id that cannot be read cannot be kept.
      again(minute, later, keepsId && code !== 'STATE_CORRUPT');
    }
    tool = null;
    // Also of a reset that was struck: without the state there is nothing left that was copied.
    isClone &&= invariants.isBound();
    loop.at(loop.now() + 1000, powerOn);
  }

  function runReset(keepsId: boolean): void {
    const text = disk.read(pathOf('state.json'));
    const state = attempt(() => parseState(text ?? ''));
    const name = disk.read(pathOf('device_id.txt'))?.trim();
    const id = state?.deviceId ?? (name !== undefined && isDeviceId(name) ? name : null);
    const outside = [
      ...Object.values(exported),
      ...(plan.adopted === undefined ? [] : Object.values(agent.files).filter((path) => path !== null)),
    ];
    const remove = (path: string) => {
      removeDurably(path, disk.disk);
      return true;
    };
    forget(
      {
        directory: stateDirectory(folder, disk.disk, () => () => {}).directory,
        list: () => disk.disk.readdirSync(folder) as string[],
        remove: (own) => remove(pathOf(own)),
        removeExports: () => outside.forEach(remove),
        deviceId: () => id,
      },
      state,
      keepsId,
    );
    invariants.checkForgotten(keepsId, id, outside);
  }

  function moveDisk(): void {
    machine = `the board of boot ${boots}`;
    isClone = invariants.isBound();
    reached.add(isClone ? 'cloned with an identity' : 'cloned without an identity');
    tell('the disk is in another machine');
  }

  function damage(file: string, how: string): void {
    const text = disk.read(pathOf(file));
    if (text === null) return;
    const left: Record<string, string | null> = {
      emptied: '',
      cut: text.slice(0, text.length / 2),
      garbage: '\u0000\u0001garbage',
      gone: null,
    };
    damaged.push(file);
    // The binding went with it: what is rebuilt belongs to the machine that rebuilds it.
    if (file === 'state.json') isClone = false;
    reached.add(`damage ${file}: ${how}`);
    tell(`${file} is ${how}`);
    disk.put(pathOf(file), left[how] ?? null);
  }

  function onLog(own: Boot, event: string, text: string, fields: Readonly<Record<string, unknown>>): void {
    tell(`log: ${event} ${text}`);
    own.quiet = false;
    if (livesOn && fields.from === 'registered') violate('registered, and left again while all was well');
    if (event === 'state.changed') reached.add(`edge ${fields.from} → ${fields.to}`);
    if (event === 'certificate.renewed') {
      reached.add('edge registered → registered (renewed)');
      renewedAt ??= own.steps;
      invariants.checkRenewed();
    }
    if (event === 'registration.left') {
      reached.add(`left: ${fields.reason}`);
      invariants.noteLeft();
    }
    if (event === 'certificate.rolled-back') reached.add('rolled back');
    if (event === 'step.failed') {
      reached.add(`code ${fields.code} in ${fields.step}`);
      own.lastFailure = String(fields.code);
      own.waits = true;
      if (typeof fields.retryInMs !== 'number' && plan.failedAfterMs > 0)
        violate(`${text}: waits for nothing`);
    }
    if (event === 'device.registered') {
      own.registered = true;
      invariants.checkRegistered();
    }
  }

  /** `CLOCK_WRONG` is left within seconds of the clock being set. */
  function checkClockIsNoticed(): void {
    const own = boot;
    if (own?.lastFailure !== 'CLOCK_WRONG' || !own.waits) return;
    own.quiet = true;
    clock.after(10_000, () => {
      if (own.alive && own.quiet && !clock.wasAsleep(10_000))
        violate('the clock was set, and nothing happened for ten seconds');
    });
  }

  const afterEach = () => {
    if (boot?.crash) powerOff(boot.crash.kind, boot.crash.offMs);
  };
  for (const { at } of of('restart')) {
    loop.at(start + at, () => {
      if (boot?.alive) powerOff('restart', 1000);
    });
  }
  for (const { at, ...how } of of('reset')) loop.at(start + at, () => resetDevice(how));
  // Where `failed` rests for ever, somebody restarts the service once the trouble is over.
  for (const later of [1000, 30 * minute, hour, 2 * hour, 3 * hour]) {
    loop.at(start + healAt + later, () => {
      if (boot?.alive && boot.logContext.state === 'failed' && plan.failedAfterMs === 0)
        powerOff('restart', 1000);
    });
  }
  const broken = () => violation !== null;
  const registered = () => broken() || (boot?.alive === true && boot.logContext.state === 'registered');
  loop.at(start, powerOn);
  await loop.run(start + healAt, broken, afterEach);
  if (!broken()) tell('all is well again');
  await loop.run(start + healAt + patienceMs, registered, afterEach);
  const state = boot?.logContext.state;
  const lastCode = boot?.lastFailure;
  const lawfullyFailed =
    (isClone && lastCode === 'STATE_CLONED') ||
    (plan.clash && lastCode === 'REGISTRATION_REJECTED') ||
    (invariants.mayBeUnknown() && lastCode === 'STATE_CORRUPT');
  if (!broken() && state !== 'registered' && !lawfullyFailed)
    violate(`not registered ${patienceMs / hour} h after all was well: ${state}, ${lastCode}`);
  if (!broken() && state === 'registered') await liveOn();
  boot?.daemon?.stop();
  if (boot) (boot as Boot).alive = false;
  await settled();
  return {
    violation,
    story,
    reached,
    boots,
    steps,
    renewal: requests === 0 || renewedAt === null ? null : [renewalAt, renewedAt],
    endedAs: violation ? 'violation' : state === 'registered' ? 'registered' : 'failed',
  };

  /** A device whose certificate was taken back notices within a day and a bit, and is a member again with what it had. */
  async function comeBack(): Promise<void> {
    const before = invariants.aliasNow();
    fleet.revoke();
    tell('the fleet takes the certificates back');
    await loop.run(loop.now() + 26 * hour, broken, afterEach);
    if (broken()) return;
    if (boot?.logContext.state !== 'registered')
      violate(`revoked, and not back a day later: ${boot?.logContext.state}`);
    else if (fleet.isRevoked(invariants.certificateNow()))
      violate('revoked, and nothing was noticed for a day');
    else if (invariants.aliasNow() !== before) violate('the alias was lost with the certificate');
  }

  /** A renewed certificate that the fleet takes back makes way for the one before, which is renewed again. */
  async function rollBack(due: readonly Strike[]): Promise<void> {
    const before = invariants.certificateNow();
    const alias = invariants.aliasNow();
    const isRenewed = () => broken() || invariants.certificateNow() !== before;
    await loop.run(loop.now() + plan.certificateLifeMs, isRenewed, afterEach);
    if (broken()) return;
    fleet.revokeOnly(invariants.certificateNow());
    strikes.due = due;
    tell('the fleet takes the renewed certificate back');
    await loop.run(loop.now() + 30 * hour, broken, afterEach);
    strikes.due = [];
    await loop.run(loop.now() + 3 * minute, registered, afterEach);
    if (broken()) return;
    if (boot?.logContext.state !== 'registered') violate(`rolled back, then ${boot?.logContext.state}`);
    else if (fleet.isRevoked(invariants.certificateNow())) violate('a refused certificate stays in use');
    else if (invariants.aliasNow() !== alias) violate('the alias was lost in a rollback');
    invariants.checkCertificateLives(loop.now());
  }

  /** A registered device that starts again asks nobody; and its certificate never runs out. */
  async function liveOn(): Promise<void> {
    powerOff('restart', 1000);
    await loop.run(loop.now() + 3 * minute, broken, afterEach);
    if (!broken() && !registered()) violate('registered, started again, and not registered');
    if (!broken() && config.registration.onChange) invariants.checkAnnounced(versionAt(boots));
    if (plan.isRevoked) await comeBack();
    if (plan.rollsBack) await rollBack(plan.rollsBack.strikes);
    const isShort = plan.certificateLifeMs < 10 * hour;
    const liveOnMs = plan.liveOnMs ?? (isShort ? 1.3 * plan.certificateLifeMs : 0);
    if (liveOnMs === 0) return;
    livesOn = true;
    await loop.run(loop.now() + liveOnMs, broken, afterEach);
    if (!broken()) invariants.checkCertificateLives(loop.now());
    if (!broken() && boot?.logContext.state !== 'registered')
      violate(`registered, then ${boot?.logContext.state}`);
  }
}
