import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { runCommand, type CommonOptions } from './terminal/command-context.ts'
import type { ContextAddOptions } from './commands/context.ts'
import type { DemoOptions } from './commands/demo.ts'
import type { JobRetryOptions } from './commands/job-control.ts'
import type { PlaceOptions } from './commands/job-place.ts'
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

/** Adds a subcommand with the common options. Commands are imported when they run, so that --help stays quick. */
function command(parent: Command, usage: string, description: string): Command {
  const command = parent.command(usage)
  const path = parent.parent === null ? command.name() : `${parent.name()} ${command.name()}`
  return command
    .description(description)
    .showHelpAfterError(`Run "hearth ${path} --help" for usage`)
    .option('--data <dir>', "the peer's data folder (default: $HEARTH_DATA, or hearth in $XDG_DATA_HOME)")
    .option('--json', 'print NDJSON events for programs')
    .option('-v, --verbose', 'log details to stderr')
}

const program = new Command('hearth')
  .description('Runs large batches of LLM prompts on spare GPUs, peer to peer.')
  .version(version)
  .enablePositionalOptions()
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError('Run "hearth --help" for usage')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage))

command(program, 'up', 'run a peer on this machine')
  .option(
    '--listen <multiaddr>',
    'the address to listen on; may be repeated (default: this machine only)',
    gather,
    [],
  )
  .option(
    '--announce <multiaddr>',
    'the address to tell other peers, for example of a router that forwards a port; may be repeated',
    gather,
    [],
  )
  .option('--lan', 'listen on all local networks and discover peers there')
  .option('--no-direct-lane', 'transfer weights over libp2p only; open no second port')
  .option('--bootstrap <multiaddr>', 'a peer of the swarm to join; may be repeated', gather, [])
  .option('--swarm <id>', 'the swarm to join (default: the bootstrap peer’s, or a new one)')
  .option(
    '--store-quota <bytes>',
    'disk space for contexts, such as 50GB; remembered (default: 40 % of the disk)',
  )
  .option(
    '--keep-free <bytes|%>',
    'disk space always kept free, such as 10GB or 5%; remembered (default: 2 %)',
  )
  .option('--keep-jobs <days>', 'how long finished jobs are kept, or "forever"; remembered (default: 30)')
  .option(
    '--upload-rate <bytes>',
    'upload limit per second, such as 5MB, or "unlimited" (default: 70 % of the measured uplink)',
  )
  .option('--upload-month <bytes>', 'upload limit per calendar month, such as 1TB (default: no limit)')
  .addOption(
    new Option('--engine <name>', 'the engine to run contexts with').choices(ENGINE_NAMES).default('auto'),
  )
  .option('--slots <n>', 'batch size: how many requests of a context run at the same time')
  .option('--threads <n>', 'CPU threads per loaded context')
  .option(
    '--quick-start',
    'start answering before the weights of a context are prepared: see docs/inference.md',
  )
  .addOption(
    new Option('--device <name>', 'the device that models run on; auto takes the best one that works here')
      .choices(DEVICE_WISHES)
      .default('auto'),
  )
  .addOption(
    new Option(
      '--evaluate <mode>',
      'for evaluation: how much of a context stays loaded after a lease; see docs/evaluation.md',
    ).choices(EVALUATION_MODES),
  )
  .addOption(new Option('--fake-timing <load/prefill/token>', 'timing of the engine "fake", ms').hideHelp())
  .option('--no-replicate', 'make no spare copies of contexts for other peers')
  .option('--repair-after <seconds>', 'how long a peer may be offline before its copies are replaced', '300')
  .option('--drain-deadline <seconds>', 'how long a clean shutdown may take after SIGTERM or Ctrl-C', '30')
  .option(
    '--shutdown-notice <command>',
    'a command to run every 5 s; exit status 0 means that this machine is about to be reclaimed',
  )
  .option('--churn-log <file>', 'record when other peers join and leave, for "hearth sim fit"')
  .option('--url <url>', 'with --engine openai: the base URL of the server, such as http://127.0.0.1:8000/v1')
  .option('--model <name>', 'with --engine openai: the name of the model on the server')
  .option(
    '--declare <text>',
    'with --engine openai: a description of the model, such as its revision; part of its CID',
  )
  .option('--api-key-file <file>', 'with --engine openai: the file with the API key of the server')
  .option('--name <name>', 'with --engine openai: the context name that jobs use (default: the model name)')
  .action((options: UpCommandOptions) =>
    runCommand(options, async (context) => (await import('./commands/up.ts')).upCommand(options, context)),
  )

