/** What shells run to complete a command line of objtree; what may follow is asked from `objtree --complete` (bin/completion.ts). */

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

const BASH = String.raw`# Completion of objtree for bash. Add to ~/.bashrc:  source <(objtree completion bash)
_objtree() {
  local line current=${'$'}{COMP_WORDS[COMP_CWORD]##*[=@]}
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :words) ;;
      :file | :directory)
        local action=-f
        [[ $line == :directory ]] && action=-d
        compopt -o filenames
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen $action -- "$current")
        ;;
      *) COMPREPLY+=("${'$'}{line%%$'\t'*}") ;;
    esac
  done < <("${'$'}{COMP_WORDS[0]}" --complete-line "${'$'}{COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
  if [[ ${'$'}{#COMPREPLY[@]} == 1 && ${'$'}{COMPREPLY[0]} == *[/=] ]]; then compopt -o nospace; fi
}
complete -F _objtree objtree
`

const ZSH = String.raw`#compdef objtree
# Completion of objtree for zsh. Add to ~/.zshrc, after compinit:  source <(objtree completion zsh)
_objtree() {
  local -a lines open opentext closed closedtext
  local line value text
  lines=("${'$'}{(@f)$("${'$'}{(Q)words[1]}" --complete "${'$'}{(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  case ${'$'}{lines[1]} in
    :file) compset -P '*=@'; _files; return ;;
    :directory) _files -/; return ;;
  esac
  for line in "${'$'}{(@)lines[2,-1]}"; do
    value=${'$'}{line%%$'\t'*}
    text="$value  ${'$'}{line#*$'\t'}"
    if [[ $value == *[/=] ]]; then
      open+=("$value"); opentext+=("$text")
    else
      closed+=("$value"); closedtext+=("$text")
    fi
  done
  (( $#open )) && compadd -l -S '' -d opentext -a open
  (( $#closed )) && compadd -l -d closedtext -a closed
  (( $#open + $#closed ))
}
if [[ $funcstack[1] == _objtree ]]; then _objtree "$@"; else compdef _objtree objtree; fi
`

const FISH = String.raw`# Completion of objtree for fish. Save as ~/.config/fish/completions/objtree.fish
function __objtree_complete
    set -l tokens (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($tokens[1] --complete $tokens[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case :file
            set -l before (string match -r '^[^=]*=@' -- "$current")
            __fish_complete_path (string replace -r '^[^=]*=@' '' -- "$current") | string replace -r '^' -- "$before"
        case :directory
            __fish_complete_directories "$current"
        case '*'
            printf '%s\n' $lines[2..-1]
    end
end
complete -c objtree -f -a '(__objtree_complete)'
`

export const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH }
