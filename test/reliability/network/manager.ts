import { ago, hour, manager, type Row } from './row.ts';

const overStream = { fleet: { api: 'jetstream' } } as const;
const request = {
  fleet: { api: 'request' },
  device: { registration: { api: 'request', timeoutMs: 1500 } },
} as const;
const asRequest = (row: Row): Row => ({ ...row, fault: `${row.fault} (request API)` });
const invalid = 'REGISTRATION_ANSWER_INVALID';

export const managerRows: Row[] = [
  manager('question lost', 'REGISTRATION_TIMEOUT', 'ignore'),
  manager('result lost', 'REGISTRATION_TIMEOUT', 'lose'),
  manager('result late, after the timeout', 'REGISTRATION_TIMEOUT', { delayMs: 2500 }),
  manager(
    'result late, after the timeout, in the stream',
    'REGISTRATION_TIMEOUT',
    { delayMs: 2500 },
    overStream,
  ),
  manager('result three times', 'none', { copies: 3 }),
  manager('result three times, in the stream', 'none', { copies: 3 }, overStream),
  manager('result malformed', invalid, { raw: '{"status":' }),
  manager('result is rubbish', invalid, { raw: '{}' }),
  manager('result is no UTF-8', invalid, { raw: Buffer.from([0xff, 0xfe, 0x7b]) }),
  manager('result is empty', invalid, { raw: '' }),
  manager('result of 900 kB of rubbish', invalid, { raw: 'x'.repeat(900_000) }),
  manager('result for another device', 'REGISTRATION_TIMEOUT', { headers: { ID: 'somebody-else' } }),
  manager('result of an hour ago', 'CLOCK_WRONG', { headers: { timestamp: ago(hour).toISOString() } }),
  manager('result without headers', 'none', { headers: { ID: undefined, timestamp: undefined } }),
  manager('refused', 'REGISTRATION_REJECTED', { reject: 'quota exceeded' }),
  manager('refused, in the stream', 'REGISTRATION_REJECTED', { reject: 'quota exceeded' }, overStream),
  {
    fault: 'fleet manager: absent',
    codes: ['REGISTRATION_TIMEOUT'],
    fleet: { manager: false },
    make: (fleet) => ({ end: () => fleet.startManager({ api: 'plain' }) }),
  },
  {
    fault: 'fleet manager: absent while the stream takes the question',
    codes: ['REGISTRATION_TIMEOUT'],
    make: async (fleet) => {
      await fleet.manager.stop();
      return { end: () => fleet.startManager() };
    },
  },
  asRequest(manager('question lost', 'REGISTRATION_TIMEOUT', 'ignore', request)),
  asRequest(manager('result lost', 'REGISTRATION_TIMEOUT', 'lose', request)),
  asRequest(manager('result late, after the timeout', 'REGISTRATION_TIMEOUT', { delayMs: 2500 }, request)),
  asRequest(manager('result three times', 'none', { copies: 3 }, request)),
  asRequest(manager('result malformed', invalid, { raw: '{"alias":' }, request)),
  asRequest(manager('refused', 'REGISTRATION_REJECTED', { reject: 'quota exceeded' }, request)),
];
