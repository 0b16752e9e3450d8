import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseNatsAddresses } from '../../../../src/config/natsAddress.ts';
import {
  isAlreadyRegistered,
  readAcknowledgement,
  readKeptResult,
  readResult,
  reasonOfRejection,
  resultField,
} from '../../../../src/services/onboarding/registrationResult.ts';
import { parseState } from '../../../../src/services/state/deviceState.ts';
import { processorMs } from '../../../support/processorTime.ts';

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
  expect(readAcknowledgement(`{"stream":"a","seq":1,"x":${deep(levels)}}`)).toBeNull();
});

test('what an earlier version kept is read all the same, without an alias that none may show', () => {
  expect(readKeptResult(`{"status":"success","alias":"a","x":${deep(100_000)}}`)).toMatchObject({
    alias: 'a',
  });
  expect(readKeptResult(success('a\nb'))).toMatchObject({ kind: 'success', alias: null });
  expect(() => readKeptResult('{}')).toThrow(invalid);
});

test('a refusal is one line of at most 300 characters, read in a moment', () => {
  const text = JSON.stringify({ status: 'failure', error: `a\n//${'/'.repeat(1_000_000)}` });
  expect(readResult(text)).toMatchObject({
    kind: 'failure',
    error: expect.stringMatching(/^a \/\/.{1,296}$/),
  });
  // Quadratic time would be minutes; instrumented for mutants, on a busy machine, linear time was 1.1 s.
  expect(processorMs(() => readResult(text))).toBeLessThan(5_000);
});

test.each([
  ['{"stream":"a","seq":1}', 'stored'],
  ['{"stream":"a","seq":1,"duplicate":false}', 'stored'],
  ['{"stream":"a","seq":1,"duplicate":"yes"}', 'stored'],
  ['{"stream":"a","seq":1,"duplicate":true}', 'duplicate'],
  ['{"error":{"code":503},"duplicate":true}', 'stored'],
  ['{"stream":"a","seq":null,"more":1}', 'stored'],
  ['{"error":{"code":503}}', 'stored'],
  ['{"stream":"a"}', null],
  ['{"stream":1,"seq":1}', null],
  ['{"error":"no"}', null],
  ['{"error":[]}', null],
  ['{"status":"success"}', null],
  ['[]', null],
  ['null', null],
  ['', null],
])('%s as the acknowledgement of a stream: %s', (text, expected) => {
  expect(readAcknowledgement(text)).toBe(expected);
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
  ['{"alias":"a","token":5}', 'has a field of a wrong type'],
  ['{', 'is not valid JSON, or is nested too deeply'],
  [deep(65), 'is not valid JSON, or is nested too deeply'],
  [null, 'is not UTF-8 text, or is too long'],
  [success('a'.repeat(257)), 'has an alias that is not one line of at most 256 characters'],
])('%s says what is wrong with it: %s', (text, what) => {
  expect(() => readResult(text)).toThrow(`the fleet manager's answer ${what}`);
});

test.each([
  '{"status":"success","payload":{"alias":"a"},"alias":"a"}',
  '{"alias":"laptop-1","token":"aGVsbG8K"}',
  '{"payload":{"token":"aGVsbG8K"},"status":"success"}',
])('%s says registered', (text) => {
  expect(readResult(text).kind).toBe('success');
});

test.each([
  '',
  'null',
  '[]',
  '"success"',
  '{}',
  '{"status":"ok"}',
  '{"status":true}',
  '{"alias":5}',
])('%s is no result', (text) => {
  expect(() => readResult(text)).toThrow(/answer/);
});

test('whatever arrives, parsers answer or refuse, and only a status or a field says registered', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      for (const parse of [readResult, parseState, parseNatsAddresses]) {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect((error as Error).message.length).toBeLessThan(600);
        }
      }
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    }),
    { numRuns: 2000 },
  );
});

test('an answer has at most 4 Mi characters', () => {
  const ofLength = (length: number) => `{"status":"success"${' '.repeat(length - 20)}}`;
  expect(readResult(ofLength(4 * 1024 * 1024))).toMatchObject({ kind: 'success' });
  expect(() => readResult(ofLength(4 * 1024 * 1024 + 1))).toThrow('is not UTF-8 text, or is too long');
});

test('the parser’s own word for what is no JSON is kept as the cause', () => {
  expect(() => readResult('{')).toThrow(expect.objectContaining({ cause: expect.any(SyntaxError) }));
});

test.each([
  ['{"status":"success","error":"a warning"}', null],
  ['{"status":"success","token":5}', null],
  ['{"status":"success","alias":5}', null],
  ['{"status":"success"}', null],
  ['{"alias":"a"}', 'a'],
  ['{"payload":{"alias":"a"}}', 'a'],
  ['{"alias":null,"payload":{"alias":"a"}}', 'a'],
  ['{"alias":"a","payload":{"alias":"b"}}', 'a'],
  ['{"alias":"a","payload":null}', 'a'],
  ['{"token":"t"}', null],
  ['{"configuration":"c"}', null],
  ['{"payload":{"utmClientSecret":"u"}}', null],
  ['{"rabbitMqSecret":"r"}', null],
])('%s is a success, kept as it arrived, with the alias %s', (text, alias) => {
  expect(readResult(text)).toEqual({ kind: 'success', alias, text });
});

test('a refusal and a success without an alias that were kept are read as they were', () => {
  expect(readKeptResult('{"error":"already registered"}')).toEqual({
    kind: 'failure',
    error: 'already registered',
  });
  expect(readKeptResult('{"status":"success"}')).toMatchObject({ kind: 'success', alias: null });
  expect(readKeptResult(success('a'))).toMatchObject({ alias: 'a' });
});

test.each([
  ['device already registered', true],
  ['Already  been\tregistered', true],
  ['ALREADY BEEN  REGISTERED: d1', true],
  ['already   registered', true],
  ['already beenregistered', false],
  ['alreadyregistered', false],
  ['already known, not registered', false],
  ['no', false],
])('"%s" is the word for an id that is known: %s', (error, expected) => {
  expect(isAlreadyRegistered(error)).toBe(expected);
});

test.each<[unknown, unknown]>([
  [{ a: 1, payload: { a: 2 } }, 1],
  [{ a: null, payload: { a: 2 } }, 2],
  [{ payload: { a: 2 } }, 2],
  [{ payload: { payload: { a: 3 } } }, undefined],
  [{ payload: [2] }, undefined],
  [{ payload: null }, undefined],
  [Object.create({ a: 1 }), undefined],
  [null, undefined],
  ['a', undefined],
  [undefined, undefined],
])('of %j the field a is %j', (result, expected) => {
  expect(resultField(result, 'a')).toBe(expected);
});

test('an acknowledgement is text, of at most 64 levels', () => {
  expect(readAcknowledgement(null)).toBeNull();
  expect(readAcknowledgement(`{"stream":"a","seq":${deep(63)}}`)).toBe('stored');
  expect(readAcknowledgement(`{"stream":"a","seq":${deep(64)}}`)).toBeNull();
});

test.each([
  ['device already registered', 'already-registered'],
  ['Quota exceeded', 'quota-exceeded'],
  ['the device limit is reached', 'quota-exceeded'],
  ['quotation', null],
])('the fleet manager’s "%s" has the reason %s', (error, reason) => {
  expect(reasonOfRejection(error)).toBe(reason);
});
