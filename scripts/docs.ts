/** Writes the generated parts of README.md, and the pages of events: `npm run docs`. A test holds the files to them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { environmentName, settingKeys, settings } from '../src/config/schema.ts';
import { catalogue } from '../src/errors/catalogue.ts';
import { type ReasonEntry, reasons } from '../src/errors/reasons.ts';
import {
  commonFields,
  type EventEntry,
  eventSchema,
  events,
  type Field,
  type StateName,
  stateNames,
} from '../src/events.ts';
import { edgesOf, mermaid, statechart } from './statechart.ts';

const readme = new URL('../README.md', import.meta.url);

/** README.md with its generated parts as the source has them. */
export function generatedReadme(text: string): string {
  return [
    ['statechart', `\`\`\`mermaid\n${mermaid(statechart())}\n\`\`\``],
    ['configuration', configurationTable()],
    ['errors', errorTable()],
  ].reduce(
    (all, [name, part]) =>
      all.replace(
        new RegExp(`(<!-- ${name}: generated -->\n)[\\s\\S]*?(<!-- /${name} -->)`),
        (_, begin: string, end: string) => `${begin}\n${part}\n\n${end}`,
      ),
    text,
  );
}

/** Which of the seven states may follow which. */
export function stateEdges(): (readonly [StateName, string])[] {
  const pairs = edgesOf(statechart()).map(({ source, target }) => [source[0], target?.[0]] as const);
  return stateNames.flatMap((name) => {
    const next = pairs.flatMap(([from, to]) =>
      from === name && to !== undefined && to !== name ? [to] : [],
    );
    return [...new Set(next)].map((to) => [name, to] as const);
  });
}

