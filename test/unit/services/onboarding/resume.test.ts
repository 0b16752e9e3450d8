import { expect, test } from 'vitest';
import { resume } from '../../../../src/services/onboarding/resume.ts';
import { files, type StateDirectory } from '../../../../src/services/state/deviceState.ts';
import * as pki from '../../../simulation/pki.ts';

const now = Date.UTC(2026, 10, 23);

function directoryOf(stored: Map<string, string>): StateDirectory {
  return {
    read: (name) => stored.get(name) ?? null,
    write: (name, text) => void stored.set(name, text),
    refresh: (name, text) => void stored.set(name, text),
    restrict: () => undefined,
    quarantine(name) {
      stored.delete(name);
      return `${name}.damaged-1`;
    },
  };
}

function start(stored: Map<string, string>) {
  const machine = () => ({ hardware: null, installation: null });
  const ports = {
    pki,
    now: () => now,
    machine,
    randomUUID: () => 'f-f',
    onQuarantined: () => {},
    onLeft: () => {},
  };
  return resume({ directory: directoryOf(stored), ...ports }, null);
}

test('half a device id beside a damaged state is not taken for the whole', () => {
  const id = '0123456789abcdef0123456789abcdef';
  const damaged = (deviceId: string) =>
    new Map<string, string>([
      [files.state, '{"version":1,'],
      [files.key, pki.keyPem('k1')],
      [files.deviceId, deviceId],
    ]);
  expect(() => start(damaged(id.slice(0, 16)))).toThrow(/device id is nowhere else/);
  const whole = damaged(id);
  expect(start(whole).stage).toBe('csr');
  expect(JSON.parse(whole.get(files.state) ?? '')).toMatchObject({ deviceId: id, mayBeRegistered: true });
});
