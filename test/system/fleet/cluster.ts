/**
 * A workbench of three NATS servers with streams of three replicas loses a node during a storm, and then another one:
 * `npm run test:cluster [-- --devices N] [-- --rounds N] [-- --write]`. Real nats-server processes, killed with SIGKILL, and the real
 * agent code. Everybody is registered, nobody twice, and each stream has its three copies again.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NatsError } from 'nats';
import { play } from '../../../fleet/rehearsal/scenes.ts';
import { actionsStream, resultsStream } from '../../../fleet/streams.ts';
import { startWorkbench, type Workbench } from '../../../fleet/workbench.ts';
import { removeDevices, temporaryFolder } from '../../support/program.ts';
import { writeSection } from '../../support/reliabilityPage.ts';

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
  },
});
const [devices, rounds] = [Number(values.devices), Number(values.rounds)];
const data = join(temporaryFolder(), 'fleet');
const workbench = await startWorkbench({
  ...{ data, listen: '127.0.0.1', ports: { http: 0, https: 0, nats: 0 } },
  ...{ mdns: false, cluster: true, certificateMs: 3_600_000, onProblem: console.error },
});
const lines: string[] = [];
const say = (line: string) => {
  lines.push(`- ${line}`);
  console.log(line);
};
try {
  for (let round = 1; round <= rounds; round++) {
    const { problems, summary } = await play(workbench, {
      ...{ name: 'node', devices, folder: join(data, `round-${round}`), say },
    });
    for (const line of summary.slice(1)) say(line);
    assert.deepEqual(problems, []);
    await streamsAreWhole(workbench);
    await nobodyIsThereTwice(workbench, devices * round);
  }
  say(
    `in all ${devices * rounds} devices, each registered once; three copies of each stream after each round`,
  );
  if (values.write) writeSection('cluster', 'test:cluster', lines);
} finally {
  await workbench.stop();
  removeDevices();
}

/** Each stream has its three copies, all up to date. @throws {Error} where that takes more than a minute */
async function streamsAreWhole({ manager }: Workbench): Promise<void> {
  const { streams } = await manager.connection.jetstreamManager({ checkAPI: false });
  const end = Date.now() + 60_000;
  for (const name of [actionsStream, resultsStream, 'KV_DEVICES']) {
    for (;;) {
      // A cluster that elects a leader answers nobody.
      const info = await streams.info(name).catch((error: unknown) => {
        if (error instanceof NatsError) return null;
        throw error;
      });
      if (info) assert.equal(info.config.num_replicas, 3);
      const replicas = info?.cluster?.replicas ?? [];
      if (replicas.length === 2 && replicas.every(({ current, offline }) => current && !offline)) break;
      if (Date.now() > end) throw new Error(`${name} has not its three copies: ${JSON.stringify(replicas)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** The registry, the fleet manager's own count, the results in their stream and the history say the same. */
async function nobodyIsThereTwice({ manager, ledger }: Workbench, expected: number): Promise<void> {
  const { streams } = await manager.connection.jetstreamManager({ checkAPI: false });
  const { state } = await streams.info('KV_DEVICES', { subjects_filter: '>' });
  assert.equal(Object.keys(state.subjects ?? {}).length, expected, 'devices in the registry');
  assert.equal(manager.accepted.size, expected);
  for (const [id, { count }] of manager.accepted) assert.equal(count, 1, `${id} was accepted ${count} times`);
  const known = [...ledger.devices.values()];
  assert.deepEqual([known.length, ...new Set(known.map((one) => one.registrations))], [expected, 1]);
  const written = readFileSync(join(data, 'history.jsonl'), 'utf8').match(/"registration.accepted"/g);
  assert.equal(written?.length, expected, 'registrations in the history');
  const { state: asked } = await streams.info(actionsStream, { subjects_filter: '>' });
  const again = Object.values(asked.subjects ?? {}).filter((count) => count > 1).length;
  say(
    `${again} of ${expected} devices asked more than once; ${manager.errors.length} answers failed and came again`,
  );
}
