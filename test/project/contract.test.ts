import { expect, test } from 'vitest';
import { exit } from '../../src/cli/options.ts';
import { stateNames } from '../../src/events.ts';
import { checkIds, passed } from '../../src/services/diagnostics/check.ts';
import { statusOf } from '../../src/services/diagnostics/status.ts';
import { files } from '../../src/services/state/deviceState.ts';
import { ownMode } from '../../src/services/state/ownFiles.ts';
import { rowsOf, section } from '../support/contractPage.ts';

const codes = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);

test('the page names every exit status, and no others', () => {
  const [, second = ''] = section('Command line').split('| exit status | meaning |');
  const listed = rowsOf(second).map(([status]) => Number(status));
  expect(listed).toEqual(Object.values(exit).sort((a, b) => a - b));
});

test('the page names every file of the state directory, with its mode', () => {
  const rows = rowsOf(section('State directory')).flatMap(([names = '', mode = '']) =>
    codes(names).map((name) => [name, mode] as const),
  );
  expect(rows.map(([name]) => name).sort()).toEqual(Object.values(files).sort());
  for (const [name, mode] of rows) expect(mode, name).toBe(ownMode(name) === 0o600 ? '0600' : '0644');
});

test('the page names the states in their order', () => {
  const [line = ''] = section('States').trim().split('. ');
  expect(codes(line)).toEqual(stateNames);
});

test('the page names every key of `status --json` and of a finding of `check --json`', () => {
  const text = section('status --json');
  const keys = rowsOf(text).flatMap(([names = '']) => codes(names));
  const reader = { parseCertificates: () => [], isSignedBy: () => false };
  expect(keys).toEqual(Object.keys(statusOf(null, () => null, { reader, version: '1.0.0', running: false })));
  const [, findings = ''] = /`checks`\s+\(([^)]*)\)/.exec(text) ?? [];
  const expected = ['id', ...Object.keys(passed('')), 'durationMs'];
  expect(codes(findings).sort()).toEqual(expected.sort());
});

test('the page names what `check` looks at', () => {
  const [row = ''] = /^\| `onboardd check .*$/m.exec(section('Command line')) ?? [];
  const names = checkIds.map((id) => id.replaceAll('-', ' '));
  expect(names.filter((name) => !row.toLowerCase().includes(name))).toEqual([]);
});
