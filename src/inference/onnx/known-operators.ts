// Operators of com.microsoft that models of text use (onnxruntime/docs/ContribOperators.md, 1.30). Those left
// out on purpose: EPContext, which opens files by name, and all with graphs inside (BeamSearch, …).

const ATTENTION = [
  'Attention',
  'DecoderMaskedMultiHeadAttention',
  'DecoderMaskedSelfAttention',
  'GatedRelativePositionBias',
  'GroupQueryAttention',
  'LongformerAttention',
  'MultiHeadAttention',
  'PackedAttention',
  'PackedMultiHeadAttention',
  'PagedAttention',
  'QAttention',
  'QMultiHeadAttention',
  'QOrderedAttention',
  'RelativePositionBias',
  'RemovePadding',
  'RestorePadding',
  'RotaryEmbedding',
  'SparseAttention',
]

const NORMALISATION = [
  'EmbedLayerNormalization',
  'LayerNormalization',
  'QEmbedLayerNormalization',
  'SimplifiedLayerNormalization',
  'SkipLayerNormalization',
  'SkipSimplifiedLayerNormalization',
]

const PRODUCTS = [
  'DynamicQuantizeMatMul',
  'FusedGemm',
  'FusedMatMul',
  'FusedMatMulActivation',
  'GatherBlockQuantized',
  'GemmFastGelu',
  'GemmFloat8',
  'MatMulBnb4',
  'MatMulFpQ4',
  'MatMulInteger16',
  'MatMulIntegerToFloat',
  'MatMulNBits',
  'MatMulNBitsMlp',
  'MatMulNBitsQkv',
  'MoE',
  'QGemm',
  'QMoE',
  'TransposeMatMul',
]

const ELEMENTWISE = [
  'BiasAdd',
  'BiasGelu',
  'BiasSoftmax',
  'BiasSplitGelu',
  'DequantizeLinear',
  'FastGelu',
  'Gelu',
  'QLinearAdd',
  'QLinearConcat',
  'QLinearLeakyRelu',
  'QLinearMul',
  'QLinearReduceMean',
  'QLinearSigmoid',
  'QLinearSoftmax',
  'QLinearWhere',
  'QuantizeLinear',
  'QuickGelu',
  'Trilu',
]

export const MICROSOFT_OPERATORS: ReadonlySet<string> = new Set([
  ...ATTENTION,
  ...NORMALISATION,
  ...PRODUCTS,
  ...ELEMENTWISE,
])

/** ONNX's operators that run graphs inside them. */
export const CONTROL_FLOW: ReadonlySet<string> = new Set(['If', 'Loop', 'Scan', 'SequenceMap'])

/** ONNX's operators with random results. */
export const RANDOM_OPERATORS: ReadonlySet<string> = new Set([
  'Bernoulli',
  'Multinomial',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
])
