import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import library, { type Handle, type PKCS11, type TokenInfo } from 'pkcs11js';
import type { TokenSetting } from '../config/tokenUri.ts';
import { faultOf, resultOf, TokenFault, withoutPin } from './fault.ts';

/** A session with the token, logged in if the token wants that. */
export interface Session {
  readonly api: PKCS11;
  readonly slot: Handle;
  readonly handle: Handle;
  readonly token: TokenInfo;
}

export interface Sessions {
  /**
   * Runs calls in the common session, which is opened again if the token was away meanwhile.
   *
   * @throws {TokenFault}
   */
  use<T>(run: (session: Session) => T): T;
  /** Runs calls that take long in a session of their own. @throws {TokenFault} */
  useOwn<T>(run: (session: Session) => Promise<T>): Promise<T>;
  /** From now on the module is shared with OpenSSL's engine and is not initialized anew. */
  share(): void;
}

/** One per module: PKCS#11 is initialized once in a process. */
const modules = new Map<string, PKCS11>();
/** Digests of PINs that a token refused: each further try may lock it. */
const refused = new Set<string>();
const gone = new Set([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_DEVICE_REMOVED',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
]);
const loggedIn = new Set(['CKS_RO_USER_FUNCTIONS', 'CKS_RW_USER_FUNCTIONS'].map((name) => library[name]));

export function sessionsOf(setting: TokenSetting): Sessions {
  let common: Session | null = null;
  let isShared = false;
  const opened = () => {
    common ??= open(setting, isShared);
    return common;
  };
  function use<T>(run: (session: Session) => T): T {
    try {
      try {
        return run(opened());
      } catch (error) {
        if (!gone.has(resultOf(error))) throw error;
        common = null;
        return run(opened());
      }
    } catch (error) {
      throw faultOf(error);
    }
  }
  async function useOwn<T>(run: (session: Session) => Promise<T>): Promise<T> {
    // Through the common session, which is logged in: a login holds for all sessions of a process.
    const { session, handle } = use((session) => {
      session.api.C_GetSessionInfo(session.handle);
      return { session, handle: openSession(session.api, session.slot) };
    });
    try {
      return await run({ ...session, handle });
    } catch (error) {
      throw faultOf(error);
    } finally {
      closeSession(session.api, handle);
    }
  }
  const share = () => {
    isShared = true;
  };
  return { use, useOwn, share };
}

function open(setting: TokenSetting, isShared: boolean): Session {
  const api = moduleOf(setting.modulePath);
  const slot = slotOf(api, setting, isShared);
  const token = api.C_GetTokenInfo(slot);
  const handle = openSession(api, slot);
  try {
    login(setting, { api, slot, handle, token });
  } catch (error) {
    closeSession(api, handle);
    if (resultOf(error) === withoutPin && !isShared) initializeAgain(api);
    throw error;
  }
  return { api, slot, handle, token };
}

function openSession(api: PKCS11, slot: Handle): Handle {
  return api.C_OpenSession(slot, flag('CKF_SERIAL_SESSION') | flag('CKF_RW_SESSION'));
}

/** What became of the token is told by whoever uses it next. */
function closeSession(api: PKCS11, handle: Handle): void {
  try {
    api.C_CloseSession(handle);
  } catch {
    // It was closed with its token.
  }
}

function moduleOf(path: string): PKCS11 {
  const known = modules.get(path);
  if (known !== undefined) return known;
  if (!existsSync(path)) throw new TokenFault('module', `the PKCS#11 module ${path} does not exist`);
  const api = new library.PKCS11();
  try {
    api.load(path);
    initialize(api);
  } catch (error) {
    const said = resultOf(error) || (error instanceof Error ? error.message : String(error));
    throw new TokenFault('module', `the PKCS#11 module ${path} cannot be loaded: ${said}`, error);
  }
  modules.set(path, api);
  return api;
}

function initialize(api: PKCS11): void {
  try {
    api.C_Initialize({ flags: flag('CKF_OS_LOCKING_OK') });
  } catch (error) {
    if (resultOf(error) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') throw error;
  }
}

/** Some modules look at their tokens only when they are initialized. */
function initializeAgain(api: PKCS11): void {
  api.C_Finalize();
  initialize(api);
}

function slotOf(api: PKCS11, setting: TokenSetting, isShared: boolean): Handle {
  const find = () => api.C_GetSlotList(true).filter((slot) => matches(api.C_GetTokenInfo(slot), setting));
  let found = find();
  if (found.length === 0 && !isShared) {
    initializeAgain(api);
    found = find();
  }
  const [slot, ...others] = found;
  if (slot === undefined) throw new TokenFault('missing', 'is not there');
  if (others.length > 0)
    throw new TokenFault('missing', 'is not the only one that the URI describes: add serial=');
  return slot;
}

function matches(info: TokenInfo, { token }: TokenSetting): boolean {
  const isSame = (wanted: string | null, is: string) =>
    wanted === null || is.replace(/[ \0]+$/, '') === wanted;
  return (
    (info.flags & flag('CKF_TOKEN_INITIALIZED')) !== 0 &&
    isSame(token.label, info.label) &&
    isSame(token.serial, info.serialNumber) &&
    isSame(token.manufacturer, info.manufacturerID) &&
    isSame(token.model, info.model)
  );
}

/** A PIN that was refused is not tried twice, and a last try is left to a person. */
function login(setting: TokenSetting, { api, handle, token }: Session): void {
  if ((token.flags & flag('CKF_LOGIN_REQUIRED')) === 0) return;
  if (loggedIn.has(api.C_GetSessionInfo(handle).state)) return;
  if ((token.flags & flag('CKF_USER_PIN_LOCKED')) !== 0) throw new TokenFault('pin', 'has locked its PIN');
  if ((token.flags & flag('CKF_USER_PIN_FINAL_TRY')) !== 0)
    throw new TokenFault('pin', 'has one try of its PIN left, which is not risked');
  const pin = pinOf(setting);
  const mark = createHash('sha256').update(`${token.serialNumber}\0${pin}`).digest('hex');
  if (refused.has(mark)) throw new TokenFault('pin', 'refused this PIN before; it is not tried again');
  try {
    api.C_Login(handle, flag('CKU_USER'), pin);
  } catch (error) {
    const result = resultOf(error);
    if (result === 'CKR_USER_ALREADY_LOGGED_IN') return;
    if (/^CKR_PIN_/.test(result)) refused.add(mark);
    throw error;
  }
}

/** The PIN, read anew each time: a file that was corrected helps without a restart. @throws {TokenFault} */
export function pinOf({ pin }: TokenSetting): string {
  if (pin === null)
    throw new TokenFault('pin', 'wants a PIN, and the URI has neither pin-source nor pin-value');
  if ('value' in pin) return pin.value;
  let text: string;
  try {
    text = readFileSync(pin.file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new TokenFault('pin', `has its PIN in ${pin.file}, which cannot be read: ${code}`, cause);
  }
  const value = text.replace(/\r?\n$/, '');
  if (value === '') throw new TokenFault('pin', `has its PIN in ${pin.file}, which is empty`);
  return value;
}

/** A constant of PKCS#11. @throws {TypeError} if the library does not know it */
export function flag(name: string): number {
  const value = library[name];
  if (typeof value !== 'number') throw new TypeError(`no constant ${name}`);
  return value;
}
