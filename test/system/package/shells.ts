import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Interactive shells, each with the completion of a tree. */
type Shell = 'bash' | 'zsh' | 'fish';

/** What is typed before the Tab key, and the line that it becomes. */
const typed: readonly [string, string][] = [
  ['onboardd sta', 'onboardd status'],
  ['onboardd expl', 'onboardd explain'],
  ['onboardd explain CONFIG_', 'onboardd explain CONFIG_INVALID'],
  ['onboardd explain certificate.ren', 'onboardd explain certificate.renewed'],
  ['onboardd wait --ti', 'onboardd wait --timeout'],
  ['onboardd report --since 9', 'onboardd report --since 90m'],
  ['onboardd report --follow fleet', 'onboardd report --follow fleet-1.log'],
  ['onboardd run --config conf', 'onboardd run --config configuration.json'],
  ['onboardd --state-dir stat', 'onboardd --state-dir state-of-device'],
  ['onboardd status --w', 'onboardd status --watch'],
];

/** Presses the Tab key in a real shell on a terminal. @throws where a line is completed otherwise */
export function completeIn(shell: Shell, tree: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'shell-'));
  try {
    mkdirSync(join(folder, 'state-of-device'));
    for (const name of ['fleet-1.log', 'configuration.json']) writeFileSync(join(folder, name), '');
    for (const [line, expected] of typed)
      assert.equal(completed(shell, { tree, folder, line }).replace(/\/$/, ''), expected, shell);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return `${typed.length} lines`;
}

interface Typed {
  readonly tree: string;
  /** Where the shell runs */
  readonly folder: string;
  readonly line: string;
}

/** @returns the line that was run, its words divided by one space */
function completed(shell: Shell, { tree, folder, line }: Typed): string {
  if (shell === 'fish') return offeredByFish({ tree, folder, line });
  const share = join(tree, 'usr/share');
  const begin =
    shell === 'bash'
      ? `. ${share}/bash-completion/completions/onboardd; PS1=; bind 'set enable-bracketed-paste off'; bind 'set bell-style none'`
      : `fpath=(${share}/zsh/vendor-completions $fpath); autoload -Uz compinit; compinit -u -D; PS1=; unsetopt beep`;
  const run = shell === 'bash' ? 'bash --norc --noprofile -i' : 'zsh -f -i';
  const result = join(folder, '.result');
  // What was completed is what the function is called with.
  const define = `onboardd() { echo onboardd $* > ${result}; }`;
  const keys = [begin, define, `${line}\t`, 'exit', ''].join('\n');
  execFileSync('script', ['-qec', run, '/dev/null'], {
    cwd: folder,
    input: keys,
    env: { ...process.env, TERM: 'dumb', HOME: folder, HISTFILE: '/dev/null' },
    stdio: ['pipe', 'ignore', 'ignore'],
    timeout: 60_000,
  });
  return execFileSync('cat', [result], { encoding: 'utf8' }).trim();
}

/** fish answers the same question without a terminal. */
function offeredByFish({ tree, folder, line }: Typed): string {
  const script = `source ${tree}/usr/share/fish/vendor_completions.d/onboardd.fish; complete -C '${line}'`;
  const offered = execFileSync('fish', ['--no-config', '-c', script], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HOME: folder },
  });
  const [word = ''] = offered.split('\n').map((one) => one.split('\t')[0] ?? '');
  return [...line.split(' ').slice(0, -1), word].join(' ');
}
