// tokenizer.json read and run as Rust's `tokenizers` does; goldens of that hold the two together.
import { AddedTokenFinder, readAddedToken, type AddedToken } from './added-tokens.ts'
import { bytePair } from './bpe.ts'
import { fallbackByte, textToBytes } from './byte-level.ts'
import { makeDecoder, type Decode } from './decoders.ts'
import { makeNormalizer, type Normalize } from './normalizers.ts'
import { partOf, partsOf, type Part } from './parts.ts'
import { makePostProcessor, type Surround } from './post-processors.ts'
import { makePreTokenizer, type PreTokenize } from './pre-tokenizers.ts'
import { unigram } from './unigram.ts'
import { wordLevel, wordPiece, type Model } from './vocabulary.ts'

export class Tokenizer {
  readonly modelType: 'BPE' | 'WordPiece' | 'WordLevel' | 'Unigram'
  readonly #normalize: Normalize
  readonly #preTokenize: PreTokenize
  readonly #model: Model
  readonly #surround: Surround
  readonly #decode: Decode | undefined
  readonly #decoderTypes: ReadonlySet<string>
  readonly #added = new Map<string, AddedToken>()
  readonly #tokens = new Map<number, string>()
  readonly #raw: AddedTokenFinder
  readonly #normalized: AddedTokenFinder
  readonly #anchor: number | undefined

