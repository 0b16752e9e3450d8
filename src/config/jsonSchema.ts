import type * as v from 'valibot';
import { settingKeys, settings } from './schema.ts';

type Json = Readonly<Record<string, unknown>>;

/** JSON Schema (draft 2020-12) of the configuration file, for editors. */
export function jsonSchema(): Json {
  const root: Record<string, Json> = {};
  const sections = new Map<string, Record<string, Json>>();
  for (const key of settingKeys) {
    const { schema, meaning } = settings[key];
    const described = { ...jsonSchemaOf(schema), description: meaning };
    const [section = '', name] = key.split('.');
    if (name === undefined) {
      root[section] = described;
    } else {
      sections.set(section, { ...sections.get(section), [name]: described });
    }
  }
  for (const [section, properties] of sections) {
    root[section] = { type: 'object', additionalProperties: false, properties };
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'onboardd configuration',
    type: 'object',
    additionalProperties: false,
    properties: { $schema: { type: 'string' }, ...root },
  };
}

/** The parts of a schema, or of an action of a pipe, that are supported here. */
interface Part {
  readonly type: string;
  readonly pipe?: readonly Part[];
  /** Of a picklist its values, of a union its schemas */
  readonly options?: readonly unknown[];
  readonly entries?: Readonly<Record<string, Part>>;
  readonly wrapped?: Part;
  readonly value?: Part;
  readonly item?: Part;
  readonly requirement?: unknown;
  readonly metadata?: Json;
}

/**
 * The JSON Schema of a value. A `check` is code and has no counterpart: an editor accepts more than the program does.
 *
 * @throws {TypeError} if the schema has an unsupported part
 */
export function jsonSchemaOf(schema: v.GenericSchema): Json {
  return keywordsOf(schema as unknown as Part);
}

function keywordsOf(part: Part): Json {
  const { type, pipe, options, value, item, requirement, metadata } = part;
  // The first part of a pipe is the schema that it begins with.
  if (pipe !== undefined) return Object.assign({}, ...pipe.map(keywordsOf));
  switch (type) {
    case 'string':
    case 'number':
    case 'boolean':
      return { type };
    case 'picklist':
      return { enum: options };
    case 'union':
      return { anyOf: options?.map((option) => keywordsOf(option as Part)) };
    case 'array':
      return { type, items: item && keywordsOf(item) };
    case 'min_length':
      return { minItems: requirement };
    case 'optional':
      return part.wrapped === undefined ? {} : keywordsOf(part.wrapped);
    case 'strict_object':
      return objectOf(Object.entries(part.entries ?? {}));
    case 'record':
      return { type: 'object', additionalProperties: value && keywordsOf(value) };
    case 'regex':
      return { pattern: (requirement as RegExp).source };
    case 'integer':
      return { type };
    case 'min_value':
      return { minimum: requirement };
    case 'max_value':
      return { maximum: requirement };
    case 'metadata':
      return metadata ?? {};
    case 'check':
    case 'custom':
      return {};
    default:
      throw new TypeError(`the JSON Schema of "${type}" is not known`);
  }
}

function objectOf(entries: readonly [string, Part][]): Json {
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(entries.map(([name, part]) => [name, keywordsOf(part)])),
    required: entries.filter(([, { type }]) => type !== 'optional').map(([name]) => name),
  };
}
