import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type SettingKey, settingKeys, settings } from '../src/config/schema.ts';
import { catalogue } from '../src/errors/catalogue.ts';
import { root } from './tools.mjs';

/** What each command does, in the words of its own help. */
export interface CommandHelp {
  readonly usage: string;
  readonly does: string;
  /** All that it takes but `--help` */
  readonly options: readonly string[];
}

/** The manual page onboardd(8), its lists taken from the source. @param date the day of the build, YYYY-MM-DD */
export function manual(version: string, date: string, commands: readonly CommandHelp[]): string {
  const parts: Record<string, string> = {
    VERSION: version,
    DATE: date,
    COMMANDS: commands.map(({ usage, does }) => entry(usage, does)).join('\n'),
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

function settingText(key: SettingKey): string {
  const { meaning, shownDefault } = settings[key];
  return `${meaning}. Default: ${shownDefault}.`;
}

function entry(term: string, text: string): string {
  return `.TP\n.B ${roff(term)}\n${roff(text.replaceAll('`', ''))}`;
}

function roff(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(cq')
    .replaceAll('…', '...')
    .replaceAll('→', '\\(->')
    .replaceAll('~', '\\(ti');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
