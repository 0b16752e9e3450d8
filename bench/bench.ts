import { parseArgs } from 'node:util';
import { contenders } from './contenders.ts';
import { measureLatency } from './latency.ts';

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '15' }, packaged: { type: 'boolean', default: false } },
});
const rows = await measureLatency(await contenders(values.packaged), Number(values.runs), (l) =>
  console.error(l),
);
for (const row of rows)
  console.log(
    row.keyType,
    row.name,
    row.ms.median.toFixed(0),
    row.ratio?.median.toFixed(2),
    JSON.stringify(row.phases),
  );
