// Simulated machines: network namespaces joined by a switch, each with an uplink whose rate can be limited.
// The limit applies to every program alike. Needs root and Linux.
import { execFileSync } from 'node:child_process'

const SUBNET = '10.77.0'
/** Frames large enough for their headers not to count, as 0.7 %. */
const MTU = 9_000
/** The queue of an uplink: 100 ms at 5 MiB/s. */
const QUEUE_BYTES = 512 * 1024
const BURST_BYTES = 64 * 1024

export class Namespaces {
  readonly #names: string[]
  readonly #switch: string

  private constructor(count: number) {
    const prefix = `hearth-${process.pid}`
    this.#switch = `${prefix}-switch`
    this.#names = Array.from({ length: count }, (_value, index) => `${prefix}-${index}`)
  }

  /** Undefined where they are not permitted. */
  static create(count: number): Namespaces | undefined {
    const namespaces = new Namespaces(count)
    try {
      namespaces.#make()
      return namespaces
    } catch {
      namespaces.remove()
      return undefined
    }
  }

  /** The prefix that runs a command in the namespace; without an index, at the switch. */
  within(index?: number): string[] {
    return ['ip', 'netns', 'exec', index === undefined ? this.#switch : (this.#names[index] ?? '')]
  }

  hostOf(index?: number): string {
    return `${SUBNET}.${index === undefined ? 254 : index + 1}`
  }

  /** Caps what leaves the namespace. */
  cap(index: number, bytesPerSecond: number): void {
    const shape = `rate ${Math.round(bytesPerSecond * 8)}bit burst ${BURST_BYTES} limit ${QUEUE_BYTES}`
    run(`tc -n ${this.#names[index]} qdisc replace dev uplink root tbf ${shape}`)
  }

  uncap(index: number): void {
    run(`tc -n ${this.#names[index]} qdisc del dev uplink root`)
  }

  remove(): void {
    for (const name of [...this.#names, this.#switch]) {
      try {
        run(`ip netns del ${name}`)
      } catch {
        // It was never made.
      }
    }
  }

  #make(): void {
    run(`ip netns add ${this.#switch}`)
    run(`ip -n ${this.#switch} link add bridge type bridge`)
    run(`ip -n ${this.#switch} addr add ${this.hostOf()}/24 dev bridge`)
    run(`ip -n ${this.#switch} link set bridge mtu ${MTU} up`)
    run(`ip -n ${this.#switch} link set lo up`)
    for (const [index, name] of this.#names.entries()) {
      run(`ip netns add ${name}`)
      run(
        `ip link add uplink mtu ${MTU} netns ${name} type veth peer name port${index} netns ${this.#switch}`,
      )
      run(`ip -n ${name} addr add ${this.hostOf(index)}/24 dev uplink`)
      run(`ip -n ${name} link set uplink up`)
      run(`ip -n ${name} link set lo up`)
      run(`ip -n ${this.#switch} link set port${index} mtu ${MTU} master bridge up`)
    }
  }
}

function run(command: string): void {
  const [program = '', ...args] = command.split(' ')
  execFileSync(program, args, { stdio: 'ignore' })
}
