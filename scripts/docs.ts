/** Writes the generated parts of README.md: `npm run docs`. A test holds the file to them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { environmentName, settingKeys, settings } from '../src/config.ts';
import { catalogue } from '../src/errors.ts';
import { onboarding, type StateName, stateNames } from '../src/machines/onboarding.ts';

const readme = new URL('../README.md', import.meta.url);

/** README.md with its generated parts as the source has them. */
export function generatedReadme(text: string): string {
  return [
    ['statechart', statechart()],
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

interface Node {
  readonly key: string;
  readonly states: Readonly<Record<string, Node>>;
  readonly transitions: ReadonlyMap<string, readonly { target?: readonly { path: readonly string[] }[] }[]>;
}

/** Which of the seven states may follow which. */
export function stateEdges(): (readonly [StateName, string])[] {
  const policy = {
    retry: { initialMs: 1, maxMs: 1, factor: 1, failedAfterMs: 1 },
    provisioningTimeoutMs: 1,
    registrationTimeoutMs: 1,
    connectTimeoutMs: 1,
  };
  const { root } = onboarding(policy, { now: () => 0, random: () => 0 }) as unknown as { root: Node };
  return stateNames.flatMap((name) => {
    const node = root.states[name];
    return node === undefined
      ? []
      : [...targetsOf(node)].filter((to) => to !== name).map((to) => [name, to] as const);
  });
}

function statechart(): string {
  const edges = stateEdges().map(([from, to]) => `  ${from} --> ${to}`);
  const pairs = stateNames
    .filter((name) => name !== 'failed')
    .map((name) => `  state ${name} {\n    state "attempting ⇄ backing off" as ${name}Step\n  }`);
  return ['```mermaid', 'stateDiagram-v2', '  [*] --> idle', ...edges, ...pairs, '```'].join('\n');
}

function targetsOf(node: Node): Set<string> {
  const own = [...node.transitions.values()]
    .flat()
    .flatMap(({ target = [] }) => target.map(({ path }) => path[0] ?? ''));
  return new Set([...own, ...Object.values(node.states).flatMap((child) => [...targetsOf(child)])]);
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

if (process.argv[1]?.endsWith('docs.ts'))
  writeFileSync(readme, generatedReadme(readFileSync(readme, 'utf8')));
