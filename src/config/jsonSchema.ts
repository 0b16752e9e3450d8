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

/** What a schema or an action of a pipe is made of, as far as it is known here. */
interface Part {
  readonly type: string;
  readonly pipe?: readonly Part[];
  readonly options?: readonly string[];
  readonly value?: Part;
  readonly requirement?: unknown;
  readonly metadata?: Json;
}

/**
 * The JSON Schema of a value. A `check` is code, and is left out: an editor then takes more than the program does.
 *
 * @throws {TypeError} where the schema has a part that is not known here
 */
export function jsonSchemaOf(schema: v.GenericSchema): Json {
  return keywordsOf(schema as unknown as Part);
}

function keywordsOf({ type, pipe, options, value, requirement, metadata }: Part): Json {
  // The first part of a pipe is the schema that it begins with.
  if (pipe !== undefined) return Object.assign({}, ...pipe.map(keywordsOf));
  switch (type) {
    case 'string':
    case 'number':
    case 'boolean':
      return { type };
    case 'picklist':
      return { enum: options };
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
