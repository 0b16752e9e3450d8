import { expect, test } from 'vitest';
import { forgedResult, startAttacker } from '../../support/attackers/natsPath.ts';
import { at, failure, fleetWith, launch, state } from '../../support/harness.ts';

/** Distances from the end of INFO at which the bytes are cut into two segments; the first leaves them in one. */
const around = [Number.POSITIVE_INFINITY, -40, -3, -2, -1, 0, 1, 2, 4, 5, 6, 7, 20];

test.each<[string, string, (info: string, forged: string) => string]>([
  ['behind INFO', 'NATS_TLS', (info, forged) => info + forged],
  ['behind a second INFO', 'NATS_TLS', (info, forged) => info + info + forged],
  ['behind a +OK', 'NATS_TLS', (info, forged) => `${info}+OK\r\n${forged}`],
  ['behind an INFO without CR', 'NATS_UNREACHABLE', (info, forged) => `${info.trimEnd()}\n${forged}`],
  ['before INFO', 'NATS_UNREACHABLE', (info, forged) => forged + info],
])(
  'a result forged %s, however it is cut into segments, is %s and never registers a device',
  {
    timeout: 120_000,
  },
  async (_, code, place) => {
    const fleet = await fleetWith({ manager: false });
    const forged = `PONG\r\n${forgedResult('mallory', 'services: {}')}`;
    let connections = 0;
    const attacker = await startAttacker(fleet.nats, (info) => {
      const bytes = place(info, forged);
      const cut = info.length + (around[connections++ % around.length] ?? 0);
      return [bytes.slice(0, cut), bytes.slice(cut)];
    });
    const device = at(fleet, {
      nats: { url: `tls://127.0.0.1:${attacker.port}` },
      retry: { initialMs: 1, maxMs: 10, factor: 2 },
      // Every failure has its line: none is left out as a repetition.
      log: { level: 'debug', format: 'json' },
    });
    // A certificate that never opens NATS is replaced, and tried on.
    const program = launch(device);
    await expect.poll(() => connections, { timeout: 90_000 }).toBeGreaterThan(around.length);
    expect(program.lines.some((line) => line.event === 'device.registered')).toBe(false);
    const causes = program.lines.filter(
      ({ event, step }) => event === 'step.failed' && step === 'registering',
    );
    expect(causes.length).toBeGreaterThanOrEqual(around.length);
    expect(causes.filter((line) => !failure(code)(line))).toEqual([]);
    expect(state(device)).toMatchObject({ registration: null, pinnedCa: null });
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
  },
);
