// The churn simulator's command line, a process of its own: `hearth sim …` starts it.
import { Command, Option } from 'commander'
import { SESSION_PRESETS } from './churn/presets.ts'
import { TRACE_FORMATS, TRACE_UNITS } from './traces/formats.ts'
import type { CompareOptions } from './commands/compare.ts'
import type { DhtCommandOptions } from './commands/dht.ts'
import type { ReportPaperOptions } from './commands/report-paper.ts'
import { runSimCommand } from './commands/run-command.ts'
import type { RunOptions } from './commands/run.ts'
import type { SweepOptions } from './commands/sweep.ts'
import type { TraceOptions } from './commands/trace.ts'
import type { ValidateOptions } from './commands/validate.ts'

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
  .description(
    'a page with figures about runs: their folders, or run.json files; "paper": about `validate paper`',
  )
  .option('-o, --output <file>', 'where the page goes', 'report.html')
  .option('--reps <n>', 'with "paper": how many seeds', '1')
  .option('--json', 'print JSON for programs')
  .action((runs: string[], options: ReportPaperOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      runs.length === 1 && runs[0] === 'paper'
        ? (await import('./commands/report-paper.ts')).reportPaperCommand(options, output)
        : (await import('./commands/report.ts')).reportCommand(runs, options, output),
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

program
  .command('sweep <scenario>')
  .description('run every combination of the values of some settings; a YAML file with `vary` says them, too')
  .option('--set <key=value,value>', 'the values of a setting, as batch=10,100; may be repeated', gather, [])
  .option('--seed <n>', 'the seed of the first run of each; the others count on from it (default: 1)')
  .option('--reps <n>', 'how many runs of each (default: 1)')
  .option('--jobs <n>', 'runs at once (default: one per core)')
  .option('--out <folder>', 'where the runs and the report go (default: out/sim/sweep-SCENARIO)')
  .option('--fresh', 'run again what the folder has already')
  .option('--json', 'print JSON for programs')
  .action((scenario: string, options: SweepOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/sweep.ts')).sweepCommand(scenario, options, output),
    ),
  )

program
  .command('compare <a> <b>')
  .description('run two scenarios on the same churn, devices and work, and say what differs, with intervals')
  .option('--seed <n>', 'the seed of the first pair; the others count on from it', '1')
  .option('--reps <n>', 'how many pairs of runs', '30')
  .option('--set <key=value>', 'change a setting of both; may be repeated', gather, [])
  .option('--set-a <key=value>', 'change a setting of A alone; may be repeated', gather, [])
  .option('--set-b <key=value>', 'change a setting of B alone; may be repeated', gather, [])
  .option('--jobs <n>', 'runs at once (default: one per core)')
  .option('--out <folder>', 'where the runs and the report go (default: out/sim/compare-A-B)')
  .option('--json', 'print JSON for programs')
  .action((a: string, b: string, options: CompareOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/compare.ts')).compareCommand([a, b], options, output),
    ),
  )

program
  .command('dht')
  .description('simulate the DHT message by message: how long finding takes under churn, and how true it is')
  .option('--peers <n>', 'peers of the swarm, up or not; at most 5000', '1000')
  .addOption(
    new Option('--preset <name>', 'a measured fleet: how they come and go')
      .choices(Object.keys(SESSION_PRESETS))
      .default('home-pc'),
  )
  .option('--minutes <n>', 'how long is measured, after ten minutes to settle', '30')
  .option('--dial-timeout <ms>', 'what a peer that is gone costs whoever dials it', '1500')
  .option('--seed <n>', 'the seed', '1')
  .option('--json', 'print JSON for programs')
  .action((options: DhtCommandOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) => (await import('./commands/dht.ts')).dhtCommand(options, output)),
  )

/** The options of commands that read a trace. */
function traceCommand(usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .addOption(
      new Option('--format <format>', 'how the file says who came and went (default: as it looks)').choices(
        TRACE_FORMATS,
      ),
    )
    .addOption(
      new Option('--unit <unit>', 'the unit of its times, where the file does not say').choices(TRACE_UNITS),
    )
    .option('--seed <n>', 'for who leaves, where the file only counts', '1')
    .option('--json', 'print JSON for programs')
}

traceCommand('import <file>', 'read a trace of churn, and write it as a churn log')
  .requiredOption('-o, --output <file>', 'where the churn log goes')
  .action((file: string, options: TraceOptions & { output: string; json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/trace.ts')).importCommand(file, options, output),
    ),
  )

traceCommand('fit <file>', 'fit models of churn to a trace, and say how well each fits')
  .option('--together <seconds>', 'peers lost so close to one another are lost at one moment', '1')
  .action((file: string, options: TraceOptions & { together: string; json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/trace.ts')).fitCommand(file, options, output),
    ),
  )

program
  .command('validate <what>')
  .description('hold the simulator beside what is known; paper: the runs of arXiv 2509.13201')
  .option('--reps <n>', 'seeds of each run; their mean counts', '5')
  .option('--jobs <n>', 'runs at once (default: one per core)')
  .option('--json', 'print JSON for programs')
  .action((what: string, options: ValidateOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/validate.ts')).validateCommand(what, options, output),
    ),
  )

await program.parseAsync()
