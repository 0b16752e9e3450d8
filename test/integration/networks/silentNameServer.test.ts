import { expect, test } from 'vitest';
import { newDevice, programFile, temporaryFolder } from '../../support/program.ts';
import { mayUnshare, stopInLookUp } from '../../support/silentNameServer.ts';

/** `npm run test:package` holds the packaged program to it, whatever runtime these tests run on. */
const canReplaceItself = 'execve' in process;

test.runIf(mayUnshare && canReplaceItself)(
  'a stop does not wait for a name server that does not answer',
  () => {
    const device = newDevice({ provisioning: { url: 'http://provisioning.example.net' } });
    const program = [process.execPath, programFile, 'run', '--config', device.configFile];
    const { status, ms } = stopInLookUp(program, temporaryFolder());
    expect(status).toBe(0);
    expect(ms).toBeLessThan(4_000);
  },
);
