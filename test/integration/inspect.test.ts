import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { statechart } from '../../scripts/statechart.ts';
import type { Moment } from '../support/inspect/liveMachine.ts';
import { boxesOf, pageOf } from '../support/inspect/page.ts';

/** Reads server-sent events until one is accepted. */
async function momentsUntil(url: string, accepts: (moment: Moment) => boolean): Promise<Moment[]> {
  const moments: Moment[] = [];
  const { body } = await fetch(url);
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body ?? []) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n\n');
    rest = parts.pop() ?? '';
    moments.push(...parts.map((part) => JSON.parse(part.replace(/^data: /, '')) as Moment));
    if (moments.some(accepts)) return moments;
  }
  throw new Error(`the stream ended after ${JSON.stringify(moments.at(-1))}`);
}

const isRegistered = ({ active }: Moment) => active.includes('registered.watching');

test('a browser follows a device until it is registered', async () => {
  const file = fileURLToPath(new URL('../support/inspect/inspect.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(line)?.[0] ?? '';
    expect(await (await fetch(url)).text()).toBe(pageOf(statechart()));
    const moments = await momentsUntil(`${url}events`, isRegistered);
    expect(moments.map(({ active }) => active.join(' '))).toEqual(
      expect.arrayContaining(['idle idle.resuming', 'keygen keygen.generating', 'csr csr.requesting']),
    );
    expect(moments.at(-1)?.context).toMatchObject({ deviceId: expect.stringMatching(/^[0-9a-f]{32}$/) });
    expect(JSON.stringify(moments)).not.toContain('-----BEGIN');
    // A page that is opened later sees the way from the beginning.
    expect(await momentsUntil(`${url}events`, isRegistered)).toEqual(expect.arrayContaining(moments));
  } finally {
    child.kill('SIGTERM');
  }
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('the page has a box for every state, with its edges, and needs nothing from elsewhere', () => {
  const page = pageOf(statechart());
  const boxes = [...page.matchAll(/data-state="([^"]+)"/g)].map(([, path]) => path);
  expect(boxes).toEqual(boxesOf(statechart()));
  expect(page).toContain('register failed [isPermanent] → failed');
  expect(page).not.toMatch(/https?:|src=|href=/);
});
