import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check } from '../../support/assertEqual.ts';
import { fleetWithEvents } from '../../support/fleetLogs.ts';
import { programFile } from '../../support/program.ts';
import { type Page, withPage } from './browser.ts';

const phone = 375;
const desktop = 1280;

/**
 * The report's page in chromium: it fits both widths, its script and its filter work, its policy holds, and a hostile
 * log stays text. Pictures go to `folder`.
 */
export async function tryPage(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const devices = 10_000;
  const evil = JSON.stringify({
    timestamp: '2026-11-20T06:00:00.000Z',
    level: 'warn',
    event: 'step.failed',
    message: 'm',
    deviceId: 'evil',
    version: '0.2.4',
    state: 'csr',
    step: '<b id=pwned>',
    code: 'NATS_TLS',
    cause: '</script><script>document.title="pwned"</script><img src=x onerror=document.title="pwned">',
  });
  const alias = JSON.stringify({
    ...JSON.parse(evil),
    event: 'device.registered',
    alias: '<img src=x onerror=document.title="pwned">',
    durationMs: 5,
  });
  const late = JSON.stringify({
    ...JSON.parse(evil),
    timestamp: '2026-11-20T09:30:00.000Z',
    event: 'daemon.stopped',
    deviceId: 'evil',
  });
  const log = join(folder, 'fleet.log');
  const html = join(folder, 'report.html');
  writeFileSync(log, [...fleetWithEvents(devices, 5), evil, alias, late].join('\n'));
  execFileSync(process.execPath, [programFile, 'report', log, '--html', html], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return await withPage(pathToFileURL(html).href, async (page) => {
    const begun = performance.now();
    const count = (selector: string) =>
      page.evaluate<number>(`document.querySelectorAll('${selector}').length`);
    const found = () => page.evaluate<string>(`document.querySelector('.found').textContent`);
    check('the list shows its first devices', await count('#devices .ways li'), 50);
    check('all devices are in the page', await found(), '10,000 devices');
    check('the funnel has the seven states', await count('.funnel tbody tr'), 7);
    check('each state that was left has its picture', await count('.charts figure svg'), 6);
    await checkEvents(page);
    await page.evaluate(`document.querySelector('#devices .more').click()`);
    check('more devices are shown when asked for', await count('#devices .ways li'), 100);
    await page.evaluate(
      `(() => { const i = document.querySelector('input'); i.value = 'EVIL'; i.dispatchEvent(new Event('input', { bubbles: true })); })()`,
    );
    check('the filter finds a device', await found(), '1 device');
    check('a hostile alias is text', await count('#devices li img'), 0);
    await page.evaluate(
      `(() => { const i = document.querySelector('input'); i.value = ''; const s = document.querySelector('select'); s.value = 'failed'; s.dispatchEvent(new Event('input', { bubbles: true })); })()`,
    );
    const failedOnes = await found();
    const hash = await page.evaluate<string>('location.hash');
    check('the address keeps the filter', hash, '#state=failed');
    check(`the state filters (${failedOnes})`, /^[1-9]\d\d devices$/.test(failedOnes), true);
    await page.evaluate(`location.hash = '#version=0.3.0-rc1&code=NATS_TLS'; 0`);
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 50))');
    check(
      'an address sets the filter',
      await page.evaluate<string>(`document.querySelector('[name=version]').value`),
      '0.3.0-rc1',
    );
    check('links lead to what failed', (await found()) !== failedOnes, true);
    check(
      'every field and picture has a name for screen readers',
      await page.evaluate<number>(
        `[...document.querySelectorAll('input,select')].filter((e) => !e.closest('label')).length + [...document.querySelectorAll('svg')].filter((e) => !e.getAttribute('aria-label') && !e.getAttribute('aria-hidden')).length`,
      ),
      0,
    );
    check(
      'nothing of the log became markup',
      [await page.evaluate('document.title'), await count('#pwned')].join(),
      'onboardd report,0',
    );
    check('the browser complains of nothing', page.complaints.join('; '), '');
    await page.evaluate(`location.hash = ''; document.querySelector('form').reset(); 0`);
    for (const scheme of ['light', 'dark'] as const)
      for (const width of [phone, desktop]) {
        await page.resize(width, 800);
        await page.scheme(scheme);
        // A phone's layout viewport grows with what overflows: innerWidth says nothing.
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
        check(`nothing is wider than ${width} px (${wide})`, wide <= width, true);
        writeFileSync(join(folder, `report-${width}-${scheme}.png`), await page.picture());
      }
    return `10,000 devices in chromium at ${phone} and ${desktop} px, ${Math.round(performance.now() - begun)} ms for all looks`;
  });
}

/** The outage and the bad build are told on the first screen of a desktop. */
async function checkEvents(page: Page): Promise<void> {
  await page.resize(desktop, 800);
  const shown = await page.evaluate<string>(
    `[...document.querySelectorAll('.notable li')].filter((e) => e.getBoundingClientRect().bottom < 800).map((e) => e.textContent).join('\\n')`,
  );
  check(
    `the outage is on the first screen (${shown})`,
    /PROVISIONING_TIMEOUT.* from 11-20 1[01]:/.test(shown),
    true,
  );
  check(`the bad build is on the first screen (${shown})`, /0\.3\.0-rc1 fails more/.test(shown), true);
}
