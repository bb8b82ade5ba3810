import type { GpuSeconds, RunResult } from '../runs/result/run-result.ts'

/** A run in a few lines for people. */
export function runLines(result: RunResult): string[] {
  const { scenario, seed, makespanS, isComplete, work, gpuS, bytes, tasks, events, wallS } = result
  const end = isComplete ? `done after ${amount(makespanS)} s` : `not done after ${amount(makespanS)} s`
  const broken = result.checks.filter(({ holds }) => !holds)
  return [
    `${scenario}, seed ${seed}: ${end}, ${amount(work.completed)} of ${amount(work.total)} inferences`,
    `  GPU-seconds   ${gpuParts(gpuS)}`,
    `  requests      ${amount(tasks.count)}, mean ${tasks.meanS.toPrecision(3)} s, 99 % within ${tasks.p99S.toPrecision(3)} s`,
    `  bytes         ${gigabytes(bytes.fromOrigin)} from the origin, ${gigabytes(bytes.fromPeers)} from peers`,
    `  simulated     ${amount(events)} events in ${wallS.toFixed(1)} s, hash ${result.eventHash}`,
    ...(broken.length === 0
      ? [`  checks        all ${result.checks.length} hold`]
      : broken.map(({ check, detail }) => `  NOT SO        ${check}: ${detail}`)),
  ]
}

function gpuParts({ up, ...parts }: GpuSeconds): string {
  const shares = Object.entries(parts).map(([name, seconds]) => {
    return `${name} ${up === 0 ? 0 : Math.round((100 * seconds) / up)} %`
  })
  return `${amount(up)}: ${shares.join(', ')}`
}

function amount(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toLocaleString('en', { maximumFractionDigits: 1 })} GB`
}
