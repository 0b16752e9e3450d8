import { expect, test } from 'vitest';
import {
  isAcknowledgement,
  readKeptResult,
  readResult,
} from '../../../src/services/onboarding/registrationResult.ts';

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const invalid = expect.objectContaining({ code: 'REGISTRATION_ANSWER_INVALID' });
const success = (alias: string) => JSON.stringify({ status: 'success', alias });

test.each([
  ['longer than 256 characters', 'a'.repeat(257)],
  ['of megabytes', 'a'.repeat(3_500_000)],
  ['of two lines', 'Alpha\nBravo'],
  ['with an escape of the terminal', 'Alpha\u001b[2J'],
  ['with a separator of lines', 'Alpha\u2028Bravo'],
])('an alias %s is no answer of a fleet manager', (_, alias) => {
  expect(() => readResult(success(alias))).toThrow(invalid);
  expect(() => readResult(JSON.stringify({ payload: { alias } }))).toThrow(invalid);
});

test('an alias is taken without the blanks around it', () => {
  expect(readResult(success(' Alpha Bravo\r\n'))).toMatchObject({ alias: 'Alpha Bravo' });
  expect(readResult(success('a'.repeat(256)))).toMatchObject({ alias: 'a'.repeat(256) });
  expect(readResult(success(' \n'))).toMatchObject({ alias: null });
});

test.each([66, 100_000])('a result that is nested %i levels deep is refused', (levels) => {
  expect(() => readResult(`{"status":"success","x":${deep(levels)}}`)).toThrow(invalid);
  expect(isAcknowledgement(`{"stream":"a","seq":1,"x":${deep(levels)}}`)).toBe(false);
});

test('what an earlier version kept is read all the same, without an alias that none may show', () => {
  expect(readKeptResult(`{"status":"success","alias":"a","x":${deep(100_000)}}`)).toMatchObject({
    alias: 'a',
  });
  expect(readKeptResult(success('a\nb'))).toMatchObject({ kind: 'success', alias: null });
  expect(() => readKeptResult('{}')).toThrow(invalid);
});

test('a refusal is one line of at most 300 characters, read in a moment', () => {
  const begun = performance.now();
  const result = readResult(JSON.stringify({ status: 'failure', error: `a\n//${'/'.repeat(1_000_000)}` }));
  expect(result).toMatchObject({ kind: 'failure', error: expect.stringMatching(/^a \/\/.{1,296}$/) });
  expect(performance.now() - begun).toBeLessThan(500);
});

test.each([
  ['{"stream":"a","seq":1}', true],
  ['{"stream":"a","seq":null,"more":1}', true],
  ['{"error":{"code":503}}', true],
  ['{"stream":"a"}', false],
  ['{"stream":1,"seq":1}', false],
  ['{"error":"no"}', false],
  ['{"error":[]}', false],
  ['{"status":"success"}', false],
  ['[]', false],
  ['null', false],
  ['', false],
])('%s is the acknowledgement of a stream: %s', (text, expected) => {
  expect(isAcknowledgement(text)).toBe(expected);
});

test.each([
  ['{"status":"failure","error":5}', 'no reason given'],
  ['{"status":"failure"}', 'no reason given'],
  ['{"error":"no"}', 'no'],
  ['{"error":"no","alias":"a"}', 'no'],
])('%s is a refusal: %s', (text, error) => {
  expect(readResult(text)).toEqual({ kind: 'failure', error });
});

test.each([
  ['{"status":null,"alias":"a"}', 'has an unknown status'],
  ['{"error":5}', 'has neither a `status` nor a field of a result'],
  ['{"token":5}', 'has a field of a wrong type'],
  ['[]', 'is not a JSON object'],
])('%s says what is wrong with it: %s', (text, what) => {
  expect(() => readResult(text)).toThrow(`the fleet manager's answer ${what}`);
});
