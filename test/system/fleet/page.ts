/**
 * The live page of the workbench fleet in Chromium: `npm run test:fleet [-- --keep FOLDER]`, which keeps the pictures. A
 * device registers while the page is open, a fault is switched on, hostile text arrives, and the page shows it all.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Browser, chromium, type Page } from 'playwright-core';
import { startPage } from '../../../fleet/page/server.ts';
import { startWorkbench, type Workbench } from '../../../fleet/workbench.ts';
import { missingAfterInstalling, root } from '../../../packaging/tools.mjs';
import { newDevice, removeDevices, start, temporaryFolder } from '../../support/program.ts';

const unavailable = 69;
const { values } = parseArgs({ options: { keep: { type: 'string' } } });
if (missingAfterInstalling(['chromium']).length > 0) {
  console.log('not tested here: there is no chromium, and it cannot be installed');
  process.exit(unavailable);
}
const built = spawnSync(process.execPath, ['scripts/buildFleet.mjs'], { cwd: root, stdio: 'inherit' });
assert.equal(built.status, 0, 'the fleet cannot be built');
const folder = values.keep ?? temporaryFolder();
mkdirSync(folder, { recursive: true });

const workbench = await startWorkbench({
  ...{ data: join(temporaryFolder(), 'fleet'), listen: '127.0.0.1', mdns: false, cluster: false },
  ...{ ports: { http: 0, https: 0, nats: 0 }, certificateMs: 3_600_000, onProblem: console.error },
});
const served = await startPage({
  workbench,
  assets: join(root, 'dist/fleet/page'),
  host: '127.0.0.1',
  port: 0,
});
let browser: Browser | undefined;
try {
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const complaints: string[] = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(served.url);
  await aDeviceRegisters(page, workbench);
  await aFaultIsSwitchedOn(page, workbench);
  await aDeviceIsRevoked(page, workbench);
  await hostileTextStaysText(page, workbench);
  await picturesOf(page);
  assert.deepEqual(complaints, []);
  await buttonsNeedTheToken(browser);
  await othersAreRefused();
  console.log(`all of it held${values.keep === undefined ? '' : `; pictures in ${folder}`}`);
} finally {
  await browser?.close();
  await served.stop();
  await workbench.stop();
  removeDevices();
}

function deviceOf({ urls, fingerprint }: Workbench, alias?: string) {
  return newDevice({
    provisioning: { url: urls.http, fleetCaFingerprint: fingerprint },
    device: { type: 'gateway', ...(alias === undefined ? {} : { alias }) },
  });
}

/** Runs a device until it is registered, and leaves it running. */
async function registered(alias?: string) {
  const program = start(deviceOf(workbench, alias));
  await program.until(({ event }) => event === 'device.registered');
  return program;
}

async function aDeviceRegisters(page: Page, { ledger }: Workbench): Promise<void> {
  await page.getByText('No device yet').waitFor();
  const program = await registered('bench-1');
  await page.locator('.devices .name', { hasText: 'bench-1' }).waitFor();
  await page.locator('.devices .state.registered').waitFor();
  await page.locator('.devices button').first().click();
  await page.locator('.detail .events', { hasText: 'registered as bench-1' }).waitFor();
  const [id = ''] = ledger.devices.keys();
  await page.locator('.detail dd', { hasText: id }).waitFor();
  program.child.kill('SIGKILL');
  await page.locator('.devices .fact', { hasText: 'not connected' }).waitFor();
  console.log('a device registers, and is shown with its history');
}

