import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/program.ts';

export const softHsm = '/usr/lib/softhsm/libsofthsm2.so';
export const pin = '5678';
/** OpenSSL's engine for PKCS#11, where Debian puts it */
export const enginePath = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/engines-3/pkcs11.so`;

/** The native library of the optional part */
export const pkcs11js = fileURLToPath(new URL('../../../dist/pkcs11/node_modules/pkcs11js', import.meta.url));
/** In a process of its own, since a module is initialized once. */
const readValue = `
  const [path, module, pin, label] = process.argv.slice(1);
  const p = require(path);
  const api = new p.PKCS11();
  api.load(module);
  api.C_Initialize();
  const session = api.C_OpenSession(api.C_GetSlotList(true)[0], p.CKF_SERIAL_SESSION | p.CKF_RW_SESSION);
  api.C_Login(session, p.CKU_USER, pin);
  api.C_FindObjectsInit(session, [
    { type: p.CKA_CLASS, value: p.CKO_PRIVATE_KEY },
    { type: p.CKA_LABEL, value: label },
  ]);
  const [key] = api.C_FindObjects(session, 1);
  try {
    api.C_GetAttributeValue(session, key, [{ type: p.CKA_VALUE }]);
  } catch (error) {
    process.stdout.write(error.message);
  }`;

/** A token of SoftHSM, in a folder of its own. */
export interface SoftToken {
  readonly label: string;
  /** For the program: how SoftHSM finds its tokens, and where the status is published */
  readonly env: { readonly SOFTHSM2_CONF: string; readonly RUNTIME_DIRECTORY: string };
  readonly pinFile: string;
  /** `identity.keyType` for this token. @param query further attributes, in place of the PIN's file */
  uri(query?: string): string;
  /** Labels of the private keys, sorted */
  privateKeys(): string[];
  publicKeys(): string[];
  /** The folder in which it keeps its objects */
  objects(): string;
  /** Runs pkcs11-tool, logged in. @returns what it prints. @throws where it fails */
  tool(...args: string[]): string;
  /** Asks the token for the value of a key. @returns the error that it answers; empty: it gave it away */
  readPrivateKey(label: string): string;
  /** Takes the token away for a while. */
  takeOut(): { putBack(): void };
  /** Adds another token beside it, with the same PIN. */
  add(label: string): void;
  /** Adds another token that is not wholly initialized: it has no user PIN yet. */
  addWithoutPin(label: string): { setPin(): void };
  changePin(to: string): void;
}

export function newToken(label = 'device'): SoftToken {
  const folder = temporaryFolder();
  const tokens = join(folder, 'tokens');
  const conf = join(folder, 'softhsm2.conf');
  const pinFile = join(folder, 'pin');
  mkdirSync(tokens);
  mkdirSync(join(folder, 'run'));
  writeFileSync(
    conf,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n`,
  );
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  const env = { SOFTHSM2_CONF: conf, RUNTIME_DIRECTORY: join(folder, 'run') };
  const run = (command: string, args: readonly string[]) =>
    execFileSync(command, args, {
      encoding: 'utf8',
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const init = (as: string) => {
    run('softhsm2-util', ['--init-token', '--free', '--label', as, '--so-pin', '1234', '--pin', pin]);
  };
  init(label);
  const tool = (...args: string[]) =>
    run('pkcs11-tool', ['--module', softHsm, '--token-label', label, '--login', '--pin', pin, ...args]);
  const labels = (type: string) =>
    [...tool('--list-objects', '--type', type).matchAll(/label:\s+(\S+)/g)]
      .map(([, found = '']) => found)
      .sort();
  return {
    label,
    env,
    pinFile,
    uri: (query = `pin-source=${pinFile}`) =>
      `pkcs11:token=${label};object=onboardd?module-path=${softHsm}&${query}`,
    privateKeys: () => labels('privkey'),
    publicKeys: () => labels('pubkey'),
    objects: () => join(tokens, readdirSync(tokens)[0] ?? ''),
    tool,
    readPrivateKey: (of) => run(process.execPath, ['-e', readValue, pkcs11js, softHsm, pin, of]),
    takeOut() {
      renameSync(tokens, `${tokens}.out`);
      mkdirSync(tokens);
      return {
        putBack() {
          rmSync(tokens, { recursive: true });
          renameSync(`${tokens}.out`, tokens);
        },
      };
    },
    add: init,
    addWithoutPin(as) {
      const free =
        run('softhsm2-util', ['--show-slots'])
          .split(/^(?=Slot )/m)
          .at(-1) ?? '';
      const [, number = ''] = /^Slot (\d+)/.exec(free) ?? [];
      run('pkcs11-tool', [
        '--module',
        softHsm,
        '--slot',
        number,
        '--init-token',
        '--label',
        as,
        '--so-pin',
        '1234',
      ]);
      return {
        setPin() {
          const so = ['--login', '--login-type', 'so', '--so-pin', '1234'];
          run('pkcs11-tool', [
            '--module',
            softHsm,
            '--token-label',
            as,
            ...so,
            '--init-pin',
            '--new-pin',
            pin,
          ]);
        },
      };
    },
    changePin(to) {
      tool('--change-pin', '--new-pin', to);
    },
  };
}
