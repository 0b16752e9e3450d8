import type { Identity } from '../../src/services/onboarding/register.ts';
import { type DeviceState, parseState } from '../../src/services/state/deviceState.ts';
import type { SimulatedDisk } from './disk.ts';
import { earlierAlias, natsUrl, type SimulatedFleet } from './fleet.ts';
import * as pki from './pki.ts';
import type { Plan } from './plan.ts';

export const folder = '/var/lib/onboardd';
/** What an earlier agent left. */
export const adopted = { id: 'a'.repeat(32), key: 'agentkey' } as const;
const keyFiles = ['identity.key', 'identity.key.next', 'identity.key.previous'];
export const pathOf = (name: string) => `${folder}/${name}`;

interface Watched {
  readonly plan: Plan;
  readonly disk: SimulatedDisk;
  readonly fleet: SimulatedFleet;
  /** Files that something other than the device damaged, as often as it did */
  readonly damaged: string[];
  readonly violate: (what: string) => void;
}

/** What must hold at every step of a life, seen from outside: from the wire, the fleet and the disk. */
export function createInvariants({ plan, disk, fleet, damaged, violate }: Watched) {
  const ids = new Set<string>();
  const keys = new Set<string>();
  const certified = new Set<string>();
  /** Files that hold a usable pair */
  let checked = '';
  /** A reset took what an earlier agent left. */
  let agentIsGone = false;
  let isBeingReset = false;
  /** A reset took the key, or may have: the id is all that is left, in `state.json` and beside it. */
  let keyIsGone = false;
  const lostState = () => damaged.includes('state.json');
  /** What was damaged held all that there was of the identity. */
  const mayForget = () =>
    lostState() && (damaged.includes('identity.key') || damaged.includes('device_id.txt'));

  /** The state that a power cut now would leave for sure. */
  function durableState(): DeviceState | null {
    try {
      return parseState(disk.durable(pathOf('state.json')) ?? '');
    } catch {
      return null;
    }
  }

  const isDurable = (key: string) =>
    keyFiles.some((name) => disk.durable(pathOf(name))?.includes(`KEY ${key} KEY`));

  return {
    /** Whatever is under way: the key of the certificate in use is on the disk, and a power cut does not take it. */
    checkPair(): void {
      if (damaged.includes('identity.key') || lostState() || isBeingReset) return;
      const seen = ['state.json', ...keyFiles].map((name) => disk.durable(pathOf(name))).join();
      if (seen === checked) return;
      checked = seen;
      const key = keyInUse(durableState());
      if (key !== null && !isDurable(key)) violate('the key of the certificate in use is lost');
    },

    aliasNow: () => durableState()?.registration?.alias ?? null,
    certificateNow: () => durableState()?.provisioned?.certificate ?? '',

    /** The id is nowhere: the device may say so and stop. */
    mayBeUnknown: () => lostState() && damaged.includes('device_id.txt'),

    /** There is a state that says which machine made it. */
    isBound(): boolean {
      try {
        return parseState(disk.read(pathOf('state.json')) ?? '').machine !== null;
      } catch {
        return false;
      }
    },

    /** Somebody begins to reset the device: what it was before binds it no more. */
    noteReset(keepsId: boolean): void {
      const id = durableState()?.deviceId;
      if (id !== undefined) fleet.forgotten(id);
      if (!keepsId) ids.clear();
      keys.clear();
      certified.clear();
      agentIsGone = true;
      isBeingReset = true;
      keyIsGone = true;
    },

    /** A reset says that it is done. @param id before it; null: it was nowhere */
    checkForgotten(keepsId: boolean, id: string | null, outside: readonly string[]): void {
      const kept = keepsId && id !== null ? ['device_id.txt', 'state.json'] : [];
      const left = disk.names().filter((path) => path.startsWith(folder) || outside.includes(path));
      const more = left.filter((path) => !kept.map(pathOf).includes(path));
      if (more.length > 0) violate(`a reset left ${more.join(', ')}`);
      const state = durableState();
      if (kept.length > 0 && state?.deviceId !== id) violate('a reset did not keep the id');
      if (state?.registration || state?.provisioned || state?.resetting)
        violate('a reset left part of an identity');
      damaged.splice(0);
      isBeingReset = false;
    },

    /** Something leaves the device: no reset of it was interrupted. */
    checkWhole(): void {
      if (durableState()?.resetting) violate('a device whose reset was interrupted goes on');
    },

    /** A request for a certificate leaves: one id, one key, both durable. */
    checkRequest(json: string): void {
      const { key, commonName } = JSON.parse((JSON.parse(json) as { csr: string }).csr) as pki.SigningRequest;
      const id = commonName.split('/')[3] ?? '';
      // What a reset left was damaged before it was registered anew: from here on this is the identity.
      if (keyIsGone && lostState() && !ids.has(id)) {
        ids.clear();
        keys.clear();
      }
      ids.add(id);
      keys.add(key);
      if (!isDurable(key)) violate('a CSR left before its key was durable');
      if (durableState()?.deviceId !== id) violate('a CSR left before its device id was durable');
      if (ids.size > 1 && !mayForget()) violate(`a second identity: ${[...ids].join(', ')}`);
      const inUse = keyInUse(durableState());
      if (inUse !== null) certified.add(inUse);
      // With a new key for each renewal, one more than were certified.
      const rotated = plan.newKey ? certified.size : 0;
      const lost = damaged.filter((name) => name === 'identity.key').length + (mayForget() ? 1 : 0);
      const mostKeys = 1 + rotated + lost;
      if (keys.size > mostKeys) violate(`${keys.size} keys were sent to be signed`);
      if (plan.adopted === undefined || agentIsGone) return;
      if (id !== adopted.id) violate('the id of the earlier agent was not kept');
      const isRotated = plan.newKey && certified.size > 0;
      const mayLoseKey = plan.adopted === 'no key' || damaged.includes('identity.key') || isRotated;
      if (key !== adopted.key && !mayLoseKey) violate('the key of the earlier agent was not kept');
    },

    /** A connection is made: to the fleet's server, with its CA, with the key of the certificate. */
    checkIdentity(identity: Identity): void {
      // The very first answer is believed where nothing is pinned: until a NATS server was opened with it.
      if (identity.caCertificate !== fleet.ca && (fleet.wasOpened() || plan.pinned))
        violate('another CA is trusted');
      const [leaf] = pki.parseCertificates(identity.certificate);
      if (leaf?.spkiSha256 !== pki.spkiSha256Of(identity.key)) violate('the certificate is for another key');
    },

    /** A question leaves: durable, never after the answer, never under a second id. */
    checkQuestion(id: string, messageId: string | undefined): void {
      const state = durableState();
      if (state?.registration) violate('a registered device asks again');
      if (state?.request?.messageId !== messageId) violate('a question left before it was durable');
      const open = fleet.heard.get(id) ?? new Set();
      const isRepeated = open.has(messageId ?? '');
      if (plan.adopted !== undefined && !agentIsGone && id !== adopted.id)
        violate('a question under another id than the agent’s');
      if (!isRepeated && [...open].some((former) => !fleet.dropped.has(former)) && !lostState())
        violate('a question under a new message id, while the former has no answer and was not dropped');
    },

    /** The registration that it had, and so the answer, is left: the next question is another one. */
    noteLeft(): void {
      const state = durableState();
      if (state !== null && state.registration === null) fleet.heard.get(state.deviceId)?.clear();
    },

    /** The device says that it is registered. */
    checkRegistered(): void {
      keyIsGone = false;
      const state = durableState();
      // Whatever it asked has its answer: should the fleet refuse it later, it asks anew.
      if (state?.registration) fleet.heard.get(state.deviceId)?.clear();
      if (!state?.registration) violate('registered, and not durably so');
      else if (plan.clash) violate('registered under the id of another device');
      else if (!fleet.registry.has(state.deviceId)) violate('registered, and the fleet did not accept it');
      else if (state.provisioned?.caCertificate !== fleet.ca) violate('registered with another CA');
      else if (state.provisioned.natsUrl !== natsUrl)
        violate('registered, with the address of another server');
      else if (state.registration.alias === earlierAlias) violate('registered by an old result');
    },

    /** What the fleet was told of a device that tells changes. @param buildVersion that runs */
    checkAnnounced(buildVersion: string): void {
      const announced = durableState()?.registration?.announced;
      if (announced?.buildVersion !== buildVersion && !lostState())
        violate(`build version ${buildVersion} runs, and ${announced?.buildVersion} was announced`);
    },

    checkRenewed(): void {
      const state = durableState();
      const provisioned = state?.provisioned;
      const inUse = keyInUse(state);
      if (inUse !== null) certified.add(inUse);
      if (provisioned?.caCertificate !== fleet.ca) violate('a renewal brought another CA');
      else if (provisioned.natsUrl !== natsUrl) violate('a renewal brought the address of another server');
      else if (state?.previous && !fleet.wasOpenedWith(provisioned.certificate))
        violate('a renewed certificate took the place of one that lives before it opened NATS');
    },

    checkCertificateLives(now: number): void {
      const certificate = durableState()?.provisioned?.certificate;
      const [leaf] = certificate === undefined ? [] : pki.parseCertificates(certificate);
      if (leaf === undefined || leaf.notAfter.getTime() < now) violate('the certificate ran out');
    },

    /** What a crash left: each file whole, the old one or the new one. */
    checkDisk(): void {
      for (const name of ['state.json', ...keyFiles, 'device_id.txt']) {
        const text = disk.read(pathOf(name));
        if (text === null || damaged.includes(name)) continue;
        try {
          if (name === 'state.json') parseState(text);
          else if (keyFiles.includes(name)) pki.spkiSha256Of(text);
          else if (text === '') throw new Error('empty');
        } catch {
          violate(`${name} is half written: ${JSON.stringify(text.slice(0, 40))}`);
        }
      }
    },
  };
}

function keyInUse(state: DeviceState | null): string | null {
  const certificate = state?.provisioned?.certificate;
  return certificate === undefined ? null : (pki.parseCertificates(certificate)[0]?.spkiSha256 ?? null);
}
