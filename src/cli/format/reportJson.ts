import { remedyOf } from '../../services/diagnostics/status.ts';
import type { Comparison } from '../../services/fleetReport/comparison.ts';
import { type Distribution, quantile } from '../../services/fleetReport/distribution.ts';
import {
  type DeviceStory,
  funnel,
  type Report,
  topErrors,
  topReasons,
} from '../../services/fleetReport/report.ts';

/** Version of the shape: it grows by fields; a change of meaning is another version. */
const shapeVersion = 1;

/** What `report --json` prints. */
export function reportJson(report: Report, comparison: Comparison | null = null): unknown {
  const {
    lines,
    foreign,
    duplicates,
    unnamed,
    beyond,
    first,
    last,
    devices,
    replaced,
    wrongClock,
    versions,
  } = report;
  return {
    version: shapeVersion,
    lines: { read: lines, foreign, duplicates, unnamed, beyond },
    first: time(first),
    last: time(last),
    devices: devices.length,
    failing: devices.filter(({ failures }) => failures > 0).length,
    replaced,
    wrongClock,
    funnel: funnel(report),
    durations: Object.fromEntries(
      [
        ...report.steps,
        ['startToRegistered', report.toRegistered] as const,
        ['restartToRegistered', report.restarts] as const,
      ]
        .filter(([, { count }]) => count > 0)
        .map(([name, counts]) => [name, duration(counts)]),
    ),
    events: Object.fromEntries([...report.events].sort(([a], [b]) => (a < b ? -1 : 1))),
    errors: topErrors(report).map(([code, error]) => ({
      code,
      count: error.count,
      devices: error.devices,
      steps: sorted(error.steps),
      reasons: topReasons(error, Number.POSITIVE_INFINITY).map(([reason, count]) => ({ reason, count })),
      example: error.cause?.value ?? null,
      remedy: remedyOf(code, topReasons(error, 1)[0]?.[0] ?? null),
    })),
    versions: [...versions].map(([version, counts]) => ({
      version: version === '' ? null : version,
      ...counts,
    })),
    timeline: timelineJson(report),
    comparison: comparison === null ? null : comparisonJson(comparison),
    list: devices.map(deviceJson),
  };
}

function timelineJson({ timeline: { bucketMs, counts } }: Report): unknown {
  const rows = [...counts].flatMap(([name, versions]) =>
    [...versions].flatMap(([version, buckets]) =>
      [...buckets].map(([bucket, count]) => ({
        at: time(bucket * bucketMs),
        what: name,
        version: version === '' ? null : version,
        count,
      })),
    ),
  );
  const key = ({ at, what, version }: (typeof rows)[number]) => `${at} ${what} ${version}`;
  return { bucketMs, counts: rows.sort((a, b) => (key(a) < key(b) ? -1 : 1)) };
}

function comparisonJson({ periods, stepMs, rows }: Comparison): unknown {
  return {
    periods: periods.map(([from, until]) => ({ from: time(from), until: time(until) })),
    stepMs,
    rows,
  };
}

function deviceJson(device: DeviceStory): unknown {
  const { id, host, alias, version, standing, state, inStateMs, unregisteredMs, isStopped } = device;
  const { failures, registrations, starts, lastCode, lastCause } = device;
  return {
    ...{ id, host, alias, version, standing, state, inStateMs, unregisteredMs },
    firstSeen: time(device.first),
    lastSeen: time(device.last),
    stopped: isStopped,
    ...{ failures, registrations, starts, lastCode, lastCause },
    codes: sorted(device.codes),
  };
}

function duration(counts: Distribution): unknown {
  const { count, max } = counts;
  return { count, p50Ms: quantile(counts, 0.5), p95Ms: quantile(counts, 0.95), maxMs: max };
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
