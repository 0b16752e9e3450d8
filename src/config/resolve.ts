import * as v from 'valibot';
import { isRecord } from '../text/json.ts';
import { withoutPin } from '../text/pin.ts';
import { contradictions } from './contradictions.ts';
import { pathOfExport } from './exports.ts';
import {
  type Config,
  environmentName,
  type HostDefaults,
  type Setting,
  type SettingKey,
  settingKeys,
  settings,
} from './schema.ts';

/** The sources of values; the first one wins. `file` is the parsed JSON; `overlay` has keys in dotted form. */
export interface Sources {
  readonly flags: Readonly<Partial<Record<SettingKey, string>>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** From `--env-file`: below the environment, above the file. */
  readonly overlay: ReadonlyMap<string, unknown>;
  readonly file: unknown;
}

/** The effective configuration, or every problem, each naming the key, the value and what is allowed. */
export type Resolution = { readonly config: Config } | { readonly problems: readonly string[] };

export function resolveConfig(sources: Sources, host: HostDefaults): Resolution {
  const problems: string[] = [];
  const given = new Map<string, unknown>();
  const layers = [
    flatten(sources.file, problems),
    sources.overlay,
    readEnvironment(sources.environment, problems),
    new Map(Object.entries(sources.flags)),
  ];
  for (const layer of layers) {
    for (const [key, value] of layer) {
      if (key === 'exports' && isRecord(value) && isRecord(given.get(key))) {
        given.set(key, mergedExports(given.get(key) as Record<string, unknown>, value));
      } else if (value !== undefined) {
        given.set(key, value);
      }
    }
  }
  for (const key of settingKeys) {
    const setting: Setting = settings[key];
    if (given.has(key)) {
      const value = given.get(key);
      if (!v.is(setting.schema, value))
        problems.push(`${key} is ${show(value)}; allowed: ${setting.allowed}`);
    } else if (setting.defaultOf === null) {
      problems.push(`${key} is missing; it is required: ${setting.allowed}`);
    } else {
      given.set(key, setting.defaultOf(host));
    }
  }
  if (problems.length > 0) return { problems: problems.map(withoutCredentials) };
  const config = unflatten(given);
  const contradictory = contradictions(config);
  return contradictory.length > 0 ? { problems: contradictory } : { config };
}

/** If a layer gives only a path, mode and group of a lower layer stay. */
function mergedExports(below: Record<string, unknown>, above: Record<string, unknown>) {
  const moved = Object.entries(above).map(([item, setting]) => {
    const known = Object.hasOwn(below, item) ? below[item] : undefined;
    return [item, typeof setting === 'string' && isRecord(known) ? { ...known, path: setting } : setting];
  });
  return { ...below, ...Object.fromEntries(moved) };
}

/** Only the state directory, for commands that must work if the rest of the configuration is invalid. */
export function stateDirOf(sources: Sources, host: HostDefaults): string {
  const candidates = [
    sources.flags.stateDir,
    sources.environment[environmentName('stateDir')],
    sources.overlay.get('stateDir'),
    isRecord(sources.file) ? sources.file.stateDir : undefined,
  ];
  const found = candidates.find((value) => typeof value === 'string' && value !== '');
  return typeof found === 'string' ? found : host.stateDir;
}

/** The paths of `exports`, even if the rest of the configuration is invalid: `reset` must leave no secret behind. */
export function exportsOf(sources: Sources): string[] {
  return [...new Set(exportedItems(sources).map(([, path]) => path))];
}

/** Items of `exports` and their paths, in every layer, even if the rest of the configuration is invalid. */
export function exportedItems({ file, overlay, environment }: Sources): [item: string, path: string][] {
  const layers = [flatten(file, []), overlay, readEnvironment(environment, [])];
  const all = layers.map((layer) => layer.get('exports')).filter(isRecord);
  return all.flatMap(Object.entries<unknown>).flatMap(([item, setting]) => {
    const path = pathOfExport(setting);
    return path === null ? [] : [[item, path] satisfies [string, string]];
  });
}

/** `identity.keyType`, even if the rest of the configuration is invalid: `reset` must leave no key behind. */
export function keyTypeOf({ file, overlay, environment }: Sources): unknown {
  const layers = [readEnvironment(environment, []), overlay, flatten(file, [])];
  return layers.map((layer) => layer.get('identity.keyType')).find((value) => value !== undefined);
}

/** The keys whose values differ. */
export function changedKeys(before: Config, after: Config): SettingKey[] {
  const shown = (config: Config, key: SettingKey) => {
    const [section = '', name] = key.split('.');
    const value = (config as unknown as Record<string, unknown>)[section];
    return JSON.stringify(name === undefined ? value : (value as Record<string, unknown>)[name]);
  };
  return settingKeys.filter((key) => shown(before, key) !== shown(after, key));
}

