import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairFlows, type Flow } from '../../sim/network/fair-flows.ts'
import { Kernel } from '../../sim/kernel/kernel.ts'

const INF = Number.POSITIVE_INFINITY

/** Flows that never end, at the rates that the network gives them. */
function rates(nodes: [up: number, down: number][], pairs: [from: number, to: number][]): number[] {
  const network = new FairFlows(new Kernel())
  for (const [up, down] of nodes) network.addNode(up, down)
  const flows = pairs.map(([from, to]) => network.open(from, to))
  for (const flow of flows) network.send(flow, 1e15, () => {})
  network.flush()
  return flows.map((flow) => flow.rate)
}

describe('max–min fair flows, solved by hand', () => {
  test('one flow gets the lower of its two lines', () => {
    expect(
      rates(
        [
          [10, INF],
          [INF, 4],
        ],
        [[0, 1]],
      ),
    ).toEqual([4])
  })

  test('flows of one uplink share it equally', () => {
    expect(
      rates(
        [
          [12, 1],
          [1, 9],
          [1, 9],
          [1, 9],
        ],
        [
          [0, 1],
          [0, 2],
          [0, 3],
        ],
      ),
    ).toEqual([4, 4, 4])
  })

  test('other receivers get the rate that a slow one leaves', () => {
    expect(
      rates(
        [
          [12, 1],
          [1, 2],
          [1, 9],
          [1, 9],
        ],
        [
          [0, 1],
          [0, 2],
          [0, 3],
        ],
      ),
    ).toEqual([2, 5, 5])
  })

  test('a flow held back at one end leaves more for those at the other', () => {
    // Node 2's downlink (6) holds two flows to 3 each; the other flow of node 0 then has 10 − 3 = 7.
    expect(
      rates(
        [
          [10, 0],
          [10, 0],
          [0, 6],
          [0, 9],
        ],
        [
          [0, 2],
          [1, 2],
          [0, 3],
        ],
      ),
    ).toEqual([3, 3, 7])
  })

  test('a chain of bottlenecks: each is freed by the one before', () => {
    // Down 3 (2) holds A; up 0 (8) gives B 6 … but down 4 (5) shares 2.5 with C; so B 2.5, C 2.5 of up 1 (9), D 6.5.
    const nodes: [number, number][] = [
      [8, 0],
      [9, 0],
      [0, 0],
      [0, 2],
      [0, 5],
      [0, 20],
    ]
    expect(
      rates(nodes, [
        [0, 3],
        [0, 4],
        [1, 4],
        [1, 5],
      ]),
    ).toEqual([2, 2.5, 2.5, 6.5])
  })

  test('in any graph, every flow has a full line on which no flow has more', () => {
    const graph = fc.record({
      nodes: fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 })), {
        minLength: 2,
        maxLength: 8,
      }),
      pairs: fc.array(fc.tuple(fc.nat(7), fc.nat(7)), { minLength: 1, maxLength: 30 }),
    })
    fc.assert(
      fc.property(graph, ({ nodes, pairs: drawn }) => {
        const pairs = drawn.map(([from, to]): [number, number] => [from % nodes.length, to % nodes.length])
        const got = rates(nodes, pairs)
        const at = (end: 0 | 1, node: number): number[] =>
          got.filter((_, index) => pairs[index]![end] === node)
        const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0)
        for (const [index, pair] of pairs.entries()) {
          const isHeldBack = ([0, 1] as const).some((end) => {
            const flows = at(end, pair[end])
            const capacity = nodes[pair[end]]![end]
            expect(sum(flows)).toBeLessThanOrEqual(capacity * (1 + 1e-6))
            return sum(flows) > capacity * (1 - 1e-6) && Math.max(...flows) <= got[index]! * (1 + 1e-6)
          })
          expect(isHeldBack).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('bytes in time', () => {
  test('arrive when the rates over time say, and shares change when flows end', () => {
    const kernel = new Kernel()
    const network = new FairFlows(kernel)
    network.addNode(10, 10)
    network.addNode(10, 10)
    network.addNode(10, 10)
    const arrived: [string, number][] = []
    const send = (name: string, to: number, bytes: number): Flow => {
      const flow = network.open(0, to)
      network.send(flow, bytes, () => arrived.push([name, Math.round(kernel.nowS * 1e3) / 1e3]))
      return flow
    }
    send('short', 1, 10)
    const long = send('long', 2, 30)
    network.send(long, 10, () => arrived.push(['next', kernel.nowS]))
    kernel.run(1e9)
    // 5 each until 2 s; then 10 for the 20 left: 4 s; then the next 10: 5 s.
    expect(arrived).toEqual([
      ['short', 2],
      ['long', 4],
      ['next', 5],
    ])
    expect(network.takeProgress(long)).toBeCloseTo(40)
  })

  test('a flow that is closed stops, and says how far its first item was', () => {
    const kernel = new Kernel()
    const network = new FairFlows(kernel)
    network.addNode(10, 10)
    network.addNode(10, 10)
    const flow = network.open(0, 1)
    network.send(flow, 100, () => expect.unreachable())
    kernel.run(3e6)
    expect(network.close(flow)).toBeCloseTo(30)
    kernel.run(1e9)
  })

  test('a change costs as much among many flows as among few, when they are not near', () => {
    const solvedFor = (islands: number): number => {
      const kernel = new Kernel()
      const network = new FairFlows(kernel)
      for (let node = 0; node < 4 * islands; node += 1) network.addNode(10 + (node % 3), 10)
      for (let island = 0; island < islands; island += 1) {
        for (const to of [1, 2, 3]) network.send(network.open(4 * island, 4 * island + to), 1e12, () => {})
      }
      network.flush()
      const before = network.solved
      network.send(network.open(1, 2), 1e12, () => {})
      network.flush()
      return network.solved - before
    }
    expect(solvedFor(1000)).toBe(solvedFor(2))
  })
})