addReadingOptions(
  command(program, 'submit <file>', 'run a job file on the swarm: OpenAI batch JSONL, text, or records'),
)
  .requiredOption('--context <name|cid>', 'the model to run, by name or CID')
  .requiredOption('-o, --output <file>', 'the results file, or - for standard output')
  .option('--force', 'replace an existing output file that this job did not write')
  .option(
    '--bootstrap <multiaddr>',
    'a peer of the swarm; may be repeated (default: this machine’s peer, or those remembered)',
    gather,
    [],
  )
  .option('--swarm <id>', 'the swarm (default: the bootstrap peer’s)')
  .option('--wait <seconds>', 'stop when no result and no progress with loading came for this long', '60')
  .option('--lease-size <n>', 'for evaluation: requests per lease (default: as many as peers ask for)')
  .option('--detach', 'hand the job to the peer that runs on this machine, and exit')
  .action((file: string, options: SubmitCommandOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/submit.ts')).submitCommand(file, options, context),
    ),
  )

command(program, 'status', 'show what the peer of this machine stores and runs, and why it is idle').action(
  (options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/status.ts')).statusCommand(context)),
)

command(program, 'peers', 'list the other peers of the swarm').action((options: CommonOptions) =>
  runCommand(options, async (context) => (await import('./commands/status.ts')).peersCommand(context)),
)

command(program, 'pause', 'take no work, and return the requests that run').action((options: CommonOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/status.ts')).servingCommand(false, context),
  ),
)

command(program, 'resume', 'take work again').action((options: CommonOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/status.ts')).servingCommand(true, context),
  ),
)

command(program, 'drain', 'shut down the peer of this machine cleanly, and wait until it has stopped')
  .option('--deadline <seconds>', 'the longest time that the shutdown may take', '60')
  .action((options: CommonOptions & { deadline: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/drain.ts')).drainCommand(options, context),
    ),
  )

const contexts = program.command('context').description('manage the models on this machine')

command(contexts, 'add <source>', 'import a model: a folder, or hf:OWNER/NAME[@REVISION]; prints its CID')
  .option('--name <name>', 'the name that jobs use for it')
  .option(
    '--dtype <dtype>',
    'the precision, where the source has several: fp32, fp16, q8, q4 … (default: fp32)',
  )
  .option(
    '--alone',
    'download from the hub, even when peers of the swarm have the model or are downloading it',
  )
  .action((source: string, options: ContextAddOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context.ts')).contextAddCommand(source, options, context),
    ),
  )

command(contexts, 'ls', 'list the contexts of this machine').action((options: CommonOptions) =>
  runCommand(options, async (context) => (await import('./commands/context.ts')).contextListCommand(context)),
)

command(contexts, 'get <name|cid>', 'download a context from the swarm now').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-get.ts')).contextGetCommand(name, context),
    ),
)

command(contexts, 'show <name|cid>', 'show the files of a context, where they came from, and why').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextShowCommand(name, context),
    ),
)

command(contexts, 'pin <name|cid>', 'never delete a context to make room').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextPinCommand(name, true, context),
    ),
)

command(contexts, 'unpin <name|cid>', 'allow a context to be deleted to make room').action(
  (name: string, options: CommonOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/context-upkeep.ts')).contextPinCommand(name, false, context),
    ),
)

command(contexts, 'rm <name|cid>', 'delete a context, unless it is in use or may be the last copy')
  .option('--force', 'delete it even when it may be the last copy')
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
  'verify one context or all of them, and download corrupted chunks again',
).action((name: string | undefined, options: CommonOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/context-get.ts')).contextScrubCommand(name, context),
  ),
)

const jobs = program
  .command('job')
  .description('manage the jobs submitted from this machine, and from the others of your owner key')

/** Options of commands that find a job at any machine of its owner. */
function addPlaceOptions(command: Command): Command {
  return command
    .option('--peer <id>', 'the peer that has the job: its id, or the end of it')
    .option(
      '--bootstrap <multiaddr>',
      'a peer of the swarm; may be repeated (default: the peer of this machine)',
      gather,
      [],
    )
    .option('--swarm <id>', 'the swarm (default: the bootstrap peer’s)')
}

addPlaceOptions(command(jobs, 'ls', 'list all jobs')).action((options: CommonOptions & PlaceOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/job.ts')).jobListCommand(context, options),
  ),
)

