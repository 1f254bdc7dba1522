/** `completion`: a script that completes command lines. */
import type { DirectoryCommand } from '../command.ts'
import { SCRIPTS, SHELLS, type Shell } from '../completion-scripts.ts'

interface Result {
  readonly shell: Shell
  readonly script: string
}

export const command: DirectoryCommand<{ readonly shell: Shell }, Result> = {
  works: 'directory',
  positionals: [{ name: 'shell', describe: SHELLS.join(', '), required: true, choices: SHELLS }],
  examples: [
    ['completion bash', 'source <(objtree completion bash) in ~/.bashrc'],
    ['completion zsh', 'source <(objtree completion zsh) in ~/.zshrc, after compinit'],
    ['completion fish', 'to be saved as ~/.config/fish/completions/objtree.fish'],
  ],
  run: (_place, { shell }) => ({ shell, script: SCRIPTS[shell] }),
  async print({ script }, out) {
    await out.pour(script)
  },
}
