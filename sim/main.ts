// The churn simulator's command line, a process of its own: `hearth sim …` starts it.
import { Command } from 'commander'
import { runSimCommand } from './commands/run-command.ts'

const program = new Command('hearth sim')
  .description('How would a swarm with its churn do? Drives the very cores that peers run.')
  .showHelpAfterError('(add --help for what it takes)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))

program
  .command('list')
  .description('the scenarios that are shipped')
  .option('--json', 'print JSON for programs')
  .action((options: { json?: boolean }) =>
    runSimCommand(options, async (output) => (await import('./commands/list.ts')).listCommand(output)),
  )

program
  .command('report <run...>')
  .description('a page with figures about runs: their folders, or run.json files')
  .option('-o, --output <file>', 'where the page goes', 'report.html')
  .option('--json', 'print JSON for programs')
  .action((runs: string[], options: { output: string; json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/report.ts')).reportCommand(runs, options, output),
    ),
  )

await program.parseAsync()
