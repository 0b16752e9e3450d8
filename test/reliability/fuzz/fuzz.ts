import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { createAuthority } from '../../../fleet/ca.ts';
import { readAgentEnvironment } from '../../../src/adapters/configFile.ts';
import * as pki from '../../../src/adapters/pki.ts';
import { parseNatsAddresses } from '../../../src/config/natsAddress.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import { describe, OnboardingError, redact } from '../../../src/errors/onboardingError.ts';
import { acceptCertificate } from '../../../src/services/onboarding/acceptCertificate.ts';
import { readAcknowledgement, readResult } from '../../../src/services/onboarding/registrationResult.ts';
import { requestCertificate } from '../../../src/services/onboarding/requestCertificate.ts';
import { resume } from '../../../src/services/onboarding/resume.ts';
import {
  type DeviceState,
  files,
  newState,
  parseState,
  type StateDirectory,
} from '../../../src/services/state/deviceState.ts';
import { writeSection } from '../../support/reliabilityPage.ts';
import { anyShape, everyShape, growthFault, type Shape } from './growth.ts';

/**
 * Parsers under fuzz: whatever arrives, they answer or refuse with an error of the catalogue, in bounded time, pollute
 * no prototype, and take no rubbish for a success. Their time grows no faster than their text.
 *
 * `npm run test:fuzz [-- --cases N] [-- --slow N] [-- --growth N] [-- --seed N] [-- --write]`: N cases in all of the
 * parsers, `--slow` more of the two that read keys and certificates, which take a thousand times as long, and `--growth`
 * shapes of long texts for each reader.
 */
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    slow: { type: 'string', default: '20000' },
    growth: { type: 'string', default: '3000' },
    seed: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
const slowestMs = 1_000;

const key = await pki.generateKey('ec-p256');
const deviceId = '9000f4db6a8645c7a5445cb56ac3ce22';
const authority = await createAuthority({});
const csr = await pki.certificateRequest(key, `/Finland~Solita/fleet/${deviceId}/registration_agent`);
const { chain: certificate } = await authority.issueClient({ csrPem: csr });
const now = Date.now();
const answer = { certificate, caCertificate: authority.pem, fleetManagementNatsUrl: 'tls://10.0.0.1:4222' };
const state: DeviceState = {
  ...newState(deviceId),
  provisioned: {
    certificate,
    caCertificate: authority.pem,
    natsUrl: 'a:1',
    renewAt: new Date(now).toISOString(),
    opened: true,
  },
  registration: {
    alias: 'a',
    at: new Date(now).toISOString(),
    result: '{"status":"success"}',
    announced: null,
  },
};
const success = '{"status":"success","payload":{"alias":"a","token":"aGVsbG8K"},"alias":"a"}';

/** A valid text with a few characters replaced, removed, doubled or cut off. */
function mutated(text: string): fc.Arbitrary<string> {
  const edit = fc.record({
    at: fc.nat(text.length),
    length: fc.nat(12),
    by: fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom('"', '}', ',', '\0', '__proto__', 'null', '[', '-----END'),
    ),
  });
  return fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) =>
      edits.reduce((all, { at, length, by }) => all.slice(0, at) + by + all.slice(at + length), text),
    );
}

