import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { metricsFile } from '../../../src/adapters/metricsFile.ts';
import { problemFor } from '../../../src/errors/reasons.ts';
import { stateNames } from '../../../src/events.ts';
import type { Status } from '../../../src/services/diagnostics/status.ts';

const now = Date.parse('2026-11-24T12:00:00Z');
const status = (change: Partial<Status> = {}): Status => ({
  state: 'csr',
  since: '2026-11-24T11:00:00Z',
  deviceId: 'd1',
  alias: 'secret alias',
  attempt: 5,
  nextRetryAt: null,
  lastError: { code: 'NATS_TLS', reason: null, message: 'secret message', at: '2026-11-24T11:59:00Z' },
  certificate: {
    subject: 'CN=d1',
    notBefore: '2026-11-01T00:00:00Z',
    notAfter: '2026-11-24T13:00:00Z',
    renewAt: null,
  },
  natsUrl: 'nats://user:pass@host',
  version: '1.2',
  running: true,
  history: [],
  waitsFor: null,
  problems: [],
  ...change,
});

/** A file of metrics in a folder of its own. */
function start() {
  const folder = mkdtempSync(join(tmpdir(), 'metrics-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'onboardd.prom');
  const unwritable: string[] = [];
  const clock = { now };
  const file = metricsFile({
    states: stateNames,
    now: () => clock.now,
    onUnwritable: (...what) => void unwritable.push(what.join(': ')),
  });
  file.use(path);
  return { file, folder, path, clock, unwritable, text: () => readFileSync(path, 'utf8') };
}

test('the textfile tells state, attempts, failures by code, expiry and last seen, and no secret; others can read it', () => {
  const before = process.umask(0o077);
  onTestFinished(() => void process.umask(before));
  const { file, folder, path, text } = start();
  file.countFailure('NATS_TLS');
  file.countFailure('NATS_TLS');
  file.write(status());
  expect(text()).toContain('onboardd_state{state="csr"} 1\n');
  expect(text()).toContain('onboardd_state{state="registered"} 0\n');
  expect(text()).toContain('onboardd_attempts 5\n');
  expect(text()).toContain('onboardd_running 1\n');
  expect(text()).toContain('onboardd_failures_total{code="NATS_TLS"} 2\n');
  expect(text()).toContain(`onboardd_certificate_not_after_timestamp_seconds ${now / 1000 + 3600}\n`);
  expect(text()).toContain(`onboardd_last_seen_timestamp_seconds ${now / 1000}\n`);
  expect(text()).not.toMatch(/secret|pass|d1/);
  expect(statSync(path).mode & 0o777).toBe(0o644);
  expect(readdirSync(folder)).toEqual(['onboardd.prom']);
});

test('the textfile is replaced only if something changed, or the daily heartbeat says that the daemon lives', () => {
  const { file, clock, path, text } = start();
  file.beat();
  expect(existsSync(path)).toBe(false);
  file.write(status());
  const first = text();
  clock.now += 1000;
  file.write(status());
  expect(text()).toBe(first);
  file.write(status({ attempt: 6 }));
  expect(text()).toContain(`onboardd_last_seen_timestamp_seconds ${now / 1000 + 1}\n`);
  clock.now += 86_400_000;
  file.beat();
  expect(text()).toContain(`onboardd_last_seen_timestamp_seconds ${now / 1000 + 86_401}\n`);
});

test('after a stop the textfile says that no daemon runs', () => {
  const { file, text } = start();
  file.write(status());
  file.stop();
  expect(text()).toContain('onboardd_running 0\n');
});

test('another path gets the whole of the metrics, and the failures so far', () => {
  const { file, folder } = start();
  file.countFailure('NATS_TLS');
  file.write(status());
  file.use(join(folder, 'other.prom'));
  file.write(status());
  expect(readFileSync(join(folder, 'other.prom'), 'utf8')).toContain(
    'onboardd_failures_total{code="NATS_TLS"} 1\n',
  );
});

test('the file at a path that is not configured any more is removed, for nobody keeps it up to date', () => {
  const { file, folder } = start();
  file.write(status());
  file.use(join(folder, 'other.prom'));
  expect(readdirSync(folder)).toEqual([]);
  file.write(status());
  file.use(null);
  expect(readdirSync(folder)).toEqual([]);
});

test('a file that was there before the daemon wrote one is not removed', () => {
  const { file, folder, path } = start();
  writeFileSync(path, 'of somebody else\n');
  file.use(join(folder, 'other.prom'));
  expect(readFileSync(path, 'utf8')).toBe('of somebody else\n');
});

test('the textfile tells how many exports fail, and who writes it learns why it cannot be written', () => {
  const { file, text } = start();
  const problem = problemFor('STATE_UNWRITABLE', 'read-only', 'token is not exported');
  expect(file.write(status({ problems: [problem] }))).toBeNull();
  expect(text()).toContain('onboardd_exports_failing 1\n');
  expect(file.write(status())).toBeNull();
  expect(text()).toContain('onboardd_exports_failing 0\n');
  file.use('/nonexistent/x.prom');
  expect(file.write(status())).toMatchObject({
    code: 'STATE_UNWRITABLE',
    reason: 'no-such-path',
    message: expect.stringMatching(/^metrics\.textfile: cannot write \/nonexistent\/x\.prom: ENOENT/),
  });
});

test('without a path nothing is written, and a folder that is not there is said once for each cause', () => {
  const { file, unwritable, folder, text } = start();
  file.use(null);
  file.write(status());
  expect(readdirSync(folder)).toEqual([]);
  file.use('/nonexistent/x.prom');
  file.write(status());
  file.write(status({ attempt: 6 }));
  expect(unwritable).toEqual([expect.stringMatching(/^\/nonexistent\/x\.prom: ENOENT/)]);
  file.use(join(folder, 'onboardd.prom'));
  file.write(status());
  expect(text()).toContain('onboardd_attempts 5\n');
});

test('a link that another user of the folder put at the name of the temporary file is removed, and what it leads to stays', () => {
  const { file, folder, path, text } = start();
  const other = join(folder, 'state.json');
  writeFileSync(other, 'precious', { mode: 0o600 });
  symlinkSync(other, `${path}.tmp`);
  file.write(status());
  expect(text()).toContain('onboardd_attempts 5\n');
  expect(readFileSync(other, 'utf8')).toBe('precious');
  expect(statSync(other).mode & 0o777).toBe(0o600);
});
