import { Command, CommanderError } from 'commander';
import { leaveSignals } from '../adapters/signals.ts';
import { checkCommand } from './check.ts';
import { explainCommand } from './explain.ts';
import { type CommonFlags, defaultConfigFile, exit } from './options.ts';
import { type ReportFlags, reportCommand } from './report.ts';
import { type ResetFlags, resetCommand } from './reset.ts';
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
    .description('onboard, then stay and watch')
    .option('--once', 'end at registered or failed')
    .action(async (flags: CommonFlags & { once?: boolean }) => {
      code = await runCommand({ ...program.opts(), ...flags }, flags.once ?? false, build);
    });
  common(program.command('status'))
    .description('what the device is doing, from what the daemon left on disk')
    .option('--json', 'for programs')
    .option('--watch', 'follow it live, until Ctrl-C')
    .action(async (flags: StatusFlags) => {
      code = await statusCommand({ ...program.opts(), ...flags }, version);
    });
  common(program.command('check'))
    .description('preflight: whether onboarding would work, and what to mend; changes nothing')
    .option('--json', 'for programs')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      code = await checkCommand({ ...program.opts(), ...flags }, build);
    });
  program
    .command('report')
    .exitOverride()
    .description('the fleet as its logs tell it: who got how far, how long it took, what went wrong')
    .argument('[files...]', 'logs of any number of devices; none, or -: standard input')
    .option('--html <file>', 'write one self-contained page too')
    .option('--stuck-after <minutes>', 'how long a device may stay unregistered in one state (default: 60)')
    .action(async (files: string[], flags: ReportFlags) => {
      code = await reportCommand(files, flags);
    });
  program
    .command('explain')
    .exitOverride()
    .description('class, cause and remedy of an error code, or the fields of a log event')
    .argument('[names...]', 'error codes, events or message ids; none: list them')
    .action((names: string[]) => {
      code = explainCommand(names);
    });
  addReset(program, version, (status) => {
    code = status;
  });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exit.ok : exit.usage;
  }
  return code;
}

function addReset(program: Command, version: string, end: (status: number) => void): void {
  common(program.command('reset'))
    .description('forget the identity, for a golden image or a device handed on')
    .option('--keep-id', 'keep the device id; the next start makes a fresh key')
    .option('--yes', 'without asking')
    .action(async (flags: ResetFlags) => {
      end(await resetCommand({ ...program.opts(), ...flags }, version));
    });
}

function common(command: Command): Command {
  return command
    .exitOverride()
    .option('--config <file>', `configuration file (default: ${defaultConfigFile})`)
    .option('--env-file <file>', 'environment file of the Go agent')
    .option('--state-dir <dir>', 'state directory');
}
