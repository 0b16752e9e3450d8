import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fleetLines } from '../../support/fleetLogs.ts';
import { programFile, runToEnd } from '../../support/program.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'report-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('the program reads files, compressed ones and standard input alike, and writes the page', async () => {
  const text = `${[...fleetLines(300, 7)].join('\n')}\nrubbish\n`;
  writeFileSync(join(folder, 'a.log'), text);
  writeFileSync(join(folder, 'a.log.gz'), gzipSync(text));
  const html = join(folder, 'out.html');
  const plain = runToEnd(['report', join(folder, 'a.log'), '--html', html]);
  expect(plain.status, plain.stderr).toBe(0);
  expect(plain.stdout).toMatch(/; 300 devices, 2026-11-20/);
  expect(plain.stdout).toMatch(/^ {2}idle +300 +100\.0 %/m);
  expect(plain.stdout).toMatch(/^ {4}remedy: Check the network, the name resolution/m);
  expect(readFileSync(html, 'utf8')).toContain('<h2>Stuck devices</h2>');
  expect(runToEnd(['report', join(folder, 'a.log.gz')]).stdout).toBe(plain.stdout);
  const child = spawn(process.execPath, [programFile, 'report']);
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stdin.end(text);
  await once(child, 'close');
  expect(stdout).toBe(plain.stdout);
});

test('a file that is not there is named, and the others are told', () => {
  writeFileSync(join(folder, 'a.log'), [...fleetLines(3, 7)].join('\n'));
  const { status, stdout, stderr } = runToEnd(['report', join(folder, 'none.log'), join(folder, 'a.log')]);
  expect(status).toBe(1);
  expect(stderr).toContain('none.log');
  expect(stdout).toContain('3 devices');
});

test('xz and zstd are unpacked, and a file with nothing of onboardd or of another kind is named and fails', () => {
  const log = join(folder, 'a.log');
  writeFileSync(log, `${[...fleetLines(20, 7)].join('\n')}\n`);
  const plain = runToEnd(['report', log]).stdout;
  for (const [command, name] of [
    ['xz', 'a.log.xz'],
    ['zstd', 'a.log.zst'],
  ] as const) {
    const { status, stdout } = spawnSync(command, ['-c', log], { maxBuffer: 1e8 });
    if (status !== 0) continue;
    writeFileSync(join(folder, name), stdout);
    expect(runToEnd(['report', join(folder, name)]).stdout).toBe(plain);
  }
  writeFileSync(join(folder, 'other.log'), 'text\n{"a":1}\n');
  writeFileSync(join(folder, 'b.bz2'), 'BZh91AY&SY');
  const { status, stderr } = runToEnd(['report', log, join(folder, 'other.log'), join(folder, 'b.bz2')]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/other\.log: no line of onboardd/);
  expect(stderr).toMatch(/b\.bz2: it is packed with bzip2/);
});

test.each([
  ['cut', (packed: Buffer) => packed.subarray(0, packed.length - 20)],
  ['damaged', (packed: Buffer) => Buffer.concat([packed.subarray(0, -400), Buffer.alloc(400, 0xff)])],
])('of a packed log that is %s, what comes before counts, and the file is named', (_, spoil) => {
  for (const [devices, least] of [
    [40, 25],
    [300, 285],
  ] as const) {
    const packed = join(folder, 'a.log.gz');
    writeFileSync(packed, spoil(gzipSync(`${[...fleetLines(devices, 7)].join('\n')}\n`)));
    const { status, stdout, stderr } = runToEnd(['report', '--json', packed]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/a\.log\.gz: .+/);
    expect(stderr).not.toContain('no line of onboardd');
    const told = JSON.parse(stdout) as { devices: number };
    expect(told.devices).toBeGreaterThanOrEqual(least);
  }
});

test('a journal that is packed and cut counts up to there', () => {
  const entries = [...fleetLines(50, 7)].map((line) => JSON.stringify({ MESSAGE: line, __CURSOR: 's=1' }));
  const packed = gzipSync(`${entries.join('\n')}\n`);
  writeFileSync(join(folder, 'j.gz'), packed.subarray(0, packed.length - 20));
  const { status, stdout } = runToEnd(['report', join(folder, 'j.gz')]);
  expect(status).toBe(1);
  expect(stdout).toMatch(/; (4[5-9]|50) devices/);
});

test('a large log is told alike by one thread and by three, packed or not', () => {
  const lines = [...fleetLines(1200, 7, 14)];
  const text = `${lines.join('\n')}\n${lines.slice(100, 400).join('\n')}\n`;
  const [log, packed] = [join(folder, 'a.log'), join(folder, 'a.log.gz')];
  writeFileSync(log, text);
  writeFileSync(packed, gzipSync(text, { level: 1 }));
  expect(text.length).toBeGreaterThan(7_000_000);
  const alone = runToEnd(['report', '--json', '--threads', '1', log]);
  expect(JSON.parse(alone.stdout).lines).toMatchObject({ read: lines.length + 300, duplicates: 300 });
  for (const file of [log, packed]) {
    const { status, stdout } = runToEnd(['report', '--json', '--threads', '3', file]);
    expect(status).toBe(0);
    expect(stdout).toBe(alone.stdout);
  }
  expect(runToEnd(['report', '--threads', '0', log])).toMatchObject({ status: 64 });
});

test('a reader that is slow gets all of a long report', async () => {
  const log = join(folder, 'a.log');
  writeFileSync(log, `${[...fleetLines(1200, 7)].join('\n')}\n`);
  const whole = runToEnd(['report', '--json', log]).stdout;
  const child = spawn('sh', [
    '-c',
    '"$0" "$1" report --json "$2" | (sleep 2; cat)',
    process.execPath,
    programFile,
    log,
  ]);
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  await once(child, 'close');
  expect(stdout.length).toBeGreaterThan(300_000);
  expect(stdout === whole).toBe(true);
});
