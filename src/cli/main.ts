import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { runCommand, type CommonOptions } from './terminal/command-context.ts'
import type { ContextAddOptions } from './commands/context.ts'
import type { DemoOptions } from './commands/demo.ts'
import type { JobRetryOptions } from './commands/job.ts'
import { EXIT } from './terminal/exit-codes.ts'
import { ENGINE_NAMES } from '../inference/contract/engine.ts'
import { DEVICE_WISHES } from '../inference/device/device-choice.ts'
import { EVALUATION_MODES } from '../tasks/worker/core/worker-state.ts'
import { addReadingOptions } from './terminal/reading-options.ts'
import type { SubmitCommandOptions } from './commands/submit.ts'
import type { UpCommandOptions } from './commands/up.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const gather = (value: string, values: string[]): string[] => [...values, value]

/** A subcommand with the options that all have. Commands are imported when they run: --help stays quick. */
function command(parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .option('--data <dir>', "the peer's data folder (default: $HEARTH_DATA, or hearth in $XDG_DATA_HOME)")
    .option('--json', 'print NDJSON events for programs')
    .option('-v, --verbose', 'log what happens, to stderr')
}

const program = new Command('hearth')
  .description('Runs large batches of LLM prompts on spare GPUs, peer to peer.')
  .version(version)
  .enablePositionalOptions()
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError('(add --help for what it takes)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage))

command(program, 'up', 'run a peer on this machine')
  .option('--listen <multiaddr>', 'where to listen; may be repeated (default: this machine only)', gather, [])
  .option(
    '--announce <multiaddr>',
    'what to tell others instead, as when a router forwards a port; may be repeated',
    gather,
    [],
  )
  .option('--lan', 'listen on every network of this machine, and find peers there')
  .option('--no-direct-lane', 'weights go over libp2p only, and no second port is opened')
  .option('--bootstrap <multiaddr>', 'a peer of the swarm to join; may be repeated', gather, [])
  .option('--swarm <id>', 'the swarm to join (default: the bootstrap peer’s, or a new one)')
  .option(
    '--store-quota <bytes>',
    'what contexts may take on disk, as 50GB; remembered (default: 40 % of it)',
  )
  .option('--keep-free <bytes|%>', 'what stays free on the disk, as 10GB or 5%; remembered (default: 2 %)')
  .option('--upload-rate <bytes>', 'per second, or "unlimited" (default: 70 % of the measured uplink)')
  .option('--upload-month <bytes>', 'what may be sent in a calendar month, as 1TB (default: no cap)')
  .addOption(
    new Option('--engine <name>', 'the engine to run contexts with').choices(ENGINE_NAMES).default('auto'),
  )
  .option('--slots <n>', 'requests run at once per context')
  .option('--threads <n>', 'threads per loaded context')
  .option('--quick-start', 'answer before the weights of a context are prepared: see docs/inference.md')
  .addOption(
    new Option('--device <name>', 'what models run on: the best that works here, or the one named')
      .choices(DEVICE_WISHES)
      .default('auto'),
  )
  .addOption(
    new Option(
      '--evaluate <mode>',
      'what is kept of a context after a lease: see docs/evaluation.md',
    ).choices(EVALUATION_MODES),
  )
  .addOption(new Option('--fake-timing <load/prefill/token>', 'of the engine "fake", ms').hideHelp())
  .option('--no-replicate', 'make no spare copies of contexts that other peers want copies of')
  .option('--repair-after <seconds>', 'how long a peer may be away before its copies are made anew', '300')
  .option('--drain-deadline <seconds>', 'how long leaving may take after SIGTERM or Ctrl-C', '30')
  .option(
    '--shutdown-notice <command>',
    'run every 5 s; exit status 0 means that this machine is about to be taken away',
  )
  .option('--churn-log <file>', 'write down when other peers come and go, for "hearth sim fit"')
  .option('--url <url>', 'with --engine openai: the server’s API, as http://127.0.0.1:8000/v1')
  .option('--model <name>', 'with --engine openai: what the server calls its model')
  .option('--declare <text>', 'with --engine openai: what you say of the model; part of its CID')
  .option('--api-key-file <file>', 'with --engine openai: the file that holds the server’s key')
  .option('--name <name>', 'with --engine openai: what jobs call the model (default: its own name)')
  .action((options: UpCommandOptions) =>
    runCommand(options, async (context) => (await import('./commands/up.ts')).upCommand(options, context)),
  )

addReadingOptions(
  command(program, 'submit <file>', 'run a job file on the swarm: OpenAI batch JSONL, text, or records'),
)
  .requiredOption('--context <name|cid>', 'the context to run it on')
  .requiredOption('-o, --output <file>', 'where the results go; - is standard output')
  .option('--force', 'replace an existing file that this job did not write')
  .option(
    '--bootstrap <multiaddr>',
    'a peer of the swarm; may be repeated (default: the peer of this machine)',
    gather,
    [],
  )
  .option('--swarm <id>', 'the swarm (default: the bootstrap peer’s)')
  .option('--wait <seconds>', 'give up when nothing could run for this long', '60')
  .option('--lease-size <n>', 'for evaluation: give out so many requests at a time (default: by credit)')
  .option('--detach', 'let the running peer of this machine carry the job on')
  .action((file: string, options: SubmitCommandOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/submit.ts')).submitCommand(file, options, context),
    ),
  )

command(program, 'status', 'what the peer of this machine has and does, and why when it does nothing').action(
  (options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/status.ts')).statusCommand(context)),
)

command(program, 'peers', 'the other peers of the swarm').action((options: CommonOptions) =>
  runCommand(options, async (context) => (await import('./commands/status.ts')).peersCommand(context)),
)

command(program, 'pause', 'take no work, and stop what runs').action((options: CommonOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/status.ts')).servingCommand(false, context),
  ),
)

command(program, 'resume', 'take work again').action((options: CommonOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/status.ts')).servingCommand(true, context),
  ),
)

command(program, 'drain', 'have the peer of this machine leave in peace, and follow it')
  .option('--deadline <seconds>', 'when it is to be done at the latest', '60')
  .action((options: CommonOptions & { deadline: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/drain.ts')).drainCommand(options, context),
    ),
  )

const contexts = program.command('context').description('models on this machine')

command(contexts, 'add <source>', 'import a model: a folder, or hf:OWNER/NAME[@REVISION]; prints its CID')
  .option('--name <name>', 'what to call it')
  .option('--dtype <dtype>', 'which of several models in it: fp32, fp16, q8, q4 … (default: fp32)')
  .option('--alone', 'download it whatever other peers of the swarm have, or are downloading')
  .action((source: string, options: ContextAddOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context.ts')).contextAddCommand(source, options, context),
    ),
  )

command(contexts, 'ls', 'list the contexts of this machine').action((options: CommonOptions) =>
  runCommand(options, async (context) => (await import('./commands/context.ts')).contextListCommand(context)),
)

command(contexts, 'get <name|cid>', 'fetch one from the swarm now').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-get.ts')).contextGetCommand(name, context),
    ),
)

command(contexts, 'show <name|cid>', 'its files, where it came from, and why').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextShowCommand(name, context),
    ),
)

