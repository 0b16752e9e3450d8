import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fleetLines, fleetWithEvents } from '../../support/fleetLogs.ts';
import { programFile, runToEnd } from '../../support/program.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'report-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lines = [...fleetLines(25, 7)];
const put = (name: string, text: string | Buffer) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const told = (path: string) => {
  const { status, stdout, stderr } = runToEnd(['report', '--json', path]);
  expect(status, stderr).toBe(0);
  const json = JSON.parse(stdout);
  // A collector knows the host.
  return { ...json, list: json.list.map((device: object) => ({ ...device, host: null })) };
};

/** An entry as `journalctl -o export` writes it: text fields, and one of bytes with its length. */
function exported(line: string): Buffer {
  const json = JSON.parse(line);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(line)));
  return Buffer.concat([
    Buffer.from(
      `__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=${Date.parse(json.timestamp)}000\n_HOSTNAME=h-${json.deviceId}\nMESSAGE\n`,
    ),
    length,
    Buffer.from(`${line}\nPRIORITY=6\n\n`),
  ]);
}

const dockerParts = (line: string) => {
  const text = `${line.slice(0, -1)},"remedy":"${'x'.repeat(40_000)}"}\n`;
  const time = JSON.parse(line).timestamp;
  return Array.from({ length: Math.ceil(text.length / 16_384) }, (_, part) =>
    JSON.stringify({ log: text.slice(part * 16_384, (part + 1) * 16_384), stream: 'stdout', time }),
  ).join('\n');
};

const nanoseconds = (line: string) => `${Date.parse(JSON.parse(line).timestamp)}000000`;
const lokiAnswer = (indent: number) =>
  JSON.stringify(
    {
      status: 'success',
      data: {
        resultType: 'streams',
        result: [0, 1].map((half) => ({
          stream: { job: 'onboardd', host: 'h' },
          values: lines.filter((_, index) => index % 2 === half).map((line) => [nanoseconds(line), line]),
        })),
        stats: {},
      },
    },
    null,
    indent,
  );

test('exports of the journal, docker lines cut at 16 kB, and answers of Loki are told as the lines themselves', () => {
  const expected = told(put('plain.log', `${lines.join('\n')}\n`));
  const { lines: read, ...rest } = expected;
  expect(read.read).toBe(lines.length);
  for (const path of [
    put('journal.export', Buffer.concat(lines.map(exported))),
    put('docker.log', `${lines.map(dockerParts).join('\n')}\n`),
    put('loki.json', lokiAnswer(0)),
    put('pretty.json', lokiAnswer(2)),
  ])
    expect(told(path)).toMatchObject(rest);
});

test.each([
  ['text', 'Nov 24 00:00:00 host sshd[1]: Accepted\n', /no line of onboardd/],
  ['JSON of others', '{"level":"info","msg":"hello"}\n', /no line of onboardd/],
  ['an empty file', '', /no line of onboardd/],
  [
    'an answer of Loki without lines',
    '{"status":"success","data":{"resultType":"streams","result":[]}}',
    /no line/,
  ],
  [
    'an answer of Loki that is cut',
    lokiAnswer(0).slice(0, -500),
    /begins like an answer of Loki, but is not JSON/,
  ],
  [
    'an error of Loki',
    '{"status":"error","errorType":"bad_data","error":"parse error"}',
    /no line of onboardd/,
  ],
  ['an archive', Buffer.from('504b030414000000', 'hex'), /ZIP archive/],
  ['a binary file', Buffer.alloc(5000, 7), /no line of onboardd/],
  ['cut gzip', Buffer.from('1f8b0800000000000003', 'hex'), /odd\.log: .+/],
])('%s fails, and says why', (_, content, why) => {
  const { status, stderr } = runToEnd(['report', put('odd.log', content)]);
  expect(status).toBe(1);
  expect(stderr).toMatch(why);
});

test('the journal’s own export of this system fails if it holds nothing of onboardd, and does not crash', () => {
  const { status, stdout } = spawnSync('journalctl', ['-o', 'export', '-n', '50', '--no-pager']);
  if (status !== 0 || stdout.length === 0) return;
  expect(runToEnd(['report', put('journal.export', stdout)]).status).toBe(1);
});

