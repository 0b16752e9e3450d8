import { explain, explainable } from '../services/diagnostics/explain.ts';
import { explainLines } from './format/explain.ts';
import { terminalOf } from './format/terminal.ts';
import { exit } from './options.ts';

/** `onboardd explain [NAME...]`: describes entries of the catalogues; without a name, lists them. */
export function explainCommand(names: readonly string[]): number {
  if (names.length === 0) {
    process.stdout.write(`${explainable().join('\n')}\n`);
    return exit.ok;
  }
  let code: number = exit.ok;
  for (const [index, name] of names.entries()) {
    const entry = explain(name);
    if (entry === null) {
      process.stderr.write(
        `onboardd: unknown error code, reason or event "${name}"; run \`onboardd explain\` for a list\n`,
      );
      code = exit.usage;
    } else {
      const lines = explainLines(entry, terminalOf(process.stdout, process.env));
      process.stdout.write(`${index === 0 ? '' : '\n'}${lines.join('\n')}\n`);
    }
  }
  return code;
}
