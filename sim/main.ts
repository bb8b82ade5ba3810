// The churn simulator's command line, a process of its own: `hearth sim …` starts it.
import { Command } from 'commander'
import { runSimCommand } from './commands/run-command.ts'
import type { RunOptions } from './commands/run.ts'

const gather = (value: string, values: string[]): string[] => [...values, value]

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

program
  .command('run <scenario>')
  .description('run a scenario: a shipped one by its name, or a YAML file')
  .option('--seed <n>', 'the seed of the first run; the others count on from it', '1')
  .option('--reps <n>', 'how many runs', '1')
  .option('--set <key=value>', 'change a setting, as batch=7500; may be repeated', gather, [])
  .option('--jobs <n>', 'runs at once (default: one per core)')
  .option('--out <folder>', 'where the results go (default: out/sim/SCENARIO)')
  .option('--events', "write the job's event log too")
  .option('--json', 'print run.json for programs')
  .action((scenario: string, options: RunOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/run.ts')).runCommand(scenario, options, output),
    ),
  )

await program.parseAsync()
