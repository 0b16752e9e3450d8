import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { metricsText } from '../../../src/adapters/metricsFile.ts';
import { stateNames } from '../../../src/events.ts';

const folder = fileURLToPath(new URL('../../../docs/monitoring/', import.meta.url));

/** promtool accepts the metrics and the rules, and each alert fires. @throws {Error} with what promtool says */
export function tryPrometheus(): string {
  const at = '2026-11-24T12:00:00Z';
  const text = metricsText(
    {
      state: 'csr',
      since: at,
      deviceId: 'd',
      alias: null,
      attempt: 2,
      nextRetryAt: null,
      lastError: null,
      certificate: { subject: 'CN=d', notBefore: at, notAfter: at, renewAt: null },
      natsUrl: null,
      waitsFor: null,
      problems: [],
      version: '1',
      running: true,
      history: [],
    },
    { now: Date.parse(at), states: stateNames, failures: new Map([['NATS_TLS', 3]]) },
  );
  execFileSync('promtool', ['check', 'metrics'], { input: text, stdio: ['pipe', 'pipe', 'pipe'] });
  execFileSync('promtool', ['check', 'rules', `${folder}prometheus-rules.yaml`], { stdio: 'pipe' });
  execFileSync('promtool', ['test', 'rules', `${folder}prometheus-rules.test.yaml`], { stdio: 'pipe' });
  return 'metrics and rules are accepted, and each alert fires';
}
