import type { CommandHelp } from './manual.ts';

/** Options of the program itself, which most commands take too, as zsh describes them. */
const fileOptions = {
  '--config': '[configuration file]:file:_files',
  '--env-file': '[environment file of the Go agent]:file:_files',
  '--agent-config': '[YAML file of the Go agent]:file:_files',
  '--state-dir': '[state directory]:directory:_files -/',
} as const;
const ofProgram = [...Object.keys(fileOptions), '--help', '--version'];
const nameOf = ({ usage }: CommandHelp) => usage.split(' ')[0] ?? usage;

/** Completion for bash: commands, options, and files where an option takes one. */
export function bashCompletion(commands: readonly CommandHelp[]): string {
  const cases = commands.map((command) => `\t${nameOf(command)}) words="${optionsOf(command).join(' ')}" ;;`);
  return `# bash completion for onboardd
_onboardd() {
	local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} word words="" command=""
	case $previous in
	--config|--env-file|--agent-config|--html) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	--state-dir) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
	esac
	for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		${commands.map(nameOf).join('|')}) command=$word; break ;;
		esac
	done
	case $command in
${cases.join('\n')}
	*) words="${[...commands.map(nameOf), ...ofProgram].join(' ')}" ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
	[ "$command" = report ] && [[ $current != -* ]] && mapfile -t COMPREPLY < <(compgen -f -- "$current")
	return 0
}
complete -o filenames -F _onboardd onboardd
`;
}

export function zshCompletion(commands: readonly CommandHelp[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''").replaceAll(':', '\\:')}'`;
  const described = (option: string) =>
    `'${option}${Object.hasOwn(fileOptions, option) ? fileOptions[option as keyof typeof fileOptions] : ''}'`;
  const cases = commands.map(
    (command) =>
      `\t${nameOf(command)}) _arguments ${optionsOf(command).map(described).join(' ')} '*:file:_files' ;;`,
  );
  return `#compdef onboardd
local -a commands
commands=(
${commands.map((command) => `\t${quoted(nameOf(command))}:${quoted(command.does)}`).join('\n')}
)
_arguments -C ${ofProgram.map(described).join(' ')} '1:command:->command' '*::argument:->argument'
case $state in
command) _describe command commands ;;
argument)
	case $words[1] in
${cases.join('\n')}
	esac ;;
esac
`;
}

function optionsOf(command: CommandHelp): string[] {
  return [...command.options, '--help'];
}
