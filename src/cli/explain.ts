import { explain, explainable } from '../services/diagnostics/explain.ts';
import { exit } from './options.ts';

/** `onboardd explain [NAME…]`: what the catalogues say; without a name, the names. */
export function explainCommand(names: readonly string[]): number {
  if (names.length === 0) {
    process.stdout.write(`${explainable().join('\n')}\n`);
    return exit.ok;
  }
  let code: number = exit.ok;
  for (const [index, name] of names.entries()) {
    const lines = explain(name);
    if (lines === null) {
      process.stderr.write(
        `onboardd: there is no error code, reason or event "${name}"; \`onboardd explain\` lists them\n`,
      );
      code = exit.usage;
    } else {
      process.stdout.write(`${index === 0 ? '' : '\n'}${lines.join('\n')}\n`);
    }
  }
  return code;
}
