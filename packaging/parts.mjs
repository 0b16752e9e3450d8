/** What the program holds of others: their licences, and the bill of materials. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeParts } from './nodeParts.mjs';
import { runtimeOf } from './program.mjs';
import { fetched, originOf, root } from './tools.mjs';

/** npm packages that the bundle may hold: all that are no tools, from the lock file. */
export function bundled() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path, { dev, optional, devOptional }]) => path !== '' && !dev && !optional && !devOptional)
    .map(([path]) => ({
      path: join(root, path),
      integrity: packages[path].integrity,
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

/**
 * CycloneDX, without what changes from run to run, and without the places that packages came from.
 *
 * @returns the same for the same commit: npm packages, the runtime with its origin, and the runtime's own libraries
 */
export function billOfMaterials(architecture, version, date) {
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
  for (const component of [bill.metadata.component, ...bill.components]) {
    delete component.externalReferences;
    delete component.properties;
  }
  const { node, libraries } = runtimeParts(architecture);
  bill.components = [node, ...libraries, ...bill.components];
  const references = libraries.map(({ 'bom-ref': reference }) => reference);
  bill.dependencies.push({ ref: node['bom-ref'], dependsOn: references });
  bill.dependencies.find(({ ref }) => ref === whole).dependsOn.push(node['bom-ref']);
  return `${JSON.stringify(bill, null, 2)}\n`;
}

/** The runtime, where it is from and what became of it, and its libraries. */
function runtimeParts(architecture) {
  const { file, versions } = runtimeOf(architecture);
  const { name, version, sha512 } = originOf(architecture);
  const node = {
    'bom-ref': `node@${versions.node}`,
    type: 'platform',
    name: 'node',
    version: versions.node,
    // Of bin/node as it was published; the program holds it stripped, with the bundle put in.
    hashes: [{ alg: 'SHA-256', content: createHash('sha256').update(readFileSync(file)).digest('hex') }],
    licenses: [{ license: { id: 'MIT' } }],
    cpe: `cpe:2.3:a:nodejs:node.js:${versions.node}:*:*:*:*:*:*:*`,
    purl: `pkg:generic/node@${versions.node}`,
    pedigree: {
      ancestors: [
        {
          type: 'library',
          name,
          version,
          purl: `pkg:npm/${name}@${version}`,
          hashes: [{ alg: 'SHA-512', content: sha512 }],
        },
      ],
      notes:
        `bin/node of the npm package ${name}@${version}, in which a third party publishes the release binaries of the ` +
        'Node.js project again. The digest is that of the package as npm packs it, and is compared before each build. ' +
        'The binary was stripped, and the onboardd bundle was added with postject.',
    },
  };
  return { node, libraries: nodeParts(versions) };
}
