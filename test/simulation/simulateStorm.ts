/**
 * A million devices power on while their fleet is down: `npm run test:simulation:storm`, with `-- --write` for the plot.
 * The same storm of 1,000 devices is run with the whole machine of each, to show that the two agree.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { linePlot } from '../support/plot.ts';
import { writeSection } from '../support/reliabilityPage.ts';
import { usualConfig } from './life.ts';
import { loadOf, machineStorm, type Storm, type StormCurve, storm } from './storm.ts';

const { values } = parseArgs({
  options: { write: { type: 'boolean', default: false }, devices: { type: 'string', default: '1000000' } },
});
const million = Number(values.devices);
const minute = 60_000;
const retry = usualConfig.retry;
const base = { seed: 1, retry, powerOnMs: 5000, downMs: 10 * minute };
const plot = new URL('../../docs/plots/storm-simulated.svg', import.meta.url);

let failed = false;
const rows: string[] = [];
const few = { ...base, devices: 1000, capacity: Number.POSITIVE_INFINITY };
const machine = await machineStorm(usualConfig, few);
tell('1,000 devices, the whole machine of each', few, machine);
tell('1,000 devices, the waits alone', few, storm(few));
const many: Storm = { ...base, devices: million, capacity: Number.POSITIVE_INFINITY };
const free = storm(many);
tell(`${million} devices, the server takes all`, many, free);
const bounded: Storm = { ...many, capacity: million / 600 };
const limited = storm(bounded);
tell(`${million} devices, the server takes ${Math.floor(bounded.capacity)} a second`, bounded, limited);

if (values.write) {
  writeSection('simulated-storm', 'test:simulation:storm', [
    '| storm | busiest second | mean | their ratio | from the return to the last | devices with one certificate |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ]);
  const points = ({ requests }: StormCurve) =>
    requests.map((count, second): [number, number] => [second / 60, count]).slice(60, 40 * 60);
  writeFileSync(
    plot,
    linePlot({
      title: `${million.toLocaleString('en')} devices power on, the fleet is down for ten minutes`,
      xLabel: 'minutes since power-on (the first minute is left out)',
      yLabel: 'provisioning requests a second',
      series: [
        { name: 'server takes all', points: points(free) },
        { name: `server takes ${Math.floor(bounded.capacity)} a second`, points: points(limited) },
      ],
    }),
  );
}
process.exitCode = failed ? 1 : 0;

function tell(what: string, settings: Storm, curve: StormCurve): void {
  const { peak, mean, ratio, seconds } = loadOf(curve, settings);
  const once = curve.certificatesPerDevice.get(1) ?? 0;
  const isSound = once === settings.devices && curve.certificatesPerDevice.size === 1 && ratio < 5;
  failed ||= !isSound;
  rows.push(`| ${what} | ${peak} | ${mean.toFixed(1)} | ${ratio.toFixed(2)} | ${seconds} s | ${once} |`);
  console.log(
    `${what}: peak ${peak} a second, mean ${mean.toFixed(1)}, ${ratio.toFixed(2)} times the mean, over ${seconds} s; ` +
      `${once} devices with one certificate${isSound ? '' : '  FAILED'}`,
  );
}
