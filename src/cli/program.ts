import { Command, CommanderError } from 'commander';
import { leaveSignals } from '../adapters/signals.ts';
import { checkCommand } from './check.ts';
import { explainCommand } from './explain.ts';
import { type CommonFlags, defaultConfigFile, exit } from './options.ts';
import { type ReportFlags, reportCommand } from './report.ts';
import { resetCommand } from './reset.ts';
import { runCommand } from './run.ts';
import { type StatusFlags, statusCommand } from './status.ts';

export interface Build {
  readonly version: string;
  /** Milliseconds since 1970 */
  readonly builtAt: number;
}

/** The command line. @returns exit status */
export async function runProgram(argv: string[], build: Build): Promise<number> {
  const { version } = build;
  let code: number = exit.ok;
  const program = common(new Command('onboardd'))
    .description('Takes a Linux device from first power-on to a registered member of a fleet.')
    .version(version)
    .hook('preAction', async (_, command) => {
      if (command.name() !== 'run') await leaveSignals();
    });
  common(program.command('run'))
    .description('onboard the device, then keep running and watch its certificate')
    .option('--once', 'exit once the device is registered or has failed')
    .action(async (flags: CommonFlags & { once?: boolean }) => {
      code = await runCommand({ ...program.opts(), ...flags }, flags.once ?? false, build);
    });
  common(program.command('status'))
    .description('show what the device is doing, whether or not the daemon runs')
    .option('--json', 'print JSON')
    .option('--watch', 'keep updating until Ctrl-C')
    .action(async (flags: StatusFlags) => {
      code = await statusCommand({ ...program.opts(), ...flags }, version);
    });
  common(program.command('check'))
    .description('check everything that onboarding needs, and name what to fix; changes nothing')
    .option('--json', 'print JSON')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      code = await checkCommand({ ...program.opts(), ...flags }, build);
    });
  addReport(program, async (files, flags) => {
    code = await reportCommand(files, flags, build);
  });
  program
    .command('explain')
    .exitOverride()
    .description('explain an error code, a reason or a log event')
    .argument('[names...]', 'error codes, reasons, events or message ids; none to list them')
    .action((names: string[]) => {
      code = explainCommand(names);
    });
  common(program.command('reset'))
    .description('forget the identity, for a golden image or a device that is handed on')
    .option('--yes', 'do not ask for confirmation')
    .action(async (flags: CommonFlags & { yes?: boolean }) => {
      code = await resetCommand({ ...program.opts(), ...flags }, flags.yes ?? false);
    });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exit.ok : exit.usage;
  }
  return code;
}

function addReport(program: Command, run: (files: string[], flags: ReportFlags) => Promise<void>): void {
  program
    .command('report')
    .exitOverride()
    .description('sum up the logs of a fleet: progress, durations, errors, stuck devices')
    .argument('[files...]', 'logs of any number of devices; none or - for standard input')
    .option('--html <file>', 'also write the report as one self-contained page')
    .option('--json', 'print JSON')
    .option('--since <time>', 'leave out older lines: a time, or how long ago (90m, 24h, 7d)')
    .option('--device <id>', 'only this device')
    .option('--stuck-after <minutes>', 'how long a device may stay unregistered, or not write (default: 60)')
    .option('--follow', 'read on as the files grow, and show the report again')
    .action(run);
}

function common(command: Command): Command {
  return command
    .exitOverride()
    .option('--config <file>', `configuration file (default: ${defaultConfigFile})`)
    .option('--env-file <file>', 'environment file of the Go agent')
    .option('--state-dir <dir>', 'state directory');
}
