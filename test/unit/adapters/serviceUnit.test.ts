import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { serviceUser } from '../../../src/adapters/serviceUnit.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'units-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

test('without a unit there is no user', () => {
  expect(serviceUser(root)).toBeNull();
});

test('the user is that of the unit', () => {
  put('usr/lib/systemd/system/onboardd.service', '[Service]\nUser=onboardd\n');
  expect(serviceUser(root)).toBe('onboardd');
});

test('a unit without a user runs as root', () => {
  put('usr/lib/systemd/system/onboardd.service', '[Service]\n');
  expect(serviceUser(root)).toBe('root');
});

test('a unit of the administrator is in place of the packaged one, and the last drop-in decides', () => {
  put('usr/lib/systemd/system/onboardd.service', 'User=packaged\n');
  put('etc/systemd/system/onboardd.service', 'User=own\n');
  expect(serviceUser(root)).toBe('own');
  put('usr/lib/systemd/system/onboardd.service.d/20-user.conf', '[Service]\nUser=second\n');
  put('etc/systemd/system/onboardd.service.d/10-user.conf', '[Service]\nUser=first\n');
  expect(serviceUser(root)).toBe('second');
  put('etc/systemd/system/onboardd.service.d/20-user.conf', '[Service]\nUser=third\n');
  expect(serviceUser(root)).toBe('third');
});