command(contexts, 'pin <name|cid>', 'never drop it to make room').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextPinCommand(name, true, context),
    ),
)

command(contexts, 'unpin <name|cid>', 'it may be dropped to make room').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextPinCommand(name, false, context),
    ),
)

command(contexts, 'rm <name|cid>', 'remove it, unless it is in use or may be the last copy')
  .option('--force', 'remove it all the same')
  .action((name: string, options: CommonOptions & { force?: boolean }) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextRemoveCommand(
        name,
        options.force === true,
        context,
      ),
    ),
  )

command(
  contexts,
  'scrub [name|cid]',
  'read it again now, or all of them; what is damaged is fetched again',
).action((name: string | undefined, options: CommonOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/context-get.ts')).contextScrubCommand(name, context),
  ),
)

const jobs = program.command('job').description('jobs submitted from this machine')

command(jobs, 'ls', 'list them').action((options: CommonOptions) =>
  runCommand(options, async (context) => (await import('./commands/job.ts')).jobListCommand(context)),
)

command(jobs, 'show <id>', 'how far one is, who works on it, why nothing happens, what went wrong').action(
  (id: string, options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/job.ts')).jobShowCommand(id, context)),
)

command(jobs, 'watch <id>', 'follow one that the peer carries until it ends').action(
  (id: string, options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/job.ts')).jobWatchCommand(id, context)),
)

command(jobs, 'results <id>', 'its results so far, while it runs or after')
  .option('-o, --output <file>', 'write them there instead of to stdout')
  .action((id: string, options: CommonOptions & { output?: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/job.ts')).jobResultsCommand(id, options, context),
    ),
  )

command(jobs, 'cancel <id>', 'end one for good; what is not answered becomes an error line').action(
  (id: string, options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/job.ts')).jobCancelCommand(id, context)),
)

command(jobs, 'retry <id>', 'run its error lines again, and only those')
  .option(
    '--bootstrap <multiaddr>',
    'a peer of the swarm; may be repeated (default: the peer of this machine)',
    gather,
    [],
  )
  .option('--swarm <id>', 'the swarm (default: the bootstrap peer’s)')
  .option('--wait <seconds>', 'give up when nothing could run for this long', '60')
  .option('--detach', 'let the running peer of this machine carry it on')
  .action((id: string, options: CommonOptions & JobRetryOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/job.ts')).jobRetryCommand(id, options, context),
    ),
  )

command(jobs, 'report <id>', 'draw its throughput and its peers over time, as an HTML page')
  .option('-o, --output <file>', 'where the page goes (default: report.html in the job’s folder)')
  .action((id: string, options: CommonOptions & { output?: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/report.ts')).jobReportCommand(id, options, context),
    ),
  )

command(program, 'demo', 'a job on four peers, one killed on the way and one joining late')
  .option('--requests <n>', 'how many claims of the shipped file to run', '3000')
  .option('--keep', 'keep the folder it worked in')
  .action((options: DemoOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/demo.ts')).demoCommand(options, context),
    ),
  )

program
  .command('sim')
  .description('the churn simulator: run scenarios, compare, report; `hearth sim --help`')
  .argument('[parameters...]')
  .helpOption(false)
  .allowUnknownOption()
  .passThroughOptions()
  .action((parameters: string[]) =>
    runCommand({}, async () => (await import('./commands/sim.ts')).simCommand(parameters)),
  )

await program.parseAsync()
