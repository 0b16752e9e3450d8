import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type SettingKey, settingKeys, settings } from '../src/config/schema.ts';
import { catalogue } from '../src/errors/catalogue.ts';
import type { CommandHelp, OptionHelp } from './commands.ts';
import { root } from './tools.mjs';

/** The manual page onboardd(8), its lists taken from the source. @param date the day of the build, YYYY-MM-DD */
export function manual(version: string, date: string, commands: readonly CommandHelp[]): string {
  const parts: Record<string, string> = {
    VERSION: version,
    DATE: date,
    COMMANDS: commands.map(commandEntry).join('\n'),
    CONFIGURATION: settingKeys.map((key) => entry(key, settingText(key))).join('\n'),
    ERRORS: Object.entries(catalogue)
      .map(([code, { cause, remedy }]) => entry(code, `${cause} ${remedy}`))
      .join('\n'),
  };
  return readFileSync(join(root, 'packaging/onboardd.8'), 'utf8').replace(
    /@([A-Z]+)@/g,
    (whole, name: string) => parts[name] ?? whole,
  );
}

/** Options that every command of the device takes: the section OPTIONS has them. */
const shared = ['--config', '--env-file', '--agent-config', '--state-dir'];

function commandEntry({ usage, does, options, arguments: operands }: CommandHelp): string {
  const own = options.filter(({ names }) => !names.some((name) => shared.includes(name)));
  const lists = [...operands, ...own].map((option) => entry(termOf(option), sentence(option.does)));
  const indented = lists.length > 0 ? `\n.RS\n${lists.join('\n')}\n.RE` : '';
  return `${entry(usage, sentence(does))}${indented}`;
}

function termOf({ names, value }: OptionHelp): string {
  return `${names.join(', ')}${value === null ? '' : ` ${value}`}`;
}

/** Help has no capitals and no full stops, a page has. */
function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;
}

function settingText(key: SettingKey): string {
  const { meaning, shownDefault, allowed } = settings[key];
  const said = meaning.replace(/\.$/, '');
  return `${said}. Allowed: ${allowed}. Default: ${shownDefault}.`;
}

function entry(term: string, text: string): string {
  return `.TP\n.B ${roff(term)}\n${roff(text.replaceAll('`', ''))}`;
}

function roff(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('"', '\\(dq')
    .replaceAll('…', '...')
    .replaceAll('→', '\\(->')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
