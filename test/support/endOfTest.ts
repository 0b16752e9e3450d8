/**
 * Set-up of all tests with the harness. The files that a worker runs share their modules, and a hook holds for the one
 * file that was loading when it was set: this file is loaded anew for each.
 */
import { afterAll, afterEach } from 'vitest';
import { endAll, endsAreCalled } from './atEnd.ts';
import { killPrograms, removeDevices } from './program.ts';

endsAreCalled();
afterEach(async () => {
  try {
    await endAll();
  } finally {
    killPrograms();
  }
});
afterAll(async () => {
  try {
    // A hook of the file itself that throws keeps the one above from being called.
    await endAll();
  } finally {
    // Not after each test: a file's tests may share what it made for all of them.
    removeDevices();
  }
});
