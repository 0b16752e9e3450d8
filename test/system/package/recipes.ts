/** The recipes for other build systems: the commands of their own files are run, and what they lay out is compared. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../../packaging/tools.mjs';

const packaging = join(root, 'packaging');
/** What each build system leaves out of the archive. */
const leftOut = /^usr\/(share\/lintian|lib\/sysusers\.d)(\/|$)/;

/** The folder of a check, removed after it. */
function inFolder<T>(check: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'recipe-'));
  try {
    return check(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Yocto's recipe: every line is an assignment, a directive or a task, and `do_install` lays out the archive. */
export function yoctoRecipe(tree: string): string {
  const layer = join(packaging, 'yocto/meta-onboardd');
  const recipe = readFileSync(join(layer, 'recipes-core/onboardd/onboardd.bb'), 'utf8');
  const variable = String.raw`[\w-]+(?::[\w$\{\}-]+)*(?:\[\w+\])?`;
  const line = new RegExp(
    String.raw`^(#.*|inherit [\w -]+|${variable} (?:\?\?=|\?=|\+=|\.=|:=|=) ".*"|${variable} = ".*")?$`,
  );
  const [task = '', body = ''] = /^do_install\(\) \{\n([\s\S]*?)^\}$/m.exec(recipe) ?? [];
  for (const text of [recipe.replace(task, ''), readFileSync(join(layer, 'conf/layer.conf'), 'utf8')])
    for (const one of text.split('\n')) assert.match(one, line);
  assert.match(recipe, /^INHIBIT_PACKAGE_STRIP = "1"$/m);
  return inFolder((folder) => {
    const env = { PATH: process.env.PATH, S: tree, D: folder, sysconfdir: '/etc', ONBOARDD_SYSTEMD_253: '1' };
    execFileSync('sh', ['-eu', '-c', body], { env });
    return laidOut(tree, folder);
  });
}

/** Buildroot's package: make(1) reads it with a stand-in for `generic-package`, and runs its commands. */
export function buildrootPackage(tree: string): string {
  return inFolder((folder) => {
    const target = join(folder, 'target');
    mkdirSync(target);
    const makefile = join(folder, 'Makefile');
    writeFileSync(
      makefile,
      [
        'qstrip = $(strip $(subst ",,$(1)))',
        'BR2_PACKAGE_ONBOARDD = y',
        'BR2_PACKAGE_ONBOARDD_VERSION = "1.2.3"',
        'BR2_aarch64 = y',
        `BR2_EXTERNAL_ONBOARDD_PATH = ${packaging}/buildroot`,
        'define generic-package',
        'source: ; @echo $$(ONBOARDD_SITE)/$$(ONBOARDD_SOURCE)',
        '$(STAMP): ; $$(ONBOARDD_INSTALL_TARGET_CMDS)',
        'endef',
        'include $(BR2_EXTERNAL_ONBOARDD_PATH)/external.mk',
        '',
      ].join('\n'),
    );
    // As Buildroot names it: the folder of the target, $(@D), is that of the unpacked archive.
    const stamp = join(tree, '.stamp_target_installed');
    const make = (goal: string, ...settings: string[]) =>
      spawnSync('make', ['-s', '-f', makefile, goal, `TARGET_DIR=${target}`, `STAMP=${stamp}`, ...settings], {
        encoding: 'utf8',
        cwd: folder,
      });
    const kept = 'BR2_STRIP_EXCLUDE_FILES="onboardd"';
    const { stdout, stderr } = make('source', 'BR2_STRIP_strip=y', kept);
    assert.equal(
      stdout.trim(),
      `${packaging}/buildroot/package/onboardd/onboardd-1.2.3-linux-arm64.tar.gz`,
      stderr,
    );
    assert.match(make('source', 'BR2_STRIP_strip=y').stderr, /must not be stripped/);
    const installed = make(stamp, 'BR2_STRIP_strip=y', kept);
    assert.equal(installed.status, 0, installed.stderr);
    return laidOut(tree, target);
  });
}

/** Every file of the archive is there, byte for byte, with its mode; the program runs. @returns how many */
function laidOut(tree: string, target: string): string {
  const files = readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter(
    (path) => !lstatSync(join(tree, path)).isDirectory() && !path.startsWith('DEBIAN'),
  );
  for (const path of files) {
    const [from, to] = [join(tree, path), join(target, path)];
    if (leftOut.test(path) && !existsSync(to)) continue;
    const stat = lstatSync(from);
    assert.equal(lstatSync(to).mode, stat.mode, path);
    if (stat.isSymbolicLink()) assert.equal(readlinkSync(to), readlinkSync(from), path);
    else assert.ok(readFileSync(to).equals(readFileSync(from)), path);
  }
  const link = 'usr/lib/systemd/system/onboardd.service.d/10-systemd-253.conf';
  assert.equal(readlinkSync(join(target, link)), '/usr/lib/onboardd/systemd-253.conf');
  return `${files.length} files`;
}

/** The Nix files: evaluated with a stand-in for nixpkgs, and the install phase run in a shell. */
export function nixFiles(tree: string): string {
  return inFolder((folder) => {
    const nix = (expression: string) => {
      const env = {
        ...process.env,
        HOME: folder,
        NIX_STORE_DIR: join(folder, 'store'),
        NIX_STATE_DIR: join(folder, 'var'),
        NIX_LOG_DIR: join(folder, 'log'),
      };
      const args = ['--eval', '--strict', '--json', '--expr', expression];
      return JSON.parse(
        execFileSync('nix-instantiate', args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] }),
      );
    };
    const service = nix(
      `${stub} (module { enable = true; package = "/p"; settings = { provisioning.url = "http://a"; device.type = "t"; }; credentials."provisioning.token" = "/t"; readWritePaths = [ "/w" ]; }).systemd.services.onboardd.content.serviceConfig`,
    );
    assert.deepEqual(service, {
      ExecCondition: '',
      LoadCredential: ['provisioning.token:/t'],
      ReadWritePaths: ['/w'],
    });
    const built = nix(`${stub} flake.lib.packageOf pkgs "/archive"`);
    assert.deepEqual([built.pname, built.dontStrip, built.src], ['onboardd', true, '/archive']);
    const out = join(folder, 'out');
    const script = `runHook() { :; }
      substituteInPlace() { files=(); while [ "$1" ] && [[ $1 != --* ]]; do files+=("$1"); shift; done
        while [ "$1" ]; do grep -q -- "$2" "\${files[@]}" || [ "$1" = --replace-warn ]; sed -i "s|$2|$3|g" "\${files[@]}"; shift 3; done; }
      ${built.installPhase}`;
    execFileSync(
      'bash',
      [
        '-eu',
        '-o',
        'pipefail',
        '-c',
        script
          .replace('while [ "$1" ] &&', 'while [ "${1-}" ] &&')
          .replace('while [ "$1" ]; do grep', 'while [ "${1-}" ]; do grep'),
      ],
      { cwd: tree, env: { PATH: process.env.PATH, out } },
    );
    const unit = readFileSync(join(out, 'lib/systemd/system/onboardd.service'), 'utf8');
    assert.match(unit, new RegExp(`^ExecStart=${out}/bin/onboardd run$`, 'm'));
    const units = join(out, 'lib/systemd/system');
    for (const name of readdirSync(units).filter((one) => one.endsWith('.service'))) {
      const text = readFileSync(join(units, name), 'utf8');
      // NixOS has /bin/sh and no other program below /bin or /usr/bin; the module clears the condition.
      const commands = [...text.matchAll(/^Exec\w+=[-+!:@]*(\S+)/gm)].map(([, program = '']) => program);
      const strange = commands.filter(
        (program) =>
          /^\/(usr|bin|lib)\//.test(program) && program !== '/bin/sh' && !program.endsWith('is-configured'),
      );
      assert.deepEqual(strange, [], name);
      assert.doesNotMatch(text, /[= ]\/usr\/bin\//, name);
    }
    assert.ok(existsSync(join(units, 'onboardd.service.d/10-systemd-253.conf')));
    return 'flake, package and module';
  });
}

/** The few functions of nixpkgs that the files call. */
const stub = `let
  lib = {
    mkEnableOption = text: { }; mkOption = option: option; mkIf = condition: content: { inherit content; };
    mapAttrsToList = f: set: map (name: f name set.\${name}) (builtins.attrNames set);
    licenses.asl20 = "Apache-2.0";
    types = { package = 0; str = 0; path = 0; attrsOf = t: t; listOf = t: t; };
  };
  pkgs = {
    formats.json = _: { type = 0; generate = name: value: builtins.toJSON value; };
    util-linux = "/util-linux";
    callPackage = file: arguments: (import file) ({ inherit lib; stdenv = { mkDerivation = set: set; cc.cc.lib = "/lib"; }; autoPatchelfHook = "/hook"; coreutils = "/coreutils"; systemd = "/systemd"; } // arguments);
  };
  flake = (import ${packaging}/nix/flake.nix).outputs { self = flake; nixpkgs = { }; };
  module = settings: let whole = flake.nixosModules.default { config = { services.onboardd = settings; systemd.package = "/systemd"; }; inherit lib pkgs; }; in { systemd.services.onboardd.content = whole.config.content.systemd.services.onboardd; };
in`;
