import { expect, test } from 'vitest';
import { exportTarget, pathOfExport } from '../../../src/config/exports.ts';

test.each([
  ['/a/id', { path: '/a/id', mode: null, group: null }],
  [{ path: '/a/id' }, { path: '/a/id', mode: null, group: null }],
  [
    { path: '/a/id', mode: '0640' },
    { path: '/a/id', mode: 0o640, group: null },
  ],
  [
    { path: '/a/id', mode: '600', group: 'agents' },
    { path: '/a/id', mode: 0o600, group: 'agents' },
  ],
])('the export %j is read as %j', (setting, target) => {
  expect(exportTarget(setting)).toEqual(target);
});

test.each([
  ['/a/id', '/a/id'],
  [{ path: '/a/id' }, '/a/id'],
  ['', null],
  [{ path: '' }, null],
  [{ mode: '0640' }, null],
  [null, null],
  [7, null],
])('the path of the export %j is %j', (setting, path) => {
  expect(pathOfExport(setting)).toBe(path);
});
