/** What the program holds of others: their licences, and the bill of materials. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fetched, root } from './tools.mjs';

/** npm packages that the bundle may hold: all that are no tools, from the lock file. */
function bundled() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path, { dev, optional, devOptional }]) => path !== '' && !dev && !optional && !devOptional)
    .map(([path]) => ({
      path: join(root, path),
      ...JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')),
    }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** Every licence text, under the name of its package. */
export function licences(architecture) {
  const node = readFileSync(join(fetched(architecture), 'LICENSE'), 'utf8');
  const packages = bundled().map(({ path, name, version, license }) => {
    const file = readdirSync(path).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
    const text = file === undefined ? `Licensed under ${license}.` : readFileSync(join(path, file), 'utf8');
    return heading(`${name} ${version}: ${license}`) + text;
  });
  return [heading('Node.js runtime') + node, ...packages].map((text) => `${text.trim()}\n`).join('\n');
}

const heading = (title) => `${title}\n${'='.repeat(title.length)}\n\n`;

/** CycloneDX, without what changes from run to run, and without the places that packages came from. */
export function billOfMaterials(version, date) {
  const options = { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 };
  const bill = JSON.parse(
    execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], options),
  );
  // npm's own `--omit dev` leaves out what a tool needs, too.
  const held = new Set(bundled().map(({ name, version: of }) => `${name}@${of}`));
  const shown = (reference) => held.has(reference);
  bill.components = bill.components.filter(({ 'bom-ref': reference }) => shown(reference));
  const whole = bill.metadata.component['bom-ref'];
  bill.dependencies = bill.dependencies
    .filter(({ ref }) => ref === whole || shown(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(shown) }));
  delete bill.serialNumber;
  bill.metadata = { timestamp: `${date}T00:00:00Z`, component: bill.metadata.component };
  // npm names it by the folder that it lies in.
  bill.metadata.component.name = 'onboardd';
  bill.metadata.component.version = version;
  const runtime = {
    'bom-ref': 'node@24.21.0',
    type: 'platform',
    name: 'node',
    version: '24.21.0',
    purl: 'pkg:generic/node@24.21.0',
    licenses: [{ license: { id: 'MIT' } }],
  };
  bill.components = [runtime, ...bill.components];
  for (const component of [bill.metadata.component, ...bill.components]) {
    delete component.externalReferences;
    delete component.properties;
  }
  return `${JSON.stringify(bill, null, 2)}\n`;
}
