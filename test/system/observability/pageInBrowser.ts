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
  const hosted = JSON.stringify({
    MESSAGE: JSON.stringify({ ...JSON.parse(evil), deviceId: 'hosted', event: 'daemon.started' }),
    _HOSTNAME: 'gate-7',
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
  writeFileSync(log, [...fleetWithEvents(devices, 5), evil, alias, late, hosted].join('\n'));
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
      `(() => { const i = document.querySelector('#devices input'); i.value = 'EVIL'; i.dispatchEvent(new Event('input', { bubbles: true })); })()`,
    );
    check('the filter finds a device', await found(), '1 device');
    check('a hostile alias is text', await count('#devices li img'), 0);
    await page.evaluate(
      `(() => { const i = document.querySelector('#devices input'); i.value = ''; const s = document.querySelector('select'); s.value = 'failed'; s.dispatchEvent(new Event('input', { bubbles: true })); })()`,
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
    await page.evaluate(`location.hash = ''; document.querySelector('#devices form').reset(); 0`);
    await page.evaluate(`location.hash = '#host=gate'; 0`);
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 50))');
    check('an address filters by host', await found(), '1 device');
    await page.evaluate(`location.hash = ''; document.querySelector('#devices form').reset(); 0`);
    await checkChart(page, log);
    await checkKeyboard(page);
    await checkScreenReader(page);
    await page.evaluate(
      `location.hash = ''; document.querySelector('#devices form').reset(); scrollTo(0, 0); 0`,
    );
    for (const scheme of ['light', 'dark'] as const)
      for (const width of [phone, desktop]) {
        await page.resize(width, 800);
        await page.scheme(scheme);
        // A phone's layout viewport grows with what overflows: innerWidth says nothing.
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
        check(`nothing is wider than ${width} px (${wide})`, wide <= width, true);
        writeFileSync(join(folder, `report-${width}-${scheme}.png`), await page.picture());
        writeFileSync(join(folder, `first-screen-${width}-${scheme}.png`), await page.screen());
      }
    return `10,000 devices in chromium at ${phone} and ${desktop} px, ${Math.round(performance.now() - begun)} ms for all looks`;
  });
}

const strips = `[...document.querySelectorAll('#strips figure')].map((e) => e.querySelector('figcaption').innerText.replace(/\\s+/g, ' ')).join('\\n')`;

/** The chart shows what befell the devices that the filter finds, and all of it again without a filter. */
async function checkChart(page: Page, log: string): Promise<void> {
  const settle = () => page.evaluate('new Promise((resolve) => setTimeout(resolve, 50))');
  const whole = await page.evaluate<string>(`document.querySelector('#strips').innerHTML`);
  check(
    'the chart tells how many devices failed',
    /^PROVISIONING_TIMEOUT 27,768 on 9,256 devices; 100 %/m.test(await page.evaluate<string>(strips)),
    true,
  );
  const { list } = JSON.parse(
    execFileSync(process.execPath, [programFile, 'report', '--json', log], {
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
    }),
  ) as { list: { version: string; state: string; codes: Record<string, number> }[] };
  for (const [hash, has, code] of [
    ['version=0.3.0-rc1', ({ version }) => version === '0.3.0-rc1', 'NATS_TLS'],
    ['version=0.3.0-rc1', ({ version }) => version === '0.3.0-rc1', 'PROVISIONING_TIMEOUT'],
    ['state=failed', ({ state }) => state === 'failed', 'REGISTRATION_REJECTED'],
    ['code=NATS_TLS', ({ codes }) => 'NATS_TLS' in codes, 'NATS_TLS'],
  ] as [string, (device: (typeof list)[number]) => boolean, string][]) {
    await page.evaluate(`location.hash = '#${hash}'; 0`);
    await settle();
    const hit = list.filter((device) => has(device) && code in device.codes);
    const times = hit.reduce((sum, { codes }) => sum + (codes[code] ?? 0), 0).toLocaleString('en-US');
    const wanted = `${code} ${times} on ${hit.length.toLocaleString('en-US')} devices`;
    const drawn = await page.evaluate<string>(strips);
    check(
      `with ${hash} the chart shows ${wanted} (${drawn})`,
      drawn.split('\n').some((line) => line === wanted || line.startsWith(`${wanted};`)),
      true,
    );
    check(
      'bars are drawn',
      (await page.evaluate<number>(`document.querySelectorAll('#strips rect').length`)) > 0,
      true,
    );
  }
  const codes = `[...document.querySelectorAll('#strips .t-code a')].map((e) => e.textContent).join()`;
  check('a filter by code leaves no other code', await page.evaluate<string>(codes), 'NATS_TLS');
  check(
    'what the chart shows is told',
    await page.evaluate<string>(`document.querySelector('#time .scope span').textContent`),
    `Only the ${list.filter(({ codes }) => 'NATS_TLS' in codes).length.toLocaleString('en-US')} devices that the filter finds, and only NATS_TLS.`,
  );
  await page.evaluate(`document.querySelector('.when').click()`);
  check('a button leads from the devices to the chart', await page.evaluate(active('e.id')), 'time');
  await page.evaluate(`document.querySelector('#time .scope button').click()`);
  await settle();
  check(
    'without a filter the chart is the whole again',
    (await page.evaluate<string>(`document.querySelector('#strips').innerHTML`)) === whole,
    true,
  );
  check('the note is gone', await page.evaluate(`document.querySelector('#time .scope').hidden`), true);
  check('the address has no filter', await page.evaluate('location.hash'), '#devices');
}