function configurationTable(): string {
  const rows = settingKeys.map((key) => {
    const { meaning, shownDefault, allowed } = settings[key];
    return `| \`${key}\` | ${shownDefault} | ${meaning} | ${allowed} | \`${environmentName(key)}\` |`;
  });
  return [
    '| key | default | meaning | allowed | environment |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function errorTable(): string {
  const rows = Object.entries(catalogue).map(
    ([code, { class: kind, cause, remedy }]) => `| \`${code}\` | ${kind} | ${cause} | ${remedy} |`,
  );
  return ['| code | class | cause | remedy |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

function reasonTable(): string {
  const rows = Object.entries<ReasonEntry>(reasons).map(([name, { codes, cause, remedy }]) => {
    const shown = codes.flatMap((code) => (code === null ? [] : [`\`${code}\``])).join(', ');
    const advice = typeof remedy === 'string' ? remedy : remedy.join(' NATS: ');
    return `| \`${name}\` | ${shown} | ${cause} | ${advice} |`;
  });
  return ['| reason | codes | what was observed | remedy |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

/** docs/events.md */
export function eventsPage(): string {
  const entries: [string, EventEntry][] = Object.entries(events);
  const overview = entries.map(
    ([name, { level, meaning, messageId }]) =>
      `| [\`${name}\`](#${name.replace('.', '')}) | ${level} | ${meaning} | \`${messageId}\` |`,
  );
  const sections = entries.flatMap(([name, { level, or, meaning, fields }]) => [
    `## ${name}\n\n${meaning} Level: \`${level}\`${or ? `; \`${or.level}\` if ${or.when}` : ''}.`,
    Object.keys(fields).length === 0 ? 'No fields of its own.' : fieldTable(fields),
  ]);
  return `${[
    '# Log events\n\nGenerated from `src/events.ts` and `src/errors/catalogue.ts` by `npm run docs`. One JSON object a line on standard output;\nthe format `journal` puts the syslog priority `<N>` in front. `events.schema.json` is the JSON schema of a line, and\nevery line that the program writes in a test is held to it. `onboardd explain NAME` prints an entry.',
    ['| event | level | meaning | message id |', '| --- | --- | --- | --- |', ...overview].join('\n'),
    '**Stability.** Names, types and meanings stay; new events and new fields may come, so pass over what you do not know.\n`message` is for people and may be worded anew.',
    '**Message ids.** Under systemd 253 and newer the format `journal` writes entries of the journal itself: the sentence is\n`MESSAGE`, every field an `ONBOARDD_*` (`retryInMs` is `ONBOARDD_RETRY_IN_MS`), failures have their `ONBOARDD_REMEDY`, and\n`MESSAGE_ID` is the one of the table; it never changes. `journalctl -u onboardd` is then readable, `-x` explains each line,\n`journalctl MESSAGE_ID=…` and `ONBOARDD_EVENT=step.failed` find an event. Older systems have the JSON lines in the journal\n(`journalctl -u onboardd -o cat | jq \'select(.event == "step.failed")\'`).',
    '**Repeated lines.** The same failure is written a few times at once, then after gaps that double up to an hour, with\n`repeated` for the lines in between; a change of state that goes round in circles is written a few times only. All of it\nstarts anew once the device got on, and with `log.level` `debug` nothing is left out.',
    `## Every line\n\n\`deviceId\` and \`state\` are there once they are known, \`repeated\` if lines were left out.`,
    fieldTable(commonFields),
    ...sections,
    '## Error codes\n\nValues of `code`. `transient`: onboardd tries again by itself. `permanent`: it rests in `failed` for\n`retry.failedAfterMs` first, and somebody has to change something.',
    errorTable(),
    '## Reasons\n\nValues of `reason`: why a code came about, the same in the log, `status` and `check`. A device whose connection fails\nadvises what the reason says, and what the code says where there is no reason.',
    reasonTable(),
  ].join('\n\n')}\n`;
}

function fieldTable(fields: Readonly<Record<string, Field<unknown>>>): string {
  const rows = Object.entries(fields).map(
    ([name, { schema, meaning }]) => `| \`${name}\` | ${typeOf(schema)} | ${meaning} |`,
  );
  return ['| field | type | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}

function typeOf({ type, enum: values, format }: Readonly<Record<string, unknown>>): string {
  if (Array.isArray(values)) return values.map((value) => `\`${value}\``).join(', ');
  if (format === 'date-time') return 'time';
  return Array.isArray(type) ? type.join(' or ') : String(type);
}

/** What `journalctl -x` shows of an event that has more to say than what it means. */
const journalDetails: Readonly<Record<string, string>> = {
  'step.failed':
    'Step: @ONBOARDD_STEP@\nError: @ONBOARDD_CODE@\nCause: @ONBOARDD_CAUSE@\nWhat to do: @ONBOARDD_REMEDY@\n\n`onboardd status` shows when the next attempt is due.',
  'device.failed': 'Error: @ONBOARDD_CODE@\nWhat to do: @ONBOARDD_REMEDY@',
  'state.changed': 'From @ONBOARDD_FROM@ to @ONBOARDD_TO@.',
  'config.reloaded': 'Changed: @ONBOARDD_CHANGED@',
};

/** The message catalogue of the journal (systemd.io/CATALOG): `journalctl -x` shows its texts. */
export function journalCatalogue(): string {
  const entries = Object.entries<EventEntry>(events).map(([name, { messageId, meaning }]) => {
    const head = [
      `-- ${messageId}`,
      `Subject: onboardd: ${name}`,
      'Defined-By: onboardd',
      'Documentation: man:onboardd(8)',
    ];
    const details = journalDetails[name];
    return [...head, '', meaning, ...(details === undefined ? [] : ['', details])].join('\n');
  });
  return `# Generated by \`npm run docs\`: what \`journalctl -x\` shows. Installed as /usr/lib/systemd/catalog/onboardd.catalog.\n\n${entries.join('\n\n')}\n`;
}

/** docs/events.schema.json */
export function eventsSchema(): string {
  return `${JSON.stringify(eventSchema(Object.keys(catalogue), Object.keys(reasons)), null, 2)}\n`;
}

if (process.argv[1]?.endsWith('docs.ts')) {
  const page = (name: string) => new URL(`../docs/${name}`, import.meta.url);
  writeFileSync(readme, generatedReadme(readFileSync(readme, 'utf8')));
  writeFileSync(page('events.md'), eventsPage());
  writeFileSync(page('events.schema.json'), eventsSchema());
  writeFileSync(new URL('../packaging/lib/onboardd.catalog', import.meta.url), journalCatalogue());
}
