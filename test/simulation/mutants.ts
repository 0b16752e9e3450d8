import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

/** A fault that is put into the program on purpose: the simulation must find it. */
export interface Mutant {
  readonly name: string;
  readonly changes: readonly { readonly file: string; readonly from: string; readonly to: string }[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const one = (name: string, file: string, from: string, to: string): Mutant => ({
  name,
  changes: [{ file, from, to }],
});

export const mutants: readonly Mutant[] = [
  one(
    'a file is renamed before it is synced',
    'src/adapters/disk/durableFile.ts',
    'if (isSynced) disk.fsyncSync(file);',
    '',
  ),
  one(
    'the folder is not synced after a rename',
    'src/adapters/disk/durableFile.ts',
    "settle: () => attempt('write', path, () => syncFolder(dirname(path), disk))",
    'settle: () => undefined',
  ),
  one(
    'a question gets a new message id each time',
    'src/services/onboarding/pendingRequest.ts',
    '{ ...state.request, publishes: state.request.publishes + 1 }',
    '{ ...state.request, messageId: randomUUID(), publishes: state.request.publishes + 1 }',
  ),
  one(
    'a question gets a new message id as soon as the stream has stored it',
    'src/services/onboarding/judgeResult.ts',
    "if (acknowledgement === 'duplicate') return",
    'if (acknowledgement !== null) return',
  ),
  one(
    'a new message id is not recorded before it is published',
    'src/services/onboarding/register.ts',
    'const request = renewMessageId(attempt.ports);',
    'const request = { messageId: attempt.ports.randomUUID(), firstAt: isoTime(attempt.ports.now()), publishes: 1, afterSequence: null, afterStoredAt: null, announced: null };',
  ),
  one(
    'a question is not recorded before it is published',
    'src/services/onboarding/register.ts',
    'const request = recordRequest(ports, session, last, announcedBy(attempt.options.device));',
    'const request = { messageId: ports.randomUUID(), firstAt: isoTime(ports.now()), publishes: 1, afterSequence: null, afterStoredAt: null, announced: null };',
  ),
  {
    name: 'a damaged state makes a new identity',
    changes: [
      {
        file: 'src/services/onboarding/resume.ts',
        from: 'const rebuilt = traces ? rebuild(ports, spkiSha256, configuredId) : null;',
        to: 'const rebuilt = null;',
      },
      {
        file: 'src/services/onboarding/resume.ts',
        from: 'rebuilt === null && spkiSha256 !== null && configuredId === null',
        to: 'false',
      },
    ],
  },
  one(
    'the key of an earlier agent is not kept',
    'src/services/onboarding/adoptIdentity.ts',
    'if (key !== null && own === null) directory.write(files.key, key.pem, 0o600);',
    '',
  ),
  one(
    'an adoption writes the state before the key',
    'src/services/onboarding/adoptIdentity.ts',
    'if (key !== null && own === null) directory',
    'writeState(directory, newState(deviceId, now())); if (key !== null && own === null) directory',
  ),
  one(
    'a device that an earlier agent registered counts as refused',
    'src/services/onboarding/adoptIdentity.ts',
    'mayBeRegistered: true,',
    'mayBeRegistered: false,',
  ),
  one(
    'any “already registered” counts as registered',
    'src/services/onboarding/pendingRequest.ts',
    '(askedBefore && isAlreadyRegistered(result.error))',
    'isAlreadyRegistered(result.error)',
  ),
  one(
    'an earlier question without an answer is forgotten',
    'src/services/onboarding/pendingRequest.ts',
    'before.request !== null || before.mayBeRegistered',
    'false',
  ),
  one(
    'a device that registers anew does not know that it is registered',
    'src/services/onboarding/leaveRegistration.ts',
    'mayBeRegistered: true',
    'mayBeRegistered: false',
  ),
  one(
    'a changed announcement is not registered',
    'src/services/onboarding/leaveRegistration.ts',
    'keys.every((key) => before[key] === now[key])',
    'true',
  ),
  one(
    'a result of any age is taken for the answer',
    'src/services/onboarding/judgeResult.ts',
    'at !== null && at < askedAt - toleranceMs',
    'false',
  ),
  one(
    'a result that the stream held before the question is taken for the answer',
    'src/services/onboarding/judgeResult.ts',
    "if (isStale(message, request, facts)) return 'stale';",
    '',
  ),
  one(
    'the stream is not looked at before the first question',
    'src/services/onboarding/register.ts',
    'before.request !== null || !before.idIsNew',
    'before.request !== null',
  ),
  one(
    'a renewal takes any CA',
    'src/services/onboarding/requestCertificate.ts',
    'options.authenticated ? null : (pinnedCa ?? present)',
    'null',
  ),
  one(
    'once its certificate has expired, a device takes any CA',
    'src/services/onboarding/requestCertificate.ts',
    'options.authenticated ? null : (pinnedCa ?? present)',
    'options.authenticated ? null : present',
  ),
  one(
    'a pin of the CA is passed over',
    'src/services/onboarding/acceptCertificate.ts',
    'if (fleetCa !== null && !fleetCa.includes(fingerprint))',
    'if (false)',
  ),
  one(
    'a renewal takes any address',
    'src/services/onboarding/requestCertificate.ts',
    'return moves && pinnedCa !== null && !options.authenticated;',
    'return false;',
  ),
  one(
    'a renewed certificate is taken without a trial',
    'src/services/onboarding/renewCertificate.ts',
    'const opened = await opensOverTls(ports.connect, tried, signal);',
    'const opened = tried === null;',
  ),
  one(
    'a new key takes the place of the old one before its certificate does',
    'src/services/onboarding/renewCertificate.ts',
    'directory.write(files.nextKey, pem, 0o600);',
    'directory.write(files.nextKey, pem, 0o600); directory.write(files.key, pem, 0o600);',
  ),
  one(
    'a switch of keys that was interrupted is not finished',
    'src/services/onboarding/keyRotation.ts',
    'if (inUse !== null && inUse === next) {',
    'if (String(inUse) === "") {',
  ),
  one(
    'a rollback does not bring the key back',
    'src/services/onboarding/keyRotation.ts',
    'copy(directory, files.previousKey, files.key);',
    '',
  ),
  one(
    'a device whose reset was interrupted goes on',
    'src/services/onboarding/resume.ts',
    'if (resetting) {',
    'if (false) {',
  ),
  one(
    'a device whose certificate was refused forgets that it was registered',
    'src/services/onboarding/verifyRegistration.ts',
    '...leave(state),',
    '...leave(state), mayBeRegistered: false,',
  ),
  one(
    'a certificate that never opens NATS is tried for ever',
    'src/machines/unopened.ts',
    'if (!isUntried) return isForGood(refusals, now, retry);',
    'if (retry) return false;',
  ),
  one(
    'the certificate is not renewed before it runs out',
    'src/services/onboarding/resume.ts',
    "now() >= Date.parse(provisioned.renewAt) ? 'due' : 'usable'",
    "'usable'",
  ),
  one(
    'steps of the clock are not noticed',
    'src/daemon/actors.ts',
    "sendBack({ type: 'CLOCK_STEPPED' })",
    'undefined',
  ),
  one(
    'a timeout ends the tries',
    'src/machines/onboardingSetup.ts',
    'backoff: ({ context }) => context.delayMs,',
    'backoff: 2 ** 31 - 1,',
  ),
];

type Hunt = typeof import('./hunt.ts');

/** The simulation, built with the fault in the program. @throws {Error} where the source has changed under the fault */
export async function buildMutant({ changes }: Mutant): Promise<Hunt & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'mutant-'));
  const outfile = join(folder, 'hunt.mjs');
  await build({
    entryPoints: [join(root, 'test/simulation/hunt.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    logLevel: 'error',
    plugins: [
      {
        name: 'mutate',
        setup({ onLoad }) {
          const files = [...new Set(changes.map(({ file }) => join(root, file)))];
          for (const path of files) {
            onLoad({ filter: new RegExp(`${path.replace(/[.\\/]/g, '\\$&')}$`) }, async () => {
              let contents = await readFile(path, 'utf8');
              for (const { file, from, to } of changes.filter(({ file }) => join(root, file) === path)) {
                if (contents.split(from).length !== 2)
                  throw new Error(`${file} does not hold this once: ${from}`);
                contents = contents.replace(from, to);
              }
              return { contents, loader: 'ts' };
            });
          }
        },
      },
    ],
  });
  const hunt = (await import(pathToFileURL(outfile).href)) as Hunt;
  return { ...hunt, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
