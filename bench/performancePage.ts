import type { LatencyRow } from './latency.ts';
import type { Measured } from './measured.ts';
import { countTable, dependencyTable, latencyTable, phaseTable, restTable, wearTable } from './page.ts';
import { fixed } from './table.ts';

/** What is aimed at, by the Go client's time. */
const goals: readonly { name: string; keyType: LatencyRow['keyType']; most: number }[] = [
  { name: 'packaged', keyType: 'rsa-2048', most: 0.9 },
  { name: 'packaged', keyType: 'ec-p256', most: 2 },
  { name: 'checkout', keyType: 'rsa-2048', most: 1.5 },
  { name: 'checkout', keyType: 'ec-p256', most: 4 },
];
const mostAtRest = 1.25;
const mostWakeUps = 2;
const mostRoundTrips = 4.6;

/** docs/performance.md. Everything in it was measured by one run of the command that it names. */
export function performancePage(measured: Measured): string {
  const { setting, latency } = measured;
  const programs = setting.programs.map(([name, what]) => `- ${name}: ${what}`).join('\n');
  return `# Performance

Written by \`${setting.command}\`; do not edit. Commit ${setting.commit}; ${setting.machine}.

What onboardd costs next to a small client in Go that does the same job against the same fleet on the same machine
([bench/go/client.go](../bench/go/client.go): net/http, crypto/x509, nats.go; one straight run without retries, resumption,
renewal or diagnosis) and next to an empty Node process of the same version.

${programs}

## What is reached, and what is not

${verdicts(measured).join('\n')}

## A whole onboarding

From the start of the process to its end, when the result is durable: ${setting.runs} rounds, each of which runs every program once, one after
the other, beginning with another one each time. "By Go" is the median of the quotients of neighbours in a round. Most of an RSA key's time
is chance, for every program.

${latencyTable(latency ?? [])}

Where the time goes, medians in ms. \`start\` lasts until the key is begun, \`end\` from the durable result until the process is
gone. Making certificate and account at the fleet is a part of \`csr\`.

${phaseTable(latency ?? [])}

![time by phase](performance-phases.svg)

## Counts

They do not depend on the machine's speed, and \`test/integration/bench/counts.test.ts\` holds them to \`bench/limits.json\`. Round trips are the longest
chain of messages of which each waits for the one before, as delaying relays see it, without the handshakes of TCP:

| step                                             | round trips |
| ------------------------------------------------ | ----------: |
| POST of the CSR, answer                          |           1 |
| INFO of NATS, which speaks first                 |         0.5 |
| TLS 1.3: hello, and the server's                 |           1 |
| certificate, CONNECT and PING, PONG              |           1 |
| subscription and request, result                 |           1 |
| sum                                              |         4.5 |

${countTable(measured)}

## At rest

A minute after the result is delivered, and in two minutes after that (RSA key, each process with a program file of its own, so that
none shares its pages with another).

${restTable(measured)}

## Disk wear

The checkout's writes to its state directory. A failed attempt is the mean of a hundred at an address where nothing listens, with
the waits made short; a day has as many as the defaults of \`retry\` give on average. A verification and a renewal are what a start that has
one to do writes more than one that has not; a year has a verification a day, and as many renewals as the fleet's certificates ask for.

${wearTable(measured)}

## Dependencies

Each alone in a bundle of its own with what the source imports of it and all that it pulls in, over an empty program, on the checkout's Node; time is that of the processor:
what two of them share is in both, so the parts are more than the whole.

${dependencyTable(measured)}

![time to load](performance-dependencies-load.svg)

![bytes](performance-dependencies-bytes.svg)

![memory](performance-dependencies-memory.svg)
`;
}

function verdicts({ latency, counts, atRest, failedAttempt }: Measured): string[] {
  const judged = (what: string, value: number, most: number, digits: number) =>
    `- ${value <= most ? 'reached' : '**not reached**'}: ${what}: ${fixed(value, digits)}, goal at most ${most}`;
  return [
    ...goals.flatMap(({ name, keyType, most }) => {
      const row = latency?.find((one) => one.name === name && one.keyType === keyType);
      return row?.ratio ? judged(`${name}, ${keyType}, time by Go's`, row.ratio.median, most, 2) : [];
    }),
    ...(counts ?? [])
      .filter(({ name }) => name !== 'Go client')
      .map(({ name, roundTrips }) => judged(`${name}, round trips`, roundTrips, mostRoundTrips, 1)),
    ...(atRest ?? [])
      .filter(({ ofEmpty }) => ofEmpty !== null)
      .flatMap(({ name, ofEmpty, wakeUps }) => [
        judged(`${name} at rest, memory by an empty Node's`, ofEmpty ?? 0, mostAtRest, 2),
        judged(`${name} at rest, wake-ups in a minute`, wakeUps, mostWakeUps, 0),
      ]),
    ...(failedAttempt ? [judged('fsyncs of a failed attempt', failedAttempt.syncs, 0, 1)] : []),
  ];
}
