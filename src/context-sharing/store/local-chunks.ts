import type { HeldContext } from './held-context.ts'

/**
 * Copies the chunks that `context` misses and other contexts hold, instead of fetching them: the tensors
 * of a file that differs from another in its header only, say. Each is checked like one from a peer.
 * Returns the bytes copied.
 */
export async function copyLocalChunks(
  context: HeldContext,
  others: readonly HeldContext[],
  signal?: AbortSignal,
): Promise<number> {
  const wanted = Map.groupBy(context.missing(), (chunk) => hashOf(context, chunk))
  let bytesCopied = 0
  for (const other of others) {
    for (const chunk of other.held) {
      if (wanted.size === 0) return bytesCopied
      const hash = hashOf(other, chunk)
      const targets = wanted.get(hash)
      if (targets === undefined) continue
      signal?.throwIfAborted()
      const bytes = await other.readChecked(chunk)
      if (bytes === undefined) continue
      for (const target of targets) await context.write(target, bytes)
      wanted.delete(hash)
      bytesCopied += bytes.byteLength * targets.length
    }
  }
  return bytesCopied
}

function hashOf({ map }: HeldContext, chunk: number): string {
  return Buffer.from(map.chunk(chunk).sha256).toString('latin1')
}
