import { catalogue } from '../src/errors/catalogue.ts';
import { reasons } from '../src/errors/reasons.ts';
import { events } from '../src/events.ts';
import type { CommandHelp, OptionHelp } from './commands.ts';

/** What may stand behind an option, or as an argument: files, folders, or words. */
type Values = 'files' | 'folders' | readonly string[];

/** What `onboardd explain` knows. */
const explained = [...Object.keys(catalogue), ...Object.keys(reasons), ...Object.keys(events)];

/** Option → its values. A command has values of its own under `COMMAND OPTION`, an argument under `COMMAND`. */
const valuesOf: Readonly<Record<string, Values>> = {
  '--config': 'files',
  '--env-file': 'files',
  '--agent-config': 'files',
  '--state-dir': 'folders',
  '--html': 'files',
  '--since': ['90m', '24h', '7d', '30d'],
  '--stuck-after': ['15', '60', '240'],
  '--threads': ['1', '2', '4'],
  '--timeout': ['60', '300', '3600'],
  '--device': [],
  '--compare': [],
  bundle: 'files',
  report: 'files',
  explain: [...new Set(explained)].sort(),
};

const helpOption: OptionHelp = { names: ['-h', '--help'], value: null, does: 'display help for command' };
const longName = ({ names }: OptionHelp) => names.at(-1) ?? '';
const withHelp = ({ options }: CommandHelp) => [...options, helpOption];
/** Those of the program are those that every command of the device has. */
function ofProgram(commands: readonly CommandHelp[]): OptionHelp[] {
  const shared = commands.find(({ name }) => name === 'run')?.options ?? [];
  const version = { names: ['-V', '--version'], value: null, does: 'output the version number' };
  return [...shared.filter(({ value }) => value !== null), version, helpOption];
}

/** Options that take a value, of all commands. @returns name → values */
function optionValues(commands: readonly CommandHelp[]): Map<string, Values> {
  const taking = commands.flatMap(({ options }) => options).filter(({ value }) => value !== null);
  return new Map(taking.map((option) => [longName(option), known(longName(option))]));
}

/** @throws {Error} for an option that this file does not know: each has its values, or the empty list */
function known(name: string): Values {
  const values = valuesOf[name];
  if (values === undefined) throw new Error(`packaging/completion.ts does not say what ${name} takes`);
  return values;
}

export function bashCompletion(commands: readonly CommandHelp[]): string {
  const values = [...optionValues(commands)].map(([name, of]) => `\t${name}) ${bashReply(of)}; return ;;`);
  const cases = commands.map(
    (command) => `\t${command.name}) words="${withHelp(command).map(longName).join(' ')}" ;;`,
  );
  const taken = commands.filter(({ arguments: list }) => list.length > 0);
  const operands = taken.map(({ name }) => `\t${name}) ${bashReply(known(name))} ;;`);
  return `# bash completion for onboardd
_onboardd() {
	local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} word words="" command=""
	case $previous in
${values.join('\n')}
	esac
	for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		${commands.map(({ name }) => name).join('|')}) command=$word; break ;;
		esac
	done
	case $command in
${cases.join('\n')}
	*) words="${[...commands.map(({ name }) => name), ...ofProgram(commands).map(longName)].join(' ')}" ;;
	esac
	if [[ $current != -* ]]; then
		case $command in
${operands.join('\n')}
		'') mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
		esac
		return 0
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
	return 0
}
complete -F _onboardd onboardd
`;
}

function bashReply(values: Values): string {
  if (values === 'files') return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")';
  if (values === 'folders') return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current")';
  return `mapfile -t COMPREPLY < <(compgen -W "${values.join(' ')}" -- "$current")`;
}

export function zshCompletion(commands: readonly CommandHelp[]): string {
  const cases = commands.map((command) => {
    const operand =
      command.arguments.length > 0
        ? [`'*:${command.arguments[0]?.names[0]}:${zshAction(known(command.name))}'`]
        : [];
    return `\t${command.name}) _arguments ${[...withHelp(command).map(zshOption), ...operand].join(' ')} ;;`;
  });
  return `#compdef onboardd
local -a commands
commands=(
${commands.map(({ name, does }) => `\t${zshQuoted(`${name}:${zshEscaped(does)}`)}`).join('\n')}
)
_arguments -C ${ofProgram(commands).map(zshOption).join(' ')} '1:command:->command' '*::argument:->argument'
case $state in
command) _describe command commands ;;
argument)
	case $words[1] in
${cases.join('\n')}
	esac ;;
esac
`;
}

function zshOption(option: OptionHelp): string {
  const name = longName(option);
  const described = `${name}[${zshEscaped(option.does).replace(/[[\]]/g, '\\$&')}]`;
  if (option.value === null) return zshQuoted(described);
  return zshQuoted(`${described}:${option.value.replace(/[<>[\]]/g, '')}:${zshAction(known(name))}`);
}

function zshAction(values: Values): string {
  if (values === 'files') return '_files';
  if (values === 'folders') return '_files -/';
  return `(${values.map(zshEscaped).join(' ')})`;
}

function zshEscaped(text: string): string {
  return text.replaceAll(':', '\\:');
}

function zshQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function fishCompletion(commands: readonly CommandHelp[]): string {
  const names = commands.map(({ name }) => name);
  const none = `not __fish_seen_subcommand_from ${names.join(' ')}`;
  const line = (condition: string, rest: string) =>
    `complete -c onboardd -n ${fishQuoted(condition)} ${rest}`;
  return [
    '# fish completion for onboardd',
    'complete -c onboardd -f',
    ...commands.map(({ name, does }) => line(none, `-a ${name} -d ${fishQuoted(does)}`)),
    ...ofProgram(commands).map((option) => line(none, fishOption(option))),
    ...commands.flatMap((command) => {
      const seen = `__fish_seen_subcommand_from ${command.name}`;
      const operand = command.arguments.length > 0 ? [line(seen, fishValues(known(command.name)))] : [];
      return [...withHelp(command).map((option) => line(seen, fishOption(option))), ...operand];
    }),
    '',
  ].join('\n');
}

function fishOption(option: OptionHelp): string {
  const name = longName(option);
  const described = `-l ${name.replace(/^--/, '')} -d ${fishQuoted(option.does)}`;
  return option.value === null ? described : `${described} -r ${fishValues(known(name))}`.trimEnd();
}

function fishValues(values: Values): string {
  if (values === 'files') return '-F';
  if (values === 'folders') return '-f -a "(__fish_complete_directories)"';
  return values.length > 0 ? `-f -a ${fishQuoted(values.join(' '))}` : '-f';
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
