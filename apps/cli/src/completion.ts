/** `dovecote completion`: a script for bash that completes commands and options, made from the commands themselves. */
import type { Command } from 'commander';
import type { Terminal } from './terminal.js';

export function addCompletion(program: Command, { say }: Terminal): void {
  program
    .command('completion')
    .description('prints a script that completes commands in bash: source <(dovecote completion)')
    .action(() => say(completionScript(program)));
}

export function completionScript(program: Command): string {
  const wordsOf = (command: Command): string =>
    [...command.commands.map((inner) => inner.name()), ...command.options.map(({ long }) => long), '--help'].join(' ');
  const cases = program.commands.map((group) => {
    const inner = group.commands.map((command) => `      "${group.name()} ${command.name()}") words="${wordsOf(command)}" ;;`);
    return [`      "${group.name()}") words="${wordsOf(group)}" ;;`, ...inner].join('\n');
  });
  return `_dovecote() {
  local words="${wordsOf(program)}" path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && continue
    path="\${path:+$path }$word"
    case "$path" in
${cases.join('\n')}
    esac
  done
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _dovecote dovecote
`;
}
