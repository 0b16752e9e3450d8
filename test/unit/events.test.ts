import { expect, test } from 'vitest';
import { events } from '../../src/events.ts';

test('message ids are 128 bits and unique', () => {
  const ids = Object.values(events).map(({ messageId }) => messageId);
  expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(ids.length);
});