function flatten(file: unknown, problems: string[]): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  if (!isRecord(file)) {
    problems.push(`the configuration file holds ${show(file)}; allowed: a JSON object`);
    return flat;
  }
  for (const [section, value] of Object.entries(file)) {
    if (section === '$schema') continue;
    if (isSettingKey(section) && !section.includes('.')) {
      flat.set(section, value);
    } else if (!settingKeys.some((key) => key.startsWith(`${section}.`))) {
      problems.push(unknownKey(section, value));
    } else if (!isRecord(value)) {
      problems.push(`${section} is ${show(value)}; allowed: an object`);
    } else {
      for (const [name, entry] of Object.entries(value)) {
        const key = `${section}.${name}`;
        if (isSettingKey(key)) flat.set(key, entry);
        else problems.push(unknownKey(key, entry));
      }
    }
  }
  return flat;
}

function readEnvironment(environment: Sources['environment'], problems: string[]): Map<string, unknown> {
  const values = new Map<string, unknown>();
  const byName = new Map<string, SettingKey>(settingKeys.map((key) => [environmentName(key), key]));
  const exported: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || value === '') continue;
    const key = byName.get(name);
    if (key !== undefined) {
      values.set(key, readsJson(key, value) ? parseJson(value) : coerce(key, value));
    } else if (name.startsWith('ONBOARDD_EXPORTS_')) {
      exported[camelCase(name.slice('ONBOARDD_EXPORTS_'.length))] = value;
    } else if (
      settingKeys.some((known) => name.startsWith(`${environmentName(known.split('.')[0] ?? known)}_`))
    ) {
      problems.push(`${name} is ${showUnknown(name, value)}; unknown key`);
    }
  }
  if (Object.keys(exported).length > 0) {
    const whole = values.get('exports');
    values.set('exports', { ...(isRecord(whole) ? whole : {}), ...exported });
  }
  return values;
}

/** A list of URLs may be written as JSON, too. */
function readsJson(key: SettingKey, value: string): boolean {
  return key === 'exports' || (key === 'provisioning.url' && value.trim().startsWith('['));
}

/** Environment and overlay hold text: it is read as what the key takes, or left for the validation to refuse. */
export function coerce(key: SettingKey, value: string): unknown {
  const { type } = settings[key].schema;
  if (type === 'boolean') return { true: true, false: false }[value.trim()] ?? value;
  if (type !== 'number') return value;
  return /^[+-]?\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : value;
}

function unflatten(flat: ReadonlyMap<string, unknown>): Config {
  const config: Record<string, unknown> = {};
  for (const key of settingKeys) {
    const [section = '', name] = key.split('.');
    if (name === undefined) config[section] = flat.get(key);
    else config[section] = { ...(config[section] as object | undefined), [name]: flat.get(key) };
  }
  return config as unknown as Config;
}

function unknownKey(key: string, value: unknown): string {
  const section = key.split('.')[0] ?? '';
  const near = settingKeys.filter((known) => known.startsWith(`${section}.`));
  const known = near.length > 0 ? near : [...new Set(settingKeys.map((name) => name.split('.')[0]))];
  return `${key} is ${showUnknown(key, value)}; unknown key; allowed: ${known.join(', ')}`;
}

/** A value for an error: short, on one line, and without the credentials of a URL. */
function show(value: unknown): string {
  const json = withoutCredentials(JSON.stringify(value, withoutLogin) ?? String(value));
  return json.length > 120 ? `${json.slice(0, 117)}…` : json;
}

/** Masks a text up to its last `@`: a password may hold spaces and quotes, too. PINs are masked in the JSON. */
function withoutLogin(_: string, value: unknown): unknown {
  if (typeof value !== 'string' || /pin(-|%2d)value/i.test(value)) return value;
  const at = value.lastIndexOf('@');
  return at < 0 ? value : `***${value.slice(at)}`;
}

/** Values of unknown keys are masked if the key looks like that of a secret. */
function showUnknown(key: string, value: unknown): string {
  return /token|secret|password|credential|key/i.test(key) ? '***' : show(value);
}

/** Keys are masked too: a malformed file can make a key of a URL. */
function withoutCredentials(text: string): string {
  return withoutPin(text).replace(/[^\s"]+/g, (word) => {
    const at = word.lastIndexOf('@');
    return at < 0 ? word : `***${word.slice(at)}`;
  });
}

function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(settings, key);
}

function parseJson(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function camelCase(name: string): string {
  return name.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
