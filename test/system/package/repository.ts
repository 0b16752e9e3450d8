import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../../packaging/tools.mjs';
import { type Architecture, freshTree, inTree, type Suite } from '../boot/image.ts';
import { withVersion } from './life.ts';
import { throwAwayKey } from './origins.ts';

/** Sorts below every build. */
const earlier = '0.0.1';
/** Sorts above every build. */
const candidate = '99.0.0';
const keyring = 'usr/share/keyrings/onboardd-archive-keyring.asc';

/**
 * The apt repository that `npm run repository` makes, served over HTTP, with the real apt of a Debian tree: installed from,
 * upgraded from, and refused once anything in it was changed or somebody else signed it.
 */
export async function aptRepository(
  suite: Suite,
  architecture: Architecture,
  deb: string,
  tell: (what: string) => void,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'repository-'));
  const { tree, remove } = freshTree(architecture, suite);
  const out = join(folder, 'out');
  const server = await serve(out);
  try {
    const key = throwAwayKey(folder);
    const apt = aptOf(tree, server.port);
    const installed = () => inTree(tree, 'dpkg-query', '-W', 'onboardd').trim().split('\t')[1];
    const offered = /_(.*)_[^_]+\.deb$/.exec(deb)?.[1] ?? '';

    publish(key, out, withVersion(deb, earlier, folder));
    cpSync(join(out, 'onboardd-archive-keyring.asc'), join(tree, keyring));
    assert.doesNotMatch(apt.succeeds('update'), /^[WE]:/m);
    assert.match(apt.succeeds('install', '-y', 'onboardd'), /is not configured; write this line/);
    assert.equal(installed(), earlier);
    tell(`${suite}, apt update && apt install: ${earlier} is installed`);

    publish(key, out, deb);
    apt.succeeds('update');
    apt.succeeds('upgrade', '-y');
    assert.equal(installed(), offered);
    assert.equal(inTree(tree, 'dpkg', '--verify', 'onboardd'), '');
    tell(`${suite}, apt upgrade: ${offered} is installed`);
    apt.succeeds('install', '-y', '--allow-downgrades', `onboardd=${earlier}`);
    assert.equal(installed(), earlier);
    tell(`${suite}, apt install onboardd=${earlier}: the earlier package is still there`);

    suites(key, out, withVersion(deb, candidate, folder));
    apt.succeeds('update');
    assert.doesNotMatch(
      inTree(tree, 'apt-cache', 'policy', 'onboardd'),
      new RegExp(candidate.replaceAll('.', '\\.')),
    );
    tell(`${suite}, what is published in another suite is not offered in this one`);

    for (const [what, change] of tampering(out, folder)) {
      const saved = join(folder, 'saved');
      cpSync(out, saved, { recursive: true });
      change();
      apt.forget();
      const said = apt.fails(what.includes('package') ? ['update', 'install -y onboardd'] : ['update']);
      assert.match(
        said,
        /BADSIG|invalid signature|NO_PUBKEY|[Hh]ash [Ss]um mismatch|unexpected size|not signed|Bad signature|Missing key/,
      );
      assert.equal(installed(), earlier);
      rmSync(out, { recursive: true });
      cpSync(saved, out, { recursive: true });
      rmSync(saved, { recursive: true });
      tell(`${suite}, ${what}: refused`);
    }
    apt.forget();
    apt.succeeds('update');
    tell(`${suite}, as it was: taken again`);
  } finally {
    server.child.kill();
    remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param options further ones of `npm run repository` */
export function publish(key: string, out: string, deb: string, ...options: string[]): void {
  const script = join(root, 'packaging/repository.ts');
  const args = ['--import', 'tsx', script, '--key', key, '--out', out, ...options, deb];
  execFileSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A candidate goes into a suite of its own, and comes again with other bytes, which is refused. */
function suites(key: string, out: string, deb: string): void {
  const index = (name: string) => {
    const indices = join(out, 'dists', name, 'main');
    return readdirSync(indices)
      .map((one) => readFileSync(join(indices, one, 'Packages'), 'utf8'))
      .join('');
  };
  const before = index('stable');
  publish(key, out, deb, '--suite', 'testing');
  assert.deepEqual(
    [...index('testing').matchAll(/^Version: (.*)$/gm)].map(([, one]) => one),
    [candidate],
  );
  const [published = ''] = readdirSync(join(out, 'pool/main/o/onboardd')).filter(
    (name) => !name.includes(candidate),
  );
  publish(key, out, join(out, 'pool/main/o/onboardd', published));
  assert.equal(index('stable'), before, 'the candidate got into the stable suite');
  appendFileSync(deb, '\n');
  assert.throws(() => publish(key, out, deb, '--suite', 'testing'), /was published with other bytes/);
}

/** What an attacker on the way, or on the web server, could do. */
function tampering(out: string, folder: string): [string, () => void][] {
  const dists = join(out, 'dists/stable');
  const pool = join(out, 'pool/main/o/onboardd');
  const other = () => {
    const [first = ''] = readdirSync(pool);
    publish(throwAwayKey(folder), out, join(pool, first));
  };
  const inRelease = join(dists, 'InRelease');
  return [
    [
      'a signed text that was changed',
      () =>
        writeFileSync(
          inRelease,
          readFileSync(inRelease, 'utf8').replace('Origin: onboardd', 'Origin: somebody'),
        ),
    ],
    [
      'an index that was changed',
      () => {
        const indices = join(dists, 'main', readdirSync(join(dists, 'main'))[0] ?? '');
        for (const name of readdirSync(indices)) appendFileSync(join(indices, name), '\n');
      },
    ],
    [
      'a package that was changed',
      () => {
        for (const name of readdirSync(pool)) appendFileSync(join(pool, name), 'x');
      },
    ],
    ['the key of somebody else', other],
    [
      'no signature at all',
      () => {
        for (const name of ['InRelease', 'Release.gpg']) rmSync(join(dists, name));
      },
    ],
  ];
}

/** apt of a tree, which knows of no repository but the one on a port of this machine. */
export function aptOf(tree: string, port: number) {
  rmSync(join(tree, 'etc/apt/sources.list'), { force: true });
  for (const name of readdirSync(join(tree, 'etc/apt/sources.list.d')))
    rmSync(join(tree, 'etc/apt/sources.list.d', name));
  writeFileSync(
    join(tree, 'etc/apt/sources.list.d/onboardd.sources'),
    `Types: deb\nURIs: http://127.0.0.1:${port}/\nSuites: stable\nComponents: main\nSigned-By: /${keyring}\n`,
  );
  const run = (...args: string[]) =>
    spawnSync(
      'chroot',
      [tree, 'apt-get', '-o', 'Acquire::http::Proxy=false', '-o', 'Acquire::Retries=0', ...args],
      {
        encoding: 'utf8',
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
      },
    );
  return {
    succeeds(...args: string[]): string {
      const { status, stdout, stderr } = run(...args);
      assert.equal(status, 0, `apt-get ${args.join(' ')}: ${stdout}${stderr}`);
      return `${stdout}${stderr}`;
    },
    /** The last command has to fail. */
    fails(commands: string[]): string {
      const results = commands.map((command) => run(...command.split(' ')));
      const last = results.at(-1);
      assert.notEqual(last?.status, 0, `apt-get ${commands.at(-1)} succeeded`);
      return `${last?.stdout}${last?.stderr}`;
    },
    forget(): void {
      for (const path of ['var/lib/apt/lists', 'var/cache/apt'])
        for (const name of readdirSync(join(tree, path))) rmSync(join(tree, path, name), { recursive: true });
    },
  };
}

/** A web server in a process of its own, as apt is waited for. */
export async function serve(folder: string): Promise<{ child: ChildProcess; port: number }> {
  const script = `
    const { createReadStream } = require('node:fs');
    const { createServer } = require('node:http');
    const { join, normalize } = require('node:path');
    createServer((request, response) => {
      const file = createReadStream(join(process.argv[1], normalize(decodeURIComponent(request.url))));
      file.on('error', () => response.writeHead(404).end());
      file.pipe(response);
    }).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
  const child = spawn(process.execPath, ['-e', script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = await once(child.stdout.setEncoding('utf8'), 'data');
  return { child, port: Number(port) };
}