test('--json is what docs/report.schema.json says, and nothing besides', () => {
  const schema = JSON.parse(
    readFileSync(new URL('../../../docs/report.schema.json', import.meta.url), 'utf8'),
  );
  const strict = JSON.parse(JSON.stringify(schema), (_, value) =>
    value?.properties === undefined || value.additionalProperties !== undefined
      ? value
      : { ...value, additionalProperties: false },
  );
  const ajv = formats.default(new Ajv2020({ allowUnionTypes: true }));
  const validate = ajv.compile(strict);
  const odd = [
    '{"event":"daemon.started","timestamp":"1970-01-01T00:00:01.000Z","deviceId":"odd"}',
    '{"MESSAGE":"{\\"event\\":\\"device.failed\\",\\"timestamp\\":\\"2026-11-20T07:00:00.000Z\\",\\"code\\":\\"CONFIG_INVALID\\"}","_HOSTNAME":"h"}',
    '{"event":"step.failed","timestamp":"2026-11-20T07:00:00.000Z","code":"NATS_TLS","reason":"tls-expired","deviceId":"d"}',
  ];
  for (const text of [[...fleetWithEvents(60, 5), ...odd].join('\n'), odd[0] ?? '']) {
    for (const more of [[], ['--compare', '2026-11-20/2026-11-21,2026-11-21/2026-11-22']]) {
      const { stdout } = runToEnd(['report', '--json', put('a.log', text), ...more]);
      expect(validate(JSON.parse(stdout)), ajv.errorsText(validate.errors)).toBe(true);
    }
  }
});

test('--compare tells failures and devices of two periods, and refuses what is no pair of periods', () => {
  const log = put('a.log', [...fleetWithEvents(60, 5)].join('\n'));
  const hours = '2026-11-20T06:00/2026-11-20T11:00,2026-11-20T11:00/2026-11-20T12:00';
  const { status, stdout } = runToEnd(['report', '--json', '--compare', hours, log]);
  expect(status).toBe(0);
  const { comparison, failing, devices, list } = JSON.parse(stdout);
  const timeouts = comparison.rows.find(({ name }: { name: string }) => name === 'PROVISIONING_TIMEOUT');
  const hit = list.filter(({ codes }: { codes: object }) => 'PROVISIONING_TIMEOUT' in codes).length;
  expect(hit).toBeGreaterThan(40);
  expect(timeouts).toEqual({
    ...{ kind: 'code', name: 'PROVISIONING_TIMEOUT' },
    ...{ counts: [0, 3 * hit], devices: [0, hit] },
  });
  expect([failing >= hit, failing <= devices]).toEqual([true, true]);
  expect(runToEnd(['report', '--compare', hours, log]).stdout).toMatch(
    /^Two periods: .*\n.*devices\n {2}all/m,
  );
  const refused = runToEnd(['report', '--compare', 'yesterday', log]);
  expect(refused.status).toBe(64);
  expect(refused.stderr).toMatch(/^onboardd: --compare is "yesterday"; allowed: two periods such as /);
});

test('--follow tells what is appended, and goes on with the file that takes its place', async () => {
  const log = put('a.log', `${lines[0]}\n`);
  const child = spawn(process.execPath, [programFile, 'report', '--follow', '--json', log]);
  const ended = once(child, 'exit');
  const reports = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const until = async (read: number) => {
    for (;;) {
      const { value, done } = await reports.next();
      if (done === true) throw new Error('it ended');
      if (JSON.parse(value).lines.read === read) return;
    }
  };
  try {
    await until(1);
    const half = (lines[1] ?? '').slice(0, 50);
    appendFileSync(log, half);
    appendFileSync(log, `${(lines[1] ?? '').slice(50)}\n${lines[2]}\n`);
    await until(3);
    renameSync(log, `${log}.1`);
    put('a.log', `${lines[3]}\n`);
    await until(4);
  } finally {
    child.kill();
    await ended;
  }
});
