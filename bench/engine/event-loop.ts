// Whether the peer's process stays free while its engine host runs flat out.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { silentLogger } from '../../src/base/log/logger.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { EngineHost } from '../../src/inference/host/engine-host.ts'
import type { Row } from './rows.ts'

const FACTS = new URL('../../models/facts', import.meta.url).pathname
const SEQUENCES = 128

/** The histogram measures from one sample to the next: this interval is no delay, ms. */
const RESOLUTION_MS = 1

/**
 * With the embedded model, because the smaller a model is, the more requests and results go through the
 * peer in a second.
 */
export const EVENT_LOOP: Row = {
  wanted: [
    {
      name: "99th percentile of the peer's event-loop delay, 128 sequences in its engine host",
      unit: 'ms',
      better: 'lower',
      bound: 10,
      toward: 5,
    },
  ],
  async open({ options }) {
    const host = new EngineHost(
      { clock: systemClock, log: silentLogger },
      { folder: FACTS, slots: SEQUENCES },
    )
    await host.start()
    const durationMs = options.quick ? 1_000 : 8_000
    return {
      async measure() {
        const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
        const endMs = performance.now() + durationMs
        histogram.enable()
        await Promise.all(Array.from({ length: SEQUENCES }, (_, sequence) => ask(host, sequence, endMs)))
        histogram.disable()
        return [histogram.percentile(99) / 1e6 - RESOLUTION_MS]
      },
      close: () => host.stop(),
    }
  },
}

/** One request after another. */
async function ask(host: EngineHost, sequence: number, endMs: number): Promise<void> {
  for (let turn = 0; performance.now() < endMs; turn += 1) {
    const body = {
      prompt: `${sequence} + ${turn} = ${sequence * turn}. `.repeat(4),
      max_tokens: 16 + (sequence % 32),
      ignore_eos: true,
    }
    const result = await host.run({ url: '/v1/completions', body })
    if (!result.ok) throw new Error(result.error.message)
  }
}