const active = (what: string) => `(() => { const e = document.activeElement; return ${what}; })()`;

/** With keys only: to the devices, a filter typed and taken back, more devices, a link, two periods compared. */
async function checkKeyboard(page: Page): Promise<void> {
  const focused = (what: string) => page.evaluate<string>(active(what));
  const until = async (wanted: string, most = 80) => {
    for (let pressed = 0; pressed < most; pressed++) {
      if (await page.evaluate<boolean>(active(wanted))) return;
      await page.press('Tab');
    }
    throw new Error(
      `no ${most} times Tab lead to ${wanted}; focus is on ${await focused('e.outerHTML.slice(0, 200)')}`,
    );
  };
  // The browser goes on from what had the focus last: as of a page that was just opened, that is the body.
  await page.evaluate(
    `document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex'); scrollTo(0, 0); getSelection().removeAllRanges(); 0`,
  );
  await page.press('Tab');
  check('the first stop is the link past everything', await focused('e.className'), 'skip');
  await page.press('Enter');
  check('it leads to the devices', await focused('e.id'), 'devices');
  await page.press('Tab');
  check('the first field is the search', await focused('e.name'), 'text');
  await page.press('e', 'v', 'i', 'l');
  check(
    'typing filters',
    await page.evaluate<string>(`document.querySelector('.found').textContent`),
    '1 device',
  );
  check('the address keeps what was typed', await page.evaluate<string>('location.hash'), '#text=evil');
  await until(`e.type === 'reset'`);
  await page.press('Enter');
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 20))');
  check(
    'all are shown again',
    await page.evaluate<string>(`document.querySelector('.found').textContent`),
    '10,000 devices',
  );
  await until(`e.className === 'more'`);
  await page.press('Space');
  check(
    'focus is on the first of the devices that came',
    await focused(`[...e.parentElement.children].indexOf(e)`),
    50,
  );
  await page.evaluate(
    `document.querySelector('#time h2').scrollIntoView(); document.querySelector('.skip').focus(); 0`,
  );
  await until(`e.textContent === 'NATS_TLS' && e.closest('.strip') !== null`);
  check('a focus can be seen', await focused('getComputedStyle(e).outlineStyle'), 'solid');
  await page.press('Enter');
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 50))');
  check(
    'a link of the chart filters',
    await page.evaluate<string>(`document.querySelector('[name=code]').value`),
    'NATS_TLS',
  );
  await page.evaluate(`document.querySelector('#compare').focus(); 0`);
  await until(`e.dataset.preset === 'halves'`);
  await page.press('Enter');
  const compared = await page.evaluate<string>(`document.querySelector('.compare').innerText`);
  check(
    `two halves are compared (${compared})`,
    /PROVISIONING_TIMEOUT\s+4,\d+\s+9,\d+ devices\s+0\s+only in the first/.test(compared),
    true,
  );
  const hash = await page.evaluate<string>('location.hash');
  check(`the address keeps periods and filter (${hash})`, /code=NATS_TLS.*first=.*second=/.test(hash), true);
  await page.evaluate(
    `location.hash = '#first=2026-11-20T06:00/2026-11-20T07:00&second=2026-11-20T11:00/2026-11-20T12:00'; 0`,
  );
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 50))');
  const linked = await page.evaluate<string>(`document.querySelector('.compare').innerText`);
  check(
    `an address sets the periods (${linked})`,
    /PROVISIONING_TIMEOUT\s+0\s+27,768\s+9,256 devices\s+only in the second/.test(linked),
    true,
  );
}

/** Every control, picture and table of the tree that a screen reader is given has a name, and headings lead through. */
async function checkScreenReader(page: Page): Promise<void> {
  const nodes = await page.accessible();
  const named = [
    'link',
    'button',
    'textbox',
    'searchbox',
    'combobox',
    'image',
    'img',
    'group',
    'DisclosureTriangle',
  ];
  const nameless = nodes.filter(
    ({ role, name }) => named.includes(role) && role !== 'group' && name.trim() === '',
  );
  check('nothing that can be used is without a name', JSON.stringify(nameless), '[]');
  const headings = nodes.filter(({ role }) => role === 'heading').map(({ name }) => name);
  check(
    'headings lead through the page',
    ['Onboarding report', 'Failures over time', 'Compare two periods', 'Each device']
      .filter((name) => !headings.includes(name))
      .join(),
    '',
  );
  const pictures = nodes.filter(
    ({ role, name }) => ['image', 'img'].includes(role) && name.includes('PROVISIONING_TIMEOUT'),
  );
  check(
    'the outage is told in words',
    pictures.every(({ name }) => /100 % of them from 11-20 11:00/.test(name)) && pictures.length > 0,
    true,
  );
  check(
    'the number of devices found is announced',
    nodes.some(({ role }) => role === 'status'),
    true,
  );
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
