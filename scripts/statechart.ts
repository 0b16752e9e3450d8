/** The statechart read from its definition: its edges, and a diagram of them. */
import type { AnyStateNode, AnyTransitionDefinition } from 'xstate';
import { onboarding } from '../src/machines/onboarding.ts';

type Path = readonly string[];

/** One transition as the definition has it. */
export interface Edge {
  readonly source: Path;
  /** `<actor> done`, `<actor> failed`, the name of a delay, `always`, or the type of an event */
  readonly event: string;
  readonly guard: string | null;
  /** Null: the state is not left. */
  readonly target: Path | null;
}

/** The root of the chart. No time limit matters to who only reads it. */
export function statechart(): AnyStateNode {
  const policy = {
    retry: { initialMs: 1, maxMs: 1, factor: 1, failedAfterMs: 1 },
    provisioningTimeoutMs: 1,
    registrationTimeoutMs: 1,
    connectTimeoutMs: 1,
    refusalsCount: true,
  };
  return onboarding(policy, { now: () => 0, random: () => 0 }).root;
}

/** A state and all states inside it, outermost first. */
export function nodesOf(node: AnyStateNode): AnyStateNode[] {
  return [node, ...Object.values(node.states).flatMap(nodesOf)];
}

/** All transitions of a state and of the states inside it, in the order of the definition. */
export function edgesOf(node: AnyStateNode): Edge[] {
  return nodesOf(node).flatMap(({ transitions, always = [] }) =>
    [...[...transitions.values()].flat(), ...always].map(edgeOf),
  );
}

/** @throws {Error} for a transition with more than one target, or with a guard that has no name */
export function edgeOf({ source, eventType, guard, target }: AnyTransitionDefinition): Edge {
  const [first, ...more] = target ?? [];
  if (more.length > 0) throw new Error(`an edge of ${source.id} has several targets`);
  const event = eventName(source, eventType);
  return { source: source.path, event, guard: guardName(guard), target: first?.path ?? null };
}

function eventName({ invoke }: AnyStateNode, type: string): string {
  const [, delay] = /^xstate\.after\.(\w+)\./.exec(type) ?? [];
  if (delay !== undefined) return delay;
  const [, kind, id] = /^xstate\.(done|error)\.actor\.(.+)$/.exec(type) ?? [];
  if (kind === undefined) return type === '' ? 'always' : type;
  const actor = invoke.find((one) => one.id === id)?.src;
  return `${actor} ${kind === 'done' ? 'done' : 'failed'}`;
}

function guardName(guard: unknown): string | null {
  if (guard === undefined) return null;
  if (typeof guard === 'string') return guard;
  if (typeof guard === 'object' && guard !== null && 'type' in guard) return String(guard.type);
  throw new Error('a guard has no name');
}

/** An edge on one line. */
export function describeEdge(edge: Edge): string {
  return `${edge.source.join('.')} -- ${labelOf(edge, edge.event)} --> ${edge.target?.join('.') ?? 'stays'}`;
}

function labelOf({ guard }: Edge, event: string): string {
  return guard === null ? event : `${event} [${guard}]`;
}

/**
 * A Mermaid state diagram. Mermaid draws no arrow from the inside of one state to another state: such an edge starts at
 * the outermost state that it leaves, and its label begins with the inner state that it comes from.
 */
export function mermaid(root: AnyStateNode): string {
  return ['stateDiagram-v2', ...inside(root, edgesOf(root))].join('\n');
}

function inside(node: AnyStateNode, edges: readonly Edge[]): string[] {
  const depth = node.path.length;
  const indent = '  '.repeat(depth + 1);
  const states = Object.values(node.states).flatMap((child) => {
    const name = child.path.length > 1 ? `"${child.key}" as ${idOf(child.path)}` : child.key;
    const content = inside(child, edges);
    return content.length === 0
      ? [`${indent}state ${name}`]
      : [`${indent}state ${name} {`, ...content, `${indent}}`];
  });
  const labels = new Map<string, string[]>();
  for (const edge of edges.filter((one) => belongsTo(node, one))) {
    const [from, to] = [edge.source, edge.target ?? []].map((path) => idOf(path.slice(0, depth + 1)));
    const arrow = `${indent}${from} --> ${to}`;
    const event = [...edge.source.slice(depth + 1), edge.event.replace(/^\w+ (?=done$|failed$)/, '')].join(
      ' ',
    );
    labels.set(arrow, [...(labels.get(arrow) ?? []), labelOf(edge, event)]);
  }
  const arrows = [...labels].map(([arrow, all]) => `${arrow} : ${[...new Set(all)].join('<br/>')}`);
  const initial = node.initial?.target?.[0];
  const start = initial === undefined ? [] : [`${indent}[*] --> ${idOf(initial.path)}`];
  return [...states, ...start, ...arrows];
}

/** It leads from one child of the state to another. */
function belongsTo({ path }: AnyStateNode, { source, target }: Edge): boolean {
  const isInside = (other: Path) => path.every((key, index) => other[index] === key);
  const [from, to] = [source[path.length], target?.[path.length]];
  return target !== null && isInside(source) && isInside(target) && from !== undefined && from !== to;
}

function idOf(path: Path): string {
  return path.join('_');
}