async function aFaultIsSwitchedOn(page: Page, { ledger }: Workbench): Promise<void> {
  const knob = page.getByRole('switch', { name: 'Answer 503' });
  await knob.click();
  await page.locator('[role=switch][aria-checked=true]', { hasText: 'Answer 503' }).waitFor();
  const program = start(deviceOf(workbench, 'bench-2'));
  const failed = await program.until(({ event }) => event === 'step.failed');
  assert.equal(failed.reason, 'http-503');
  await page.locator('.devices .state.refused').waitFor();
  await page.locator('.events', { hasText: 'answered 503' }).first().waitFor();
  await page.getByRole('button', { name: 'Recover' }).click();
  await program.until(({ event }) => event === 'device.registered');
  await page.locator('.devices .name', { hasText: 'bench-2' }).waitFor();
  assert.equal(await page.locator('[aria-checked=true]').count(), 0);
  program.child.kill('SIGKILL');
  assert.equal(ledger.devices.size, 2);
  console.log('a fault is switched on, what it does to a device is shown, and it recovers');
}

async function aDeviceIsRevoked(page: Page, { natsServers }: Workbench): Promise<void> {
  await page.getByRole('button', { name: 'Revoke' }).click();
  await page.locator('.devices .state.revoked').waitFor();
  await page.getByRole('button', { name: 'Let in again' }).click();
  await page.locator('.devices .state.revoked').waitFor({ state: 'detached' });
  await page.getByRole('switch', { name: 'Stall NATS' }).click();
  await page.locator('.faults .on', { hasText: 'Stall NATS' }).waitFor();
  assert.ok(natsServers[0]?.isRunning);
  await page.getByRole('button', { name: 'Recover' }).click();
  await page.locator('.faults .on').waitFor({ state: 'detached' });
  console.log('a device is revoked and let in again; NATS is stalled and recovers');
}

async function hostileTextStaysText(page: Page, { ledger }: Workbench): Promise<void> {
  const program = await registered('<img src=x onerror="document.title=1">');
  await page.locator('.devices .name', { hasText: '<img src=x' }).waitFor();
  assert.equal(await page.locator('.devices img').count(), 0);
  assert.equal(await page.title(), 'Workbench fleet');
  assert.equal(ledger.devices.size, 3);
  program.child.kill('SIGKILL');
  console.log('what looks like markup in an alias is shown as text');
}

async function picturesOf(page: Page): Promise<void> {
  for (const alias of ['gateway-hall-1', 'gateway-hall-2', 'drone-7']) await registered(alias);
  await page.getByRole('switch', { name: 'Answer 503' }).click();
  start(deviceOf(workbench, 'sensor-9'));
  await page.locator('.devices .state.refused').waitFor();
  await page.getByRole('button', { name: 'Revoke' }).click();
  await page.locator('.devices .state.revoked').waitFor();
  for (const width of [375, 1280]) {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      assert.equal(overflow, 0, `at ${width} pixels it is ${overflow} too wide`);
      await page.screenshot({ path: join(folder, `${width}-${colorScheme}.png`), fullPage: true });
    }
  }
  // The picture of README.md
  await page.emulateMedia({ colorScheme: 'light' });
  await page.evaluate('scrollTo(0, 0)');
  await page.screenshot({
    path: join(folder, 'workbench.jpg'),
    quality: 70,
    clip: { x: 40, y: 0, width: 1200, height: 820 },
  });
  console.log('at 375 and 1280 pixels nothing is wider than the window');
}

async function buttonsNeedTheToken(browser: Browser): Promise<void> {
  const page = await browser.newPage();
  await page.goto(served.url.replace(/#.*/, ''));
  await page.getByText('The buttons need the address with its token').waitFor();
  assert.equal(await page.getByRole('switch', { disabled: false }).count(), 0);
  await page.close();
  console.log('without the token the page shows, and its buttons do not work');
}

async function othersAreRefused(): Promise<void> {
  const url = served.url.replace(/#.*/, '');
  const post = (headers: Record<string, string>) =>
    fetch(`${url}recover`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{}',
    });
  assert.equal((await post({})).status, 401);
  assert.equal((await post({ authorization: `Bearer ${'0'.repeat(32)}` })).status, 401);
  const authorization = `Bearer ${workbench.token}`;
  assert.equal((await post({ authorization, 'content-type': 'text/plain' })).status, 415);
  assert.equal((await post({ authorization })).status, 204);
  const policy = (await fetch(url)).headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'.*frame-ancestors 'none'/);
  console.log('a request without the token is refused');
}
