import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** A page in a real browser, over the DevTools protocol. */
export interface Page {
  /** What an expression of the page is, as JSON. @throws {Error} where it throws */
  evaluate<T>(expression: string): Promise<T>;
  resize(width: number, height: number): Promise<void>;
  scheme(name: 'light' | 'dark'): Promise<void>;
  /** Real key presses, through the browser's own input: `Tab`, `Shift+Tab`, `Enter`, `Space`, `ArrowDown`, or one character each */
  press(...keys: string[]): Promise<void>;
  /** What a screen reader is given: role and name of each node */
  accessible(): Promise<{ role: string; name: string }[]>;
  /** PNG of what is shown without scrolling */
  screen(): Promise<Buffer>;
  /** PNG of the page from `top` on, `height` pixels of it at most */
  picture(top?: number, height?: number): Promise<Buffer>;
  /** What the browser complained of: scripts, content security policy, loads */
  readonly complaints: string[];
}

const flags =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe';

/** Opens a URL in chromium and ends it afterwards. @throws {Error} where there is no chromium */
export async function withPage<T>(url: string, use: (page: Page) => Promise<T>): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), 'browser-'));
  const browser = spawn('chromium', [...flags.split(' '), `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  await once(browser, 'spawn');
  const ended = once(browser, 'exit');
  try {
    const send = protocol(browser.stdio[3] as Writable, browser.stdio[4] as Readable);
    const complaints: string[] = [];
    const { targetId } = await send<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await send<{ sessionId: string }>('Target.attachToTarget', {
      targetId,
      flatten: true,
    });
    const call = <R>(method: string, params: object = {}) => send<R>(method, params, sessionId);
    send.listen('Log.entryAdded', ({ entry }) => complaints.push(String((entry as { text: string }).text)));
    send.listen('Runtime.exceptionThrown', (event) => complaints.push(JSON.stringify(event)));
    await Promise.all([call('Page.enable'), call('Runtime.enable'), call('Log.enable')]);
    const loaded = new Promise<void>((resolve) => send.listen('Page.loadEventFired', () => resolve()));
    await call('Page.navigate', { url });
    await loaded;
    return await use({
      complaints,
      async evaluate<R>(expression: string) {
        const { result, exceptionDetails } = await call<{ result: { value: R }; exceptionDetails?: object }>(
          'Runtime.evaluate',
          { expression, returnByValue: true, awaitPromise: true },
        );
        if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
        return result.value;
      },
      async resize(width, height) {
        await call('Emulation.setDeviceMetricsOverride', {
          width,
          height,
          deviceScaleFactor: 1,
          mobile: width < 600,
        });
      },
      async scheme(value) {
        await call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
      },
      async press(...keys) {
        for (const key of keys)
          for (const type of ['keyDown', 'keyUp'])
            await call('Input.dispatchKeyEvent', { type, ...keyEvent(key, type === 'keyDown') });
      },
      async accessible() {
        interface Node {
          readonly ignored: boolean;
          readonly role?: { readonly value: string };
          readonly name?: { readonly value: string };
        }
        const { nodes } = await call<{ nodes: Node[] }>('Accessibility.getFullAXTree');
        return nodes
          .filter(({ ignored }) => !ignored)
          .map(({ role, name }) => ({ role: role?.value ?? '', name: name?.value ?? '' }));
      },
      async screen() {
        const { data } = await call<{ data: string }>('Page.captureScreenshot');
        return Buffer.from(data, 'base64');
      },
      async picture(top = 0, height = 3000) {
        const { cssContentSize: all } = await call<{ cssContentSize: { width: number; height: number } }>(
          'Page.getLayoutMetrics',
        );
        const clip = { x: 0, y: top, width: all.width, height: Math.min(height, all.height - top), scale: 1 };
        const { data } = await call<{ data: string }>('Page.captureScreenshot', {
          captureBeyondViewport: true,
          clip,
        });
        return Buffer.from(data, 'base64');
      },
    });
  } finally {
    browser.kill('SIGKILL');
    await ended;
    await remove(profile);
  }
}

/** Processes of the browser that outlive it for a moment still write. @throws {Error} if they do for seconds */
async function remove(folder: string): Promise<void> {
  for (let left = 50; ; left--)
    try {
      rmSync(folder, { recursive: true, force: true });
      return;
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

const namedKeys: Readonly<Record<string, readonly [code: number, text?: string]>> = {
  Tab: [9],
  Enter: [13, '\r'],
  Space: [32, ' '],
  ArrowDown: [40],
  ArrowUp: [38],
};

function keyEvent(pressed: string, isDown: boolean): object {
  const shift = pressed.startsWith('Shift+');
  const key = shift ? pressed.slice(6) : pressed;
  const [code, text] = namedKeys[key] ?? [key.toUpperCase().charCodeAt(0), key];
  return {
    key: key === 'Space' ? ' ' : key,
    code: key in namedKeys ? key : '',
    windowsVirtualKeyCode: code,
    modifiers: shift ? 8 : 0,
    ...(text !== undefined && isDown ? { text } : {}),
  };
}

type Params = Readonly<Record<string, unknown>>;

/** JSON messages with a NUL after each, over the browser's pipes. */
function protocol(out: Writable, input: Readable) {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  const listeners: [string, (params: Params) => void][] = [];
  let rest = '';
  let last = 0;
  input.setEncoding('utf8').on('data', (text: string) => {
    const messages = (rest + text).split('\0');
    rest = messages.pop() ?? '';
    for (const message of messages) take(JSON.parse(message));
  });
  const take = ({
    id,
    method,
    params,
    result,
    error,
  }: {
    id?: number;
    method?: string;
    params: Params;
    result: never;
    error?: { message: string };
  }) => {
    for (const [name, call] of listeners) if (name === method) call(params);
    const call = id === undefined ? undefined : waiting.get(id);
    if (id === undefined || !call) return;
    waiting.delete(id);
    if (error) call.reject(new Error(error.message));
    else call.resolve(result);
  };
  const send = <R>(method: string, params: object = {}, sessionId?: string) =>
    new Promise<R>((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve: resolve as (value: never) => void, reject });
      out.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  send.listen = (method: string, call: (params: Params) => void) => listeners.push([method, call]);
  return send;
}
