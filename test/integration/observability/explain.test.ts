import { expect, test } from 'vitest';
import { catalogue } from '../../../src/errors/catalogue.ts';
import { runToEnd } from '../../support/program.ts';

test('explain tells the remedy of a code and the fields of an event', () => {
  const { status, stdout } = runToEnd(['explain', 'NATS_TLS', 'step.failed']);
  expect(status).toBe(0);
  expect(stdout).toContain(catalogue.NATS_TLS.remedy);
  expect(stdout).toContain('retryInMs');
});

test('explain says so where there is no such code', () => {
  expect(runToEnd(['explain', 'NATS_SLEEPY'])).toMatchObject({ status: 64, stdout: '' });
});