  /**
   * Throws an `Error` that names the part that cannot be used. Truncation and padding sections are for batches
   * of training and count as absent, as in transformers.
   * @param specialTokens declared beside tokenizer.json: special even where that does not say so
   */
  constructor(json: object, specialTokens: readonly string[] = []) {
    const file = json as Part
    const part = (name: string): Part | null =>
      file[name] === null || file[name] === undefined ? null : partOf(file[name], name)
    this.#normalize = makeNormalizer(part('normalizer'))
    this.#preTokenize = makePreTokenizer(part('pre_tokenizer'))
    const model = partOf(file['model'], 'the model')
    this.modelType = modelType(model)
    this.#model = MODELS[this.modelType](model)
    this.#surround = makePostProcessor(part('post_processor'))
    const decoder = part('decoder')
    this.#decode = decoder === null ? undefined : makeDecoder(decoder)
    this.#decoderTypes = new Set(decoder === null ? [] : typesOf(decoder))
    for (const [token, id] of this.#model.vocabulary) this.#tokens.set(id, token)
    for (const added of partsOf(file['added_tokens'] ?? [], 'added_tokens')) this.#add(readAddedToken(added))
    for (const content of specialTokens) this.#addSpecial(content)
    const all = [...this.#added.values()]
    this.#raw = new AddedTokenFinder(
      all.filter(({ isNormalized }) => !isNormalized).map((token) => [token.content, token]),
    )
    this.#normalized = new AddedTokenFinder(
      all.filter(({ isNormalized }) => isNormalized).map((token) => [this.#normalize(token.content), token]),
    )
    this.#anchor = this.#findAnchor()
  }

  /** Throws `TokenizeError` for what the vocabulary cannot express. */
  encode(text: string, addsSpecialTokens: boolean): number[] {
    const ids: number[] = []
    for (const section of this.#raw.split({ text, isFirst: true })) {
      if ('token' in section) ids.push(section.token.id)
      else this.#encodeSection({ text: this.#normalize(section.text), isFirst: section.isFirst }, ids)
    }
    return addsSpecialTokens ? this.#surround(ids) : ids
  }

  #encodeSection(section: { text: string; isFirst: boolean }, ids: number[]): void {
    for (const inner of this.#normalized.split(section)) {
      if ('token' in inner) ids.push(inner.token.id)
      else
        for (const piece of this.#preTokenize([inner]))
          for (const id of this.#model.encode(piece.text)) ids.push(id)
    }
  }

  /** Ids outside the table are left out. */
  decode(ids: readonly number[], options: { skipsSpecialTokens: boolean }): string {
    const tokens: string[] = []
    for (const id of ids) {
      const token = this.#tokens.get(id)
      if (token === undefined) continue
      if (!options.skipsSpecialTokens || !this.isSpecial(id)) tokens.push(token)
    }
    return this.#decode === undefined ? tokens.join(' ') : this.#decode(tokens).join('')
  }

  /** The id of a token; undefined when it has none. */
  idOf(token: string): number | undefined {
    return this.#added.get(token)?.id ?? this.#model.vocabulary.get(token)
  }

  isSpecial(id: number): boolean {
    const token = this.#tokens.get(id)
    return token !== undefined && this.#added.get(token)?.isSpecial === true
  }

  /** A token's addition to the text before it, with its leading space: as text, and as bytes that may be part of a character. */
  pieceOf(id: number): { text: string; bytes: Uint8Array } {
    const token = this.#tokens.get(id)
    if (token === undefined) return { text: '', bytes: new Uint8Array() }
    const isAdded = this.#added.has(token)
    const byte = this.#decoderTypes.has('ByteFallback') && !isAdded ? fallbackByte(token) : undefined
    const level = this.#decoderTypes.has('ByteLevel') && !isAdded ? textToBytes(token) : undefined
    const bytes = byte === undefined ? level : Uint8Array.of(byte)
    if (bytes !== undefined) return { text: Buffer.from(bytes).toString('utf8'), bytes }
    const text = this.#textAfterAnchor(id)
    return { text, bytes: Buffer.from(text) }
  }

  #textAfterAnchor(id: number): string {
    const keep = { skipsSpecialTokens: false }
    if (this.#anchor === undefined) return this.decode([id], keep)
    const before = this.decode([this.#anchor], keep)
    const both = this.decode([this.#anchor, id], keep)
    return both.startsWith(before) ? both.slice(before.length) : this.decode([id], keep)
  }

  /** A plain word, which decoders leave as it is whatever follows. */
  #findAnchor(): number | undefined {
    for (const [token, id] of this.#model.vocabulary) {
      if (this.#added.has(token)) continue
      if (/^[A-Za-z]+$/.test(this.decode([id], { skipsSpecialTokens: false }))) return id
    }
    return undefined
  }

  /** The file's own ids do not count in Rust: a token has the model's id, or the next after all others. */
  #add(token: Omit<AddedToken, 'id'>): void {
    const id =
      this.#model.vocabulary.get(token.content) ?? this.#added.get(token.content)?.id ?? this.#nextId()
    this.#added.set(token.content, { ...token, id })
    this.#tokens.set(id, token.content)
  }

  #addSpecial(content: string): void {
    const known = this.#added.get(content)
    if (content === '' || known?.isSpecial === true) return
    const plain = { isNormalized: false, isSingleWord: false, stripsLeft: false, stripsRight: false }
    this.#add({ ...plain, ...known, content, isSpecial: true })
  }

  #nextId(): number {
    let next = this.#model.vocabulary.size
    for (const { id } of this.#added.values()) next = Math.max(next, id + 1)
    return next
  }
}

const MODELS: Readonly<Record<Tokenizer['modelType'], (part: Part) => Model>> = {
  BPE: bytePair,
  WordPiece: wordPiece,
  WordLevel: wordLevel,
  Unigram: unigram,
}

/** Files of old have no type; what they hold tells. */
function modelType(model: Part): Tokenizer['modelType'] {
  const { type } = model
  if (type === undefined || type === null) {
    if (Array.isArray(model['merges'])) return 'BPE'
    if (Array.isArray(model['vocab'])) return 'Unigram'
    return model['continuing_subword_prefix'] === undefined ? 'WordLevel' : 'WordPiece'
  }
  if (type === 'BPE' || type === 'WordPiece' || type === 'WordLevel' || type === 'Unigram') return type
  throw new Error(`the tokenizer model ${JSON.stringify(type)} is not supported`)
}

function typesOf(decoder: Part): string[] {
  const inner =
    decoder['type'] === 'Sequence' ? partsOf(decoder['decoders'], 'decoders').flatMap(typesOf) : []
  return [String(decoder['type']), ...inner]
}
