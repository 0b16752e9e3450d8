/**
 * Set-up of the integration tests. The files that a worker runs share their modules, and a hook holds for the one file
 * that was loading when it was set: this one is loaded anew for each.
 */
import { afterAll, afterEach } from 'vitest';
import { endAll } from './atEnd.ts';
import { killPrograms, removeDevices } from './program.ts';

afterEach(async () => {
  await endAll();
  killPrograms();
});
// A file's tests may share what it made for all of them.
afterAll(removeDevices);
