// A process with a loaded engine host, to be killed by a test. Prints the child's process id once it is ready.
import { silentLogger } from '../src/base/log/logger.ts'
import { systemClock } from '../src/base/system-clock.ts'
import { EngineHost } from '../src/inference/host/engine-host.ts'

const host = new EngineHost(
  { clock: systemClock, log: silentLogger },
  { folder: '/nowhere', engine: 'fake', fake: { prefillMs: 60_000 } },
)
await host.start()
const [prompt = 'slow'] = process.argv.slice(2)
const run = host.run({ url: '/v1/completions', body: { prompt } })
// By then the child has begun.
setTimeout(() => console.log(host.pid), 200)
await run
