import { expect, test } from 'vitest';
import { reset } from '../../../../src/services/state/reset.ts';

const own = ['device_id.txt', 'identity.crt', 'identity.key', 'identity.key.damaged-1', 'state.json'];

/** A state directory that notes what is removed, and ends at the step that the test names. */
function interrupted(at: string | null): string[] {
  const done: string[] = [];
  const step = (name: string) => {
    if (name === at) throw new Error('the power is off');
    done.push(name);
    return true;
  };
  const run = () =>
    reset({ list: () => ['notes.txt', ...own], remove: step, removeExports: () => step('exports') });
  if (at === null) run();
  else expect(run).toThrow('the power is off');
  return done;
}

test('the key goes first, and the exported files before the state that knows them', () => {
  const done = interrupted(null);
  expect([...done].sort()).toEqual([...own, 'exports'].sort());
  expect(done.slice(0, 3)).toEqual(['identity.key', 'identity.key.damaged-1', 'exports']);
});

test.each([
  'identity.key',
  'exports',
  'state.json',
])('interrupted at %s, the state is there for the next try', (at) => {
  expect(interrupted(at)).not.toContain('state.json');
});