/** A certificate with bytes of its DER changed. */
function mutatedCertificate(pem: string): fc.Arbitrary<string> {
  const { raw } = new X509Certificate(pem);
  return fc
    .array(fc.tuple(fc.nat(raw.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    .map((changes) => {
      const der = Buffer.from(raw);
      for (const [at, byte] of changes) der[at] = byte;
      return `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
    });
}

const anyText = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.json());

function memory(content: Record<string, string>): StateDirectory {
  const all = new Map(Object.entries(content));
  return {
    read: (name) => all.get(name) ?? null,
    write: (name, text) => void all.set(name, text),
    refresh: (name, text) => void all.set(name, text),
    settle: () => undefined,
    note: () => undefined,
    restrict: () => undefined,
    quarantine: (name) => {
      all.delete(name);
      return `${name}.damaged-1`;
    },
    remove: (name) => void all.delete(name),
  };
}

/** Runs a parser; an error must be one that the caller knows. @returns undefined where it refused */
async function tried<T>(parse: () => T | Promise<T>): Promise<T | undefined> {
  const begun = process.cpuUsage();
  const outcome = await attempt(parse);
  const { user, system } = process.cpuUsage(begun);
  if ((user + system) / 1000 > slowestMs) throw new Error('too slow');
  if (Object.keys(Object.prototype).length > 0) throw new Error('a prototype was polluted');
  return outcome;
}

async function attempt<T>(parse: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await parse();
  } catch (error) {
    const known =
      error instanceof OnboardingError || (error instanceof TypeError && error.constructor === TypeError);
    if (!known) throw error;
    if (error.message.length > 1_000) throw new Error(`a message of ${error.message.length} characters`);
    return undefined;
  }
}

function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

interface Target {
  readonly name: string;
  /** Part of all cases, or of the slow ones */
  readonly share: number;
  readonly slow?: true;
  readonly property: fc.IAsyncProperty<[string]>;
}

const host = {
  stateDir: '/s',
  architecture: 'arm64',
  buildVersion: null,
  logFormat: 'json',
  tokenFile: null,
  caFile: null,
} as const;
const targets: Target[] = [
  {
    name: 'registration results',
    share: 0.3,
    property: fc.asyncProperty(fc.oneof(anyText, mutated(success)), async (text) => {
      const result = await tried(() => readResult(text));
      readAcknowledgement(text);
      if (result?.kind === 'success') {
        const json = JSON.parse(text);
        must(json.status === 'success' || json.status === undefined, `registered on ${text}`);
      }
    }),
  },
  {
    name: 'NATS addresses',
    share: 0.25,
    property: fc.asyncProperty(
      fc.oneof(anyText, mutated('nats://user:pw@a.example:4222,tls://[::1]:1')),
      async (text) => {
        for (const { host: name, port } of (await tried(() => parseNatsAddresses(text))) ?? []) {
          must(
            name !== '' && !/\s/.test(name) && Number.isInteger(port) && port > 0 && port < 65536,
            `address ${text}`,
          );
        }
      },
    ),
  },
  {
    name: 'state.json',
    share: 0.25,
    property: fc.asyncProperty(fc.oneof(anyText, mutated(JSON.stringify(state))), async (text) => {
      const parsed = await tried(() => parseState(text));
      if (parsed) must(/^[A-Za-z0-9_-]{1,64}$/.test(parsed.deviceId), 'a device id that fits no subject');
    }),
  },
  {
    name: 'configuration',
    share: 0.2,
    property: fc.asyncProperty(
      fc.oneof(
        fc.json(),
        mutated('{"provisioning":{"url":"http://u:secret@h"},"device":{"type":"m"},"retry":{"factor":2}}'),
      ),
      async (text) => {
        const file: unknown = await Promise.resolve(text)
          .then(JSON.parse)
          .catch(() => ({}));
        const found = await tried(() =>
          resolveConfig({ flags: {}, environment: {}, overlay: new Map(), file }, host),
        );
        must(found !== undefined, 'an exception instead of problems');
        must(
          !/u:secret@/.test(JSON.stringify('problems' in (found ?? {}) ? found : {})),
          'a credential in a problem',
        );
      },
    ),
  },
  {
    name: 'a state directory of rubbish',
    share: 0.5,
    slow: true,
    property: fc.asyncProperty(
      fc.oneof(anyText, mutated(JSON.stringify(state)), mutated(key)),
      async (text) => {
        for (const name of [files.state, files.key, files.deviceId, files.certificate, files.registration]) {
          const whole = {
            [files.state]: JSON.stringify(state),
            [files.key]: key,
            [files.deviceId]: deviceId,
            [files.certificate]: certificate,
          };
          const directory = memory({ ...whole, [name]: text });
          const stage = await tried(() =>
            resume(
              {
                directory,
                pki,
                now: () => now,
                machine: () => ({ hardware: null, installation: null }),
                randomUUID: () => 'ffff-ffff',
                onQuarantined: () => {},
                onLeft: () => {},
                onReplaced: () => {},
              },
              null,
            ),
          );
          const after = directory.read(files.state);
          const kept =
            stage === undefined || name === files.state || JSON.parse(after ?? '').deviceId === deviceId;
          must(kept, `${name}: the identity was replaced`);
        }
      },
    ),
  },
  {
    name: 'provisioning answers and certificates',
    share: 0.5,
    slow: true,
    property: fc.asyncProperty(
      fc.oneof(
        anyText,
        mutated(JSON.stringify(answer)),
        mutatedCertificate(certificate).map((pem) => JSON.stringify({ ...answer, certificate: pem })),
        mutatedCertificate(authority.pem).map((pem) => JSON.stringify({ ...answer, caCertificate: pem })),
      ),
      async (body) => {
        const directory = memory({
          [files.state]: JSON.stringify(newState(deviceId)),
          [files.key]: key,
        });
        const post = async () => ({
          status: 200,
          contentType: 'application/json',
          body,
          serverTime: now,
          retryAfterMs: null,
        });
        const fixed = { ...pki, certificateRequest: async () => csr };
        await tried(() =>
          requestCertificate(
            { directory, pki: fixed, post, now: () => now, random: () => 0.5 },
            {
              swarmId: null,
              commonName: '/Finland~Solita/fleet/{id}/registration_agent',
              natsUrl: null,
              renewalAt: 0.8,
              authenticated: false,
              fleetCa: null,
              builtAt: 0,
            },
            { isReplacement: false },
            new AbortController().signal,
          ),
        );
        const { provisioned } = parseState(directory.read(files.state) ?? '');
        if (provisioned === null) return;
        const expected = {
          key,
          spkiSha256: pki.spkiSha256Of(key),
          deviceId,
          commonName: `/Finland~Solita/fleet/${deviceId}/registration_agent`,
          now,
          serverTime: now,
          trusted: null,
          fleetCa: null,
          renews: null,
        };
        await acceptCertificate(pki, provisioned, expected, new AbortController().signal);
      },
    ),
  },
];

const folder = mkdtempSync(join(tmpdir(), 'fuzz-'));
const environmentFile = join(folder, 'agent.env');
const resolve = (file: unknown, environment: Record<string, string> = {}) =>
  resolveConfig({ flags: {}, environment, overlay: new Map(), file }, host);
/** Reads a text from elsewhere; whether it answers or refuses is all the same. */
const readers: Readonly<Record<string, (text: string) => unknown>> = {
  redact,
  describe: (text) => describe(new Error(text)),
  'messages of errors': (text) => new OnboardingError('NATS_DENIED', text),
  'registration results': readResult,
  'NATS addresses': parseNatsAddresses,
  certificates: pki.parseCertificates,
  'state.json': parseState,
  'values of the configuration': (text) =>
    resolve({ provisioning: { url: text }, nats: { url: text }, device: { type: text, alias: text } }),
  'keys of the configuration': (text) => resolve({ [text]: text, device: { [text]: { [text]: 1 } } }),
  'environment of the configuration': (text) =>
    resolve({}, { ONBOARDD_NATS_URL: text, [`ONBOARDD_${text}`]: text }),
  'environment files': (text) => {
    writeFileSync(environmentFile, text);
    readAgentEnvironment(environmentFile);
  },
};

/** @throws {Error} where the time grows faster than the text */
function mustGrowLinearly(read: (text: string) => unknown, shape: Shape): void {
  const quiet = (text: string) => {
    try {
      read(text);
    } catch (error) {
      if (!(error instanceof OnboardingError || error instanceof TypeError)) throw error;
    }
  };
  const fault = growthFault(quiet, shape);
  if (fault !== null) throw new Error(fault);
}

console.log(`seed ${seed}`);
const rows = ['| parser | cases | took | failed |', '| --- | --- | --- | --- |'];
let failed = 0;
let all = 0;
for (const { name, share, slow, property } of targets) {
  const numRuns = Math.max(1, Math.round(Number(slow ? values.slow : values.cases) * share));
  const begun = performance.now();
  const result = await fc.check(property, { seed, numRuns });
  const took = ((performance.now() - begun) / 1000).toFixed(1);
  all += result.numRuns;
  rows.push(`| ${name} | ${numRuns.toLocaleString('en')} | ${took} s | ${result.failed ? 'yes' : 'none'} |`);
  console.log(rows.at(-1));
  if (!result.failed) continue;
  failed++;
  console.log(`  ${String(result.errorInstance)}\n  shortest: ${JSON.stringify(result.counterexample)}`);
}
for (const [name, read] of Object.entries(readers)) {
  const always = everyShape();
  const property = fc.property(anyShape, (shape) => mustGrowLinearly(read, shape));
  const begun = performance.now();
  const result = fc.check(property, {
    seed,
    numRuns: always.length + Number(values.growth),
    examples: always.map((shape): [Shape] => [shape]),
    // Each smaller one would be timed too, for minutes.
    endOnFailure: true,
  });
  const took = ((performance.now() - begun) / 1000).toFixed(1);
  all += result.numRuns;
  const outcome = result.failed ? 'yes' : 'none';
  rows.push(`| time of ${name} | ${result.numRuns.toLocaleString('en')} | ${took} s | ${outcome} |`);
  console.log(rows.at(-1));
  if (!result.failed) continue;
  failed++;
  console.log(`  ${String(result.errorInstance)}\n  shape: ${JSON.stringify(result.counterexample)}`);
}
rmSync(folder, { recursive: true });
const summary = `seed ${seed}: ${all.toLocaleString('en')} cases, ${targets.length + Object.keys(readers).length - failed} targets passed, ${failed} failed`;
console.log(summary);
if (values.write && failed === 0) writeSection('fuzz', 'test:fuzz', [...rows, '', `${summary}.`]);
process.exit(failed > 0 ? 1 : 0);
