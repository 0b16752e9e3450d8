import * as v from 'valibot';
import { isRecord } from '../text/json.ts';
import {
  type Config,
  environmentName,
  type HostDefaults,
  type Setting,
  type SettingKey,
  settingKeys,
  settings,
} from './schema.ts';

/** Where values come from, the first one wins. `file` is the parsed JSON; `overlay` has keys in dotted form. */
export interface Sources {
  readonly flags: Readonly<Partial<Record<SettingKey, string>>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** From `--env-file`: beneath the environment, above the file. */
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
        given.set(key, { ...(given.get(key) as object), ...value });
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
  return problems.length > 0 ? { problems: problems.map(withoutCredentials) } : { config: unflatten(given) };
}

/** The state directory alone, for commands that must work while the rest of the configuration is wrong. */
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

/** What `exports` names, whatever else of the configuration is wrong: `reset` must leave no secret behind. */
export function exportsOf({ file, overlay, environment }: Sources): string[] {
  const layers = [flatten(file, []), overlay, readEnvironment(environment, [])];
  const all = layers.map((layer) => layer.get('exports')).filter(isRecord);
  return [...new Set(all.flatMap((paths) => Object.values(paths)))].filter(
    (path): path is string => typeof path === 'string' && path !== '',
  );
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
    if (!name.startsWith('ONBOARDD_') || value === undefined || value === '') continue;
    const key = byName.get(name);
    if (key !== undefined) {
      values.set(key, key === 'exports' ? parseJson(value) : coerce(key, value));
    } else if (name.startsWith('ONBOARDD_EXPORTS_')) {
      exported[camelCase(name.slice('ONBOARDD_EXPORTS_'.length))] = value;
    } else if (
      settingKeys.some((known) => name.startsWith(`${environmentName(known.split('.')[0] ?? known)}_`))
    ) {
      problems.push(`${name} is ${showUnknown(name, value)}; there is no such key`);
    }
  }
  if (Object.keys(exported).length > 0) {
    const whole = values.get('exports');
    values.set('exports', { ...(isRecord(whole) ? whole : {}), ...exported });
  }
  return values;
}

const switches = new Map<string, unknown>([
  ['true', true],
  ['false', false],
]);

/** Environment and overlay carry text: what is no number or switch where the key takes one is left for the check to refuse. */
export function coerce(key: SettingKey, value: string): unknown {
  if (settings[key].schema.type === 'boolean') return switches.get(value.trim()) ?? value;
  if (settings[key].schema.type !== 'number') return value;
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
  return `${key} is ${showUnknown(key, value)}; there is no such key; allowed: ${known.join(', ')}`;
}

/** A value for an error: short, on one line, and without the credentials of a URL. */
function show(value: unknown): string {
  const json = withoutCredentials(JSON.stringify(value) ?? String(value));
  return json.length > 120 ? `${json.slice(0, 117)}…` : json;
}

/** What was meant to be secret is under a key that says so. */
function showUnknown(key: string, value: unknown): string {
  return /token|secret|password|credential|key/i.test(key) ? '***' : show(value);
}

/** Keys are masked too: a text that was cut in the wrong place makes a key of a URL. */
function withoutCredentials(text: string): string {
  return text.replace(/[^\s"]+/g, (word) => {
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
