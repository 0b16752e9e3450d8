import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { outputIsLog } from '../adapters/output.ts';
import { leaveSignals } from '../adapters/signals.ts';
import { type Build, type CommonFlags, defaultConfigFile, exit } from './options.ts';
import type { ReportFlags } from './report.ts';
import type { ResetFlags } from './reset.ts';
import type { StatusFlags } from './status.ts';
import type { WaitFlags } from './wait.ts';

/** The command line; only the modules of the command that is given are loaded. @returns exit status */
export async function runProgram(argv: string[], build: Build): Promise<number> {
  const { version } = build;
  let code: number = exit.ok;
  const end = (status: number) => {
    code = status;
  };
  const program = common(new Command('onboardd'))
    .description('Takes a Linux device from first power-on to a registered member of a fleet.')
    .version(version)
    // On a narrow terminal too, lines end between words.
    .configureHelp({ minWidthToWrap: 20 })
    .hook('preAction', async (_, command) => {
      if (command.name() === 'run') outputIsLog();
      else await leaveSignals();
    });
  addDeviceCommands(program, build, end);
  addLogCommands(program, build, end);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? exit.ok : exit.usage;
  }
  return code;
}

/** What concerns the device on which the program runs. @param end receives the exit status */
function addDeviceCommands(program: Command, build: Build, end: (status: number) => void): void {
  common(program.command('run'))
    .description('onboard the device, then keep running and watch its certificate')
    .option('--once', 'exit once the device is registered or has failed')
    .action(async (flags: CommonFlags & { once?: boolean }) => {
      const { runCommand } = await import('./run.ts');
      end(await runCommand({ ...program.opts(), ...flags }, flags.once ?? false, build));
    });
  common(program.command('status'))
    .description('show what the device is doing, whether or not the daemon runs')
    .option('--json', 'print JSON')
    .option('--watch', 'keep updating until Ctrl-C')
    .option('--plain', 'with --watch: one line for each change, for screen readers and logs')
    .action(async (flags: StatusFlags) => {
      const { statusCommand } = await import('./status.ts');
      end(await statusCommand({ ...program.opts(), ...flags }, build.version));
    });
  common(program.command('wait'))
    .description('return when the device is registered: for scripts and units')
    .option('--timeout <seconds>', 'at most so long (default: without end)', seconds)
    .option('--ignore-failed', 'go on waiting in failed, too: the daemon tries again by itself')
    .action(async (flags: WaitFlags) => {
      const { waitCommand } = await import('./wait.ts');
      end(await waitCommand({ ...program.opts(), ...flags }));
    });
  common(program.command('check'))
    .description('check everything that onboarding needs, and name what to fix; changes nothing')
    .option('--json', 'print JSON')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      const { checkCommand } = await import('./check.ts');
      end(await checkCommand({ ...program.opts(), ...flags }, build));
    });
  common(program.command('bundle'))
    .description('write everything that support asks for into one .tar.gz, secrets masked')
    .argument('[file]', 'archive to write (default: onboardd-bundle-<time>.tar.gz)')
    .action(async (file: string | undefined, flags: CommonFlags) => {
      const { bundleCommand } = await import('./bundle.ts');
      end(await bundleCommand(file, { ...program.opts(), ...flags }, build));
    });
  common(program.command('reset'))
    .description('forget the identity, for a golden image or a device that is handed on')
    .option('--keep-id', 'keep the device id; the next start makes a fresh key')
    .option('--yes', 'do not ask for confirmation')
    .action(async (flags: ResetFlags) => {
      const { resetCommand } = await import('./reset.ts');
      end(await resetCommand({ ...program.opts(), ...flags }, build.version));
    });
}

/** What concerns logs, of whichever devices. @param end receives the exit status */
function addLogCommands(program: Command, build: Build, end: (status: number) => void): void {
  program
    .command('report')
    .exitOverride()
    .description('sum up the logs of a fleet: progress, durations, errors, stuck devices')
    .argument('[files...]', 'logs of any number of devices; none or - for standard input')
    .option('--html <file>', 'also write the report as one self-contained page')
    .option('--json', 'print JSON')
    .option('--since <time>', 'leave out older lines: a time, or how long ago (90m, 24h, 7d)')
    .option('--device <id>', 'only this device')
    .option(
      '--compare <periods>',
      'two periods next to each other: FROM/UNTIL,FROM/UNTIL, times such as 2026-11-24T06:00 (UTC)',
    )
    .option('--stuck-after <minutes>', 'how long a device may stay unregistered, or not write (default: 60)')
    .option('--threads <number>', 'read on so many threads (default: one for each processor, at most 4)')
    .option('--follow', 'read on as the files grow, and show the report again')
    .action(async (files: string[], flags: ReportFlags) => {
      const { reportCommand } = await import('./report.ts');
      end(await reportCommand(files, flags, build));
    });
  program
    .command('explain')
    .exitOverride()
    .description('explain an error code, a reason or a log event')
    .argument('[names...]', 'error codes, reasons, events or message ids; none to list them')
    .action(async (names: string[]) => {
      const { explainCommand } = await import('./explain.ts');
      end(explainCommand(names));
    });
}

/** setTimeout(2) takes no more. */
const longestSeconds = 2_147_483;

function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value <= longestSeconds) return value;
  throw new InvalidArgumentError(`allowed: a number of seconds from 0 to ${longestSeconds}`);
}

function common(command: Command): Command {
  return command
    .exitOverride()
    .option('--config <file>', `configuration file (default: ${defaultConfigFile})`)
    .option('--env-file <file>', 'environment file of the Go agent, generations 1 and 2')
    .option('--agent-config <file>', 'YAML file of the Go agent, generation 3')
    .option('--state-dir <dir>', 'state directory');
}
