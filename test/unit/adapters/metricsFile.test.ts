import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { metricsFile } from '../../../src/adapters/metricsFile.ts';
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

test('the textfile tells state, attempts, failures by code, expiry and last seen, and no secret; others can read it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'metrics-'));
  const before = process.umask(0o077);
  try {
    const path = join(folder, 'onboardd.prom');
    const file = metricsFile(path, stateNames);
    file.write(status(), now);
    file.write(status({ attempt: 6 }), now);
    const lastError = { code: 'NATS_TLS', reason: null, message: 'm', at: '2026-11-24T11:59:30Z' };
    file.write(status({ lastError }), now);
    const text = readFileSync(path, 'utf8');
    expect(text).toContain('onboardd_state{state="csr"} 1\n');
    expect(text).toContain('onboardd_state{state="registered"} 0\n');
    expect(text).toContain('onboardd_attempts 5\n');
    expect(text).toContain('onboardd_failures_total{code="NATS_TLS"} 2\n');
    expect(text).toContain('onboardd_certificate_expiry_seconds 3600\n');
    expect(text).toContain(`onboardd_last_seen_timestamp_seconds ${now / 1000}\n`);
    expect(text).not.toMatch(/secret|pass|d1/);
    expect(statSync(path).mode & 0o777).toBe(0o644);
    expect(readdirSync(folder)).toEqual(['onboardd.prom']);
  } finally {
    process.umask(before);
    rmSync(folder, { recursive: true });
  }
});

test('without a path nothing is written, and a folder that is not there is an error for the caller', () => {
  expect(() => metricsFile(null, stateNames).write(status(), now)).not.toThrow();
  expect(() => metricsFile('/nonexistent/x.prom', stateNames).write(status(), now)).toThrow('ENOENT');
});
