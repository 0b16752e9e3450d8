/** The figures of `onboardd report --json` that a query can give, by DuckDB: FILE. Prints them as one JSON text. */
import { DuckDBInstance } from '@duckdb/node-api';

const [file = ''] = process.argv.slice(2);
const columns = {
  ...{ timestamp: 'TIMESTAMP', event: 'VARCHAR', version: 'VARCHAR', runId: 'VARCHAR', deviceId: 'VARCHAR' },
  ...{
    state: 'VARCHAR',
    from: 'VARCHAR',
    to: 'VARCHAR',
    durationMs: 'BIGINT',
    step: 'VARCHAR',
    code: 'VARCHAR',
  },
  ...{ reason: 'VARCHAR', cause: 'VARCHAR', alias: 'VARCHAR', attempt: 'INTEGER', repeated: 'INTEGER' },
};
const typed = Object.entries(columns)
  .map(([name, type]) => `"${name}": '${type}'`)
  .join(', ');
const failed = "event = 'step.failed'";
const weight = 'coalesce(repeated, 0) + 1';
const key = 'deviceId, timestamp, event, runId, "from", "to", state, code, reason, attempt, durationMs';

const queries = {
  lines: `SELECT count(*)::INT AS lines, count(DISTINCT hash(${key}))::INT AS different,
      epoch_ms(min(timestamp)) AS first, epoch_ms(max(timestamp)) AS last FROM log`,
  events: 'SELECT event, count(*)::INT AS n FROM log GROUP BY ALL ORDER BY ALL',
  durations: `SELECT "from" AS state, count(*)::INT AS count, quantile_disc(durationMs, 0.5) AS p50,
      quantile_disc(durationMs, 0.95) AS p95, max(durationMs) AS max
      FROM log WHERE event = 'state.changed' GROUP BY ALL ORDER BY ALL`,
  errors: `SELECT code, sum(${weight})::INT AS count, count(DISTINCT deviceId)::INT AS devices,
      arg_max(cause, timestamp) AS example FROM log WHERE ${failed} GROUP BY ALL ORDER BY ALL`,
  steps: `SELECT code, step, reason, sum(${weight})::INT AS count FROM log WHERE ${failed} GROUP BY ALL ORDER BY ALL`,
  timeline: `SELECT coalesce(code, 'registered') AS what, version, date_trunc('minute', timestamp) AS at,
      sum(${weight})::INT AS count FROM log WHERE ${failed} OR event = 'device.registered' GROUP BY ALL`,
  devices: `SELECT deviceId AS id, arg_max(coalesce("to", state), timestamp) AS state, epoch_ms(min(timestamp)) AS first,
      epoch_ms(max(timestamp)) AS last, arg_max(version, timestamp) AS version,
      arg_max(alias, timestamp) FILTER (event = 'device.registered') AS alias,
      coalesce(sum(${weight}) FILTER (${failed}), 0)::INT AS failures,
      (count(*) FILTER (event = 'device.registered'))::INT AS registrations,
      (count(*) FILTER (event = 'daemon.started'))::INT AS starts,
      arg_max(code, timestamp) FILTER (${failed}) AS lastFailure,
      arg_max(cause, timestamp) FILTER (${failed}) AS lastCause,
      max(timestamp) FILTER (coalesce("to", state) = 'registered') AS lastRegistered,
      min(timestamp) FILTER ("to" = 'registered' AND "from" <> 'idle') AS onboarded,
      max(timestamp) FILTER (event = 'state.changed') AS entered
      FROM log GROUP BY ALL ORDER BY id`,
  reached: 'SELECT coalesce("to", state) AS state, count(DISTINCT deviceId)::INT AS n FROM log GROUP BY ALL',
  visits: `SELECT deviceId, list("from" ORDER BY timestamp DESC)[1:24] AS states,
      list(durationMs ORDER BY timestamp DESC)[1:24] AS ms FROM log WHERE event = 'state.changed' GROUP BY ALL`,
};

const instance = await DuckDBInstance.create(':memory:');
const connection = await instance.connect();
await connection.run(
  `CREATE TABLE log AS FROM read_json('${file.replaceAll("'", "''")}', format = 'newline_delimited', columns = {${typed}})`,
);
const figures = {};
for (const [name, query] of Object.entries(queries))
  figures[name] = (await connection.runAndReadAll(query)).getRowObjectsJson();
const { lines, events, durations, errors, devices } = figures;
const told = { lines: lines[0], events, durations, errors, devices, timeline: figures.timeline.length };
process.stdout.write(`${JSON.stringify(told)}\n`, () => process.exit(0));
