// The command line of the churn simulator. `hearth sim …` starts it as a separate process.
import { Command, Option } from 'commander'
import { SESSION_PRESETS } from './churn/presets.ts'
import { TRACE_FORMATS } from './traces/formats.ts'
import { TRACE_UNITS } from './traces/trace-text.ts'
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
  .description('Simulates a swarm under churn, using the same scheduling code as real peers')
  .showHelpAfterError('Run "hearth sim --help" for usage')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))

program
  .command('list')
  .description('list the included scenarios')
  .option('--json', 'print JSON for programs')
  .action((options: { json?: boolean }) =>
    runSimCommand(options, async (output) => (await import('./commands/list.ts')).listCommand(output)),
  )

program
  .command('report <run...>')
  .description(
    'write a page with figures about runs, given as folders or run.json files; "paper" reports on "validate paper"',
  )
  .option('-o, --output <file>', 'the page to write', 'report.html')
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
  .description('run an included scenario by name, or a YAML file')
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
  .description('run every combination of values of some settings, from --set or from `vary` in a YAML file')
  .option('--set <key=value,value>', 'the values of a setting, as batch=10,100; may be repeated', gather, [])
  .option('--seed <n>', 'the seed of the first run of each; the others count on from it (default: 1)')
  .option('--reps <n>', 'how many runs of each (default: 1)')
  .option('--jobs <n>', 'runs at once (default: one per core)')
  .option('--out <folder>', 'where the runs and the report go (default: out/sim/sweep-SCENARIO)')
  .option('--fresh', 'run again the runs that the folder already has')
  .option('--json', 'print JSON for programs')
  .action((scenario: string, options: SweepOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/sweep.ts')).sweepCommand(scenario, options, output),
    ),
  )

program
  .command('compare <a> <b>')
  .description(
    'run two scenarios on the same churn, devices and work, and print the differences with confidence intervals',
  )
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
  .description(
    'simulate the DHT message by message: how long look-ups take under churn, and how accurate they are',
  )
  .option('--peers <n>', 'peers of the swarm, online or not; at most 5000', '1000')
  .addOption(
    new Option('--preset <name>', 'the churn of a measured fleet')
      .choices(Object.keys(SESSION_PRESETS))
      .default('home-pc'),
  )
  .option('--minutes <n>', 'minutes to measure, after ten minutes of warm-up', '30')
  .option('--dial-timeout <ms>', 'how long a dial to an offline peer takes, ms', '1500')
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
      new Option('--format <format>', 'the format of the trace (default: detected)').choices(TRACE_FORMATS),
    )
    .addOption(
      new Option('--unit <unit>', 'the unit of times, when the file does not state it').choices(TRACE_UNITS),
    )
    .option('--seed <n>', 'the seed that picks the leaving peers, when the file only has counts', '1')
    .option('--json', 'print JSON for programs')
}

traceCommand('import <file>', 'convert a churn trace to a churn log')
  .requiredOption('-o, --output <file>', 'the churn log to write')
  .action((file: string, options: TraceOptions & { output: string; json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/trace.ts')).importCommand(file, options, output),
    ),
  )

traceCommand('fit <file>', 'fit churn models to a trace, and print how well each fits')
  .option('--together <seconds>', 'peers lost within this interval count as lost together', '1')
  .action((file: string, options: TraceOptions & { together: string; json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/trace.ts')).fitCommand(file, options, output),
    ),
  )

program
  .command('validate <what>')
  .description('compare the simulator with published results; "paper": the runs of arXiv 2509.13201')
  .option('--reps <n>', 'seeds of each run; their mean is compared', '5')
  .option('--jobs <n>', 'runs at once (default: one per core)')
  .option('--json', 'print JSON for programs')
  .action((what: string, options: ValidateOptions & { json?: boolean }) =>
    runSimCommand(options, async (output) =>
      (await import('./commands/validate.ts')).validateCommand(what, options, output),
    ),
  )

await program.parseAsync()
