import type { ContextFiles } from './model-folder.ts'

/** For a model whose files tell no length. */
const CONTEXT_LENGTH_DEFAULT = 2_048

/** RoBERTa's models number positions from behind the padding token's id: so many places fewer. */
const OFFSET_MODEL_TYPES = /roberta|camembert|longformer|mpnet/
const PADDING_ID_DEFAULT = 1

/** From here on, a length says that there is none: transformers writes 10^30, others infinity. */
const UNBOUNDED_LENGTH = 2 ** 40

/** The smallest length in the files: one token beyond a position table makes the engine's step fail. */
export function contextLengthOf(
  { config, tokenizerConfig }: Pick<ContextFiles, 'config' | 'tokenizerConfig'>,
  bound: number | undefined,
): number {
  const { model_type: type = '', pad_token_id: padding } = config
  const hasOffset = OFFSET_MODEL_TYPES.test(type)
  const offset = hasOffset ? (padding ?? PADDING_ID_DEFAULT) + 1 : 0
  const table = config.max_position_embeddings
  const told = [
    typeof table === 'number' ? Math.max(1, table - offset) : undefined,
    config.n_positions,
    config.n_ctx,
    config.seq_length,
    config.max_seq_len,
    tokenizerConfig.model_max_length,
  ].filter((length) => typeof length === 'number' && length >= 1 && length < UNBOUNDED_LENGTH)
  const lengths = told.length === 0 ? [CONTEXT_LENGTH_DEFAULT] : told
  return Math.floor(Math.min(...(lengths as number[]), bound ?? Infinity))
}
