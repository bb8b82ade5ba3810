import { setFlagsFromString } from 'node:v8'

/**
 * Has V8 keep the heap of a serving peer so that weights may go through it and tasks beside them. Any process of Hearth
 * marks its heap when it has grown by a fifth (bin/hearth.js), and what is on its way through libp2p counts as grown:
 * that would be each 8 MB of a transfer, at half of its rate. docs/decisions/0011 has the figures.
 */
export function tunePeerHeap(): void {
  setFlagsFromString('--heap-growing-percent=100')
  // Helpers wait for a core, which an engine has, and all else waits for them: 5 to 18 ms where one thread seldom takes 3.
  setFlagsFromString('--no-parallel-scavenge')
}
