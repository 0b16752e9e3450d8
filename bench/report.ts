import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { commitMeasured } from '../test/support/commit.ts';
import { type Figures, isSame, ofReport } from './reportFigures.ts';
import { writeBenchLog } from './reportLogs.ts';
import { median, pairRatios } from './statistics.ts';
import { fixed, table } from './table.ts';

/**
 * `onboardd report` next to DuckDB and jq, which compute the same figures from the same file: `npm run bench:report --
 * [--lines 10000,100000,1000000,10000000] [--rounds 5] [--jq 100000] [--write]`. What they print is compared. jq is
 * left out above as many lines as `--jq` says, and where it is not installed.
 */
const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '10000,100000,1000000' },
    rounds: { type: 'string', default: '5' },
    jq: { type: 'string', default: '100000' },
    write: { type: 'boolean', default: false },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'bench-report-'));
const mostForJq = Number(values.jq);

interface Usage {
  /** From the start of the process to its end, seconds */
  readonly wall: number;
  /** User and system, all threads, seconds */
  readonly cpu: number;
  /** Resident at most, MB */
  readonly memory: number;
}

interface Row {
  readonly lines: number;
  readonly megabytes: number;
  readonly name: string;
  readonly usage: readonly Usage[];
}

const node = process.execPath;
const program = join(root, 'dist/onboardd.cjs');
const contenders: readonly (readonly [name: string, command: (log: string) => string[], most: number])[] = [
  ['onboardd report', (log) => [node, program, 'report', '--json', log], Number.POSITIVE_INFINITY],
  [
    'on one thread',
    (log) => [node, program, 'report', '--json', '--threads', '1', log],
    Number.POSITIVE_INFINITY,
  ],
  ['DuckDB', (log) => [node, join(root, 'bench/reportDuckDb.mjs'), log], Number.POSITIVE_INFINITY],
  ['jq', (log) => ['jq', '-n', '-f', join(root, 'bench/report.jq'), log], mostForJq],
];

/** GNU time is not everywhere: the shell that starts a command tells what its children took. */
async function run(command: readonly string[]): Promise<Usage & { output: string }> {
  const probe = `import resource, subprocess, sys, time
begun = time.monotonic()
code = subprocess.call(sys.argv[1:])
wall = time.monotonic() - begun
used = resource.getrusage(resource.RUSAGE_CHILDREN)
sys.stderr.write("\\nused %f %f %f" % (wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000))
sys.exit(code)`;
  const child = spawn('python3', ['-c', probe, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      texts[stream] += text;
    });
  const status = await new Promise((resolve) => child.once('close', resolve));
  const [, wall, cpu, memory] = /used (\S+) (\S+) (\S+)$/.exec(texts.stderr) ?? [];
  if (status !== 0 || memory === undefined)
    throw new Error(`${command.join(' ')}: ${status} ${texts.stderr}`);
  return { wall: Number(wall), cpu: Number(cpu), memory: Number(memory), output: texts.stdout };
}

async function measure(lines: number, rounds: number): Promise<Row[]> {
  const log = join(folder, 'fleet.log');
  const megabytes = writeBenchLog(log, lines) / 1e6;
  const hasJq = spawnSync('jq', ['--version']).status === 0;
  const running = contenders.filter(([name, , most]) => lines <= most && (name !== 'jq' || hasJq));
  const usages = running.map((): Usage[] => []);
  for (let round = 0; round < rounds; round++) {
    let expected: Figures | null = null;
    // Each round begins with another one.
    for (let turn = 0; turn < running.length; turn++) {
      const index = (turn + round) % running.length;
      const [name, command] = running[index] as (typeof contenders)[number];
      const { output, ...usage } = await run(command(log));
      usages[index]?.push(usage);
      const json = JSON.parse(output);
      const figures: Figures = 'list' in json ? ofReport(json) : json;
      expected ??= figures;
      const difference = isSame(figures, expected);
      if (difference !== null) throw new Error(`${name} differs at ${lines} lines: ${difference}`);
    }
  }
  rmSync(log);
  return running.map(([name], index) => ({ lines, megabytes, name, usage: usages[index] ?? [] }));
}

function tableOf(rows: readonly Row[]): string {
  return table(
    [
      'lines',
      'MB',
      'program',
      'seconds',
      'CPU s',
      'peak MB',
      'time by DuckDB',
      'CPU by DuckDB',
      'memory by DuckDB',
    ],
    rows.map(({ lines, megabytes, name, usage }) => {
      const duck = rows.find((row) => row.lines === lines && row.name === 'DuckDB')?.usage ?? [];
      const of = (key: keyof Usage) => usage.map((one) => one[key]);
      const ratio = (key: keyof Usage) =>
        fixed(
          median(
            pairRatios(
              of(key),
              duck.map((one) => one[key]),
            ),
          ),
          2,
        );
      return [
        ...[lines.toLocaleString('en-US'), fixed(megabytes), name],
        ...[fixed(median(of('wall')), 2), fixed(median(of('cpu')), 2), fixed(median(of('memory')))],
        ...(['wall', 'cpu', 'memory'] as const).map(ratio),
      ];
    }),
  );
}

function page(rows: readonly Row[], rounds: number): string {
  const [cpu] = cpus();
  return `# Performance of \`onboardd report\`

Written by \`npm run bench:report -- --lines ${values.lines} --rounds ${rounds} --jq ${values.jq} --write\`; do not edit. Commit ${commitMeasured()}; ${cpus().length} cores (${cpu?.model ?? 'unknown'}), Node ${process.versions.node}, load average ${fixed(loadavg()[1] ?? 0, 1)} of the last five minutes.

The log of a fleet of 10,000 devices, as JSON lines, read from the page cache. Medians of ${rounds} rounds, each of which runs every program once,
one after the other; "by DuckDB" is the median of the quotients of neighbours. DuckDB loads the fields that matter into a table in
memory and queries it ([bench/reportDuckDb.mjs](../bench/reportDuckDb.mjs)); jq groups all lines ([bench/report.jq](../bench/report.jq)),
above ${mostForJq.toLocaleString('en-US')} lines it is left out, as it is slower by a factor of ten and more. Each run includes the start of its process. What the programs print is compared: lines and different
lines, events, times in each state (quantiles within 2 %), errors with devices and example, state and failures of every device. The report
also tells resets and wrong clocks, which the queries do not.

${tableOf(rows)}
`;
}

const rows: Row[] = [];
const rounds = Number(values.rounds);
try {
  for (const lines of values.lines.split(',').map(Number)) {
    rows.push(...(await measure(lines, lines > 1_000_000 ? Math.min(rounds, 2) : rounds)));
    console.log(tableOf(rows.filter((row) => row.lines === lines)));
  }
  if (values.write) writeFileSync(join(root, 'docs/performance-report.md'), page(rows, rounds));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