addPlaceOptions(
  command(jobs, 'show <id>', 'show the progress of a job, its peers, its errors, and what it waits for'),
).action((id: string, options: CommonOptions & PlaceOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/job.ts')).jobShowCommand(id, context, options),
  ),
)

addPlaceOptions(command(jobs, 'watch <id>', 'follow a running job until it ends')).action(
  (id: string, options: CommonOptions & PlaceOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/job.ts')).jobWatchCommand(id, context, options),
    ),
)

addPlaceOptions(command(jobs, 'results <id>', 'print the results of a job so far, also while it runs'))
  .option('-o, --output <file>', 'write to this file instead of stdout')
  .action((id: string, options: CommonOptions & PlaceOptions & { output?: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/job-control.ts')).jobResultsCommand(id, options, context),
    ),
  )

addPlaceOptions(
  command(jobs, 'cancel <id>', 'end a job for good; each unanswered request becomes an error line'),
).action((id: string, options: CommonOptions & PlaceOptions) =>
  runCommand(options, async (context) =>
    (await import('./commands/job-control.ts')).jobCancelCommand(id, context, options),
  ),
)

addPlaceOptions(command(jobs, 'rm <id>', 'remove a finished job; its output file stays'))
  .option('--force', 'remove it even when lines of it have no answer')
  .action((id: string, options: CommonOptions & PlaceOptions & { force?: boolean }) =>
    runCommand(options, async (context) =>
      (await import('./commands/job-control.ts')).jobRemoveCommand(id, context, options),
    ),
  )

command(jobs, 'move <id>', 'let another of your machines go on with a job of this one')
  .requiredOption('--to <peer>', 'the peer of that machine: its id, or the end of it')
  .action((id: string, options: CommonOptions & { to: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/job-control.ts')).jobMoveCommand(id, options, context),
    ),
  )

command(jobs, 'retry <id>', 'run the failed requests of a job again')
  .option(
    '--bootstrap <multiaddr>',
    'a peer of the swarm; may be repeated (default: the peer of this machine)',
    gather,
    [],
  )
  .option('--swarm <id>', 'the swarm (default: the bootstrap peer’s)')
  .option('--wait <seconds>', 'stop when no result and no progress with loading came for this long', '60')
  .option('--detach', 'hand the job to the peer that runs on this machine, and exit')
  .action((id: string, options: CommonOptions & JobRetryOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/job-control.ts')).jobRetryCommand(id, options, context),
    ),
  )

command(jobs, 'report <id>', 'write an HTML page with the throughput and the peers of a job over time')
  .option('-o, --output <file>', 'the page to write (default: report.html in the folder of the job)')
  .action((id: string, options: CommonOptions & { output?: string }) =>
    runCommand(options, async (context) =>
      (await import('./commands/report.ts')).jobReportCommand(id, options, context),
    ),
  )

const owner = program.command('owner').description('manage the key that your machines share')

command(owner, 'show', 'print the name of the owner key, which is the same on all your machines').action(
  (options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/owner.ts')).ownerShowCommand(context)),
)

command(owner, 'export', 'print the secret owner key, for "owner import" on another machine').action(
  (options: CommonOptions) =>
    runCommand(options, async (context) => (await import('./commands/owner.ts')).ownerExportCommand(context)),
)

command(owner, 'import [file]', 'take over the owner key of another machine (default: standard input)')
  .option('--force', 'replace another owner key')
  .action((file: string | undefined, options: CommonOptions & { force?: boolean }) =>
    runCommand(options, async (context) =>
      (await import('./commands/owner.ts')).ownerImportCommand(file, options, context),
    ),
  )

command(
  program,
  'demo',
  'run a job on four local peers, in a new folder; kill one on the way and add one late',
)
  .option('--requests <n>', 'how many of the included 3,000 claims to run', '3000')
  .option('--keep', 'keep the folder of the demo')
  .action((options: DemoOptions) =>
    runCommand(options, async (context) =>
      (await import('./commands/demo.ts')).demoCommand(options, context),
    ),
  )

program
  .command('sim')
  .description('simulate swarms under churn; see "hearth sim --help"')
  .argument('[parameters...]')
  .helpOption(false)
  .allowUnknownOption()
  .passThroughOptions()
  .action((parameters: string[]) =>
    runCommand({}, async ({ signal }) => (await import('./commands/sim.ts')).simCommand(parameters, signal)),
  )

await program.parseAsync()
