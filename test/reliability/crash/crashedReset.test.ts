import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { at, fleetWith, launch, onboard, state } from '../../support/harness.ts';
import { programFile, runToEnd, temporaryFolder } from '../../support/program.ts';

/** `reset` is killed before the n-th call of a kind, for every n, from the same device each time. */
test.each([
  ['unlink', []],
  ['rename', []],
  ['unlink', ['--keep-id']],
  ['rename', ['--keep-id']],
] as const)(
  'a reset that is killed before any %s (%j) leaves no half identity, and completes when it is run again',
  async (call, flags) => {
    const fleet = await fleetWith({ fields: () => ({ token: 'aGVsbG8K' }) });
    const exports = temporaryFolder();
    const device = at(fleet, {
      exports: { token: join(exports, 'token'), key: join(exports, 'key') },
    });
    await onboard(device);
    const { deviceId } = state(device);
    const whole = temporaryFolder();
    cpSync(device.stateDir, join(whole, 'state'), { recursive: true });
    cpSync(exports, join(whole, 'exports'), { recursive: true });
    const restore = () => {
      for (const [from, to] of [
        ['state', device.stateDir],
        ['exports', exports],
      ] as const) {
        rmSync(to, { recursive: true, force: true });
        cpSync(join(whole, from), to, { recursive: true });
      }
    };
    const words = ['reset', ...flags, '--yes', '--config', device.configFile];
    let number = 0;
    for (;;) {
      number += 1;
      restore();
      const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:signal=SIGKILL:when=${number}`];
      const command = [process.execPath, programFile, ...words];
      const { status } = spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', ...inject, ...command]);
      if (status === 0) break;
      // What is left is the whole identity, none, or one that a start refuses: none that is registered by half.
      const isWhole = existsSync(join(device.stateDir, 'identity.key'));
      const path = join(device.stateDir, 'state.json');
      const left = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
      if (!isWhole && left !== null) {
        const isKept = left.resetting === false && left.registration === null && left.provisioned === null;
        expect(left.resetting || isKept, `${call} ${number}`).toBe(true);
      }
      if (left?.resetting === true) {
        const refused = launch(device, ['--once']);
        expect(await refused.ended, `${call} ${number}`).toBe(1);
        expect(state(device)).toMatchObject({ deviceId, resetting: true });
      }
      expect(runToEnd(words).status, `${call} ${number}`).toBe(0);
      expect(readdirSync(exports), `${call} ${number}`).toEqual([]);
      const kept = flags.length > 0 ? ['device_id.txt', 'state.json'] : [];
      expect(readdirSync(device.stateDir).sort(), `${call} ${number}`).toEqual(kept);
    }
    expect(number).toBeGreaterThan(call === 'unlink' ? 6 : flags.length);
  },
  300_000,
);
