/**
 * All bounds on outside input, with the relations between them asserted below.
 * test/base/limits.test.ts lists the test that reaches each bound.
 */

const KIB = 1024
const MIB = 1024 * KIB

/** One message of a control or task protocol, bytes. A longer announced length ends the stream. */
export const FRAME_BYTES_MAX: number = MIB
/** One write of bulk bytes, bytes: above 64–256 KiB nothing is gained. */
export const BULK_SLICE_BYTES: number = 256 * KIB
/**
 * Bytes read from the sockets of one kind in one turn of the event loop. A task's message waits while they
 * are read. docs/decisions/0011 has the measurements.
 */
export const LIBP2P_TURN_BYTES: number = 128 * KIB
export const DIRECT_TURN_BYTES: number = 256 * KIB
/** Bytes a stream may hold that its reader has not taken; then the sender is held back. */
export const STREAM_UNREAD_BYTES_HIGH: number = 2 * MIB
/** The same for a stream that lends its bytes, each of which would have to be copied: the kernel keeps the rest. */
export const LENT_UNREAD_BYTES_HIGH: number = 64 * KIB
/** yamux receive window, bytes; must stay below the read buffer, or pausing kills the stream. */
export const STREAM_WINDOW_BYTES_INITIAL: number = MIB
export const STREAM_WINDOW_BYTES_MAX: number = 4 * MIB
/** yamux read buffer, bytes. */
export const STREAM_READ_BUFFER_BYTES_MAX: number = 16 * MIB
/** Bytes one stream may have queued for sending; with more, `send` waits for room. */
export const STREAM_UNSENT_BYTES_HIGH: number = 256 * KIB
/** Bytes queued for sending at which libp2p gives the stream up: never reached, since `send` waits. */
export const STREAM_UNSENT_BYTES_MAX: number = 4 * MIB

/** Connections of this peer, the places of them that only known peers get, and connections to one other peer. */
export const CONNECTIONS_MAX = 64
export const CONNECTIONS_KEPT_FOR_KNOWN = 16
export const CONNECTIONS_PER_PEER_MAX = 8
/**
 * Connections accepted per second from one address, and accepted of which it is not known whose they are. A whole lab
 * behind one NAT, or a swarm on one machine, comes from one address.
 */
export const INBOUND_CONNECTIONS_PER_SECOND_MAX = 100
export const INBOUND_CONNECTIONS_PENDING_MAX = 64
/** Streams of all protocols on one connection, each way, also while it is still being accepted. */
export const CONNECTION_STREAMS_MAX = 256
/** Peers of other swarms whose swarm is remembered, to tell the owner what is wrong. */
export const FOREIGN_PEERS_REMEMBERED_MAX = 256
/** Peers that are neither connected nor in the routing table, whose addresses are kept. */
export const ADDRESSED_PEERS_MAX = 4096
/** Provider records of the DHT that are kept for one other peer, and for all together. */
export const PROVIDER_RECORDS_PER_PEER_MAX = 256
export const PROVIDER_RECORDS_MAX = 32_768
/** Streams of one protocol that one remote peer may have open to us. */
export const STREAMS_PER_PROTOCOL_AND_PEER_MAX = 4

/** Direct lanes: offers that wait for their socket, sockets open to us, and peers remembered for having none. */
export const DIRECT_OFFERS_MAX = 64
export const DIRECT_SOCKETS_MAX = 64
export const DIRECT_REFUSALS_REMEMBERED_MAX = 256

/** A signed advert, bytes, and the contexts in it. */
export const ADVERT_BYTES_MAX: number = 16 * KIB
export const ADVERT_CONTEXTS_MAX = 64
/** Adverts kept of other peers. */
export const ADVERTS_KEPT_MAX = 4096
/** How long an advert may claim to be valid, ms. */
export const ADVERT_TTL_MS_MAX = 60_000
/** Peers named in one introduction, the addresses of each, and the length of one, bytes. */
export const INTRODUCED_PEERS_MAX = 64
export const PEER_ADDRESSES_MAX = 16
export const ADDRESS_BYTES_MAX = 256
/** Peers remembered on disk to be dialled at the next start. */
export const REMEMBERED_PEERS_MAX = 64

/** One line of a job file, bytes; it travels inside a frame. */
export const REQUEST_LINE_BYTES_MAX: number = MIB - 64 * KIB
/** Nesting of the JSON of a request and of a result. */
export const JSON_DEPTH_MAX = 64
/** Tokens that one result may count, of its prompt and of its answer each. */
export const RESULT_TOKENS_MAX: number = 2 ** 31
/** Requests in one task frame. */
export const REQUESTS_PER_FRAME_MAX = 256
/** Results a worker keeps that submitters have not acknowledged: bytes of all of them and of one, results of one, ms. */
export const UNDELIVERED_RESULT_BYTES_MAX: number = 64 * MIB
export const SUBMITTER_UNDELIVERED_BYTES_MAX: number = 8 * MIB
export const SUBMITTER_UNDELIVERED_RESULTS_MAX = 8192
export const UNDELIVERED_RESULT_AGE_MS_MAX: number = 10 * 60_000
/** The common beginning of a job's bodies, which is sent once, UTF-16 units. */
export const TASK_PREFIX_UNITS_MAX: number = 64 * KIB
/** Requests that one submitter may have at one peer: of its credit, or of a lease of fixed size. */
export const TASK_CREDIT_MAX = 4096
/** Task sessions that one peer serves at once. */
export const TASK_SESSIONS_MAX = 64
/** Peers that one job remembers beside those that it uses: ten for each of its usual 50. */
export const CANDIDATES_KNOWN_MAX = 512

/** A context's chunk, bytes: the unit of hashing, of transfer and of blame. */
export const CHUNK_BYTES: number = MIB
/** An encoded manifest, bytes, and the files in it. */
export const MANIFEST_BYTES_MAX: number = 4 * MIB
export const MANIFEST_FILES_MAX = 4096
/** Segments of one file: places where its chunk grid starts anew. */
export const FILE_SEGMENTS_MAX = 16
/** A context's path, UTF-8 bytes, and each name in it (what ext4, APFS and NTFS can hold). */
export const CONTEXT_PATH_BYTES_MAX = 1024
export const CONTEXT_NAME_BYTES_MAX = 255
/** Chunks of one context: as many hashes as a manifest has room for; their bitfield is 16 KiB. */
export const CONTEXT_CHUNKS_MAX: number = MANIFEST_BYTES_MAX / 32
/** One answer of a model hub about a model (its list of files, in pages), bytes. */
export const HUB_ANSWER_BYTES_MAX: number = 64 * MIB
/** Files and folders that an import looks at, and how deep, before it says that this is not a model's folder. */
export const IMPORT_ENTRIES_MAX: number = 16 * MANIFEST_FILES_MAX
export const IMPORT_DEPTH_MAX = 16
/** Local names of contexts. */
export const CONTEXT_NAMES_MAX = 4096

/** Chunks one peer may have asked of another and not yet received. */
export const CHUNKS_REQUESTED_MAX = 64
/** Bytes one fetch asks of one source ahead of their arrival. */
export const SOURCE_WINDOW_BYTES_MAX: number = 32 * MIB
/** Sources of one fetch at once, peers it remembers as possible sources, and fetches at once. */
export const FETCH_SOURCES_MAX = 8
export const FETCH_CANDIDATES_MAX = 256
export const FETCHES_MAX = 2
/** Claims of other peers ("this chunk is in flight to me") that one fetch remembers. */
export const FETCH_CLAIMS_MAX = 4096
/** Runs of chunks in one have, claim or cancel message. */
export const CHUNK_RANGES_MAX = 256
/** Peers that one message of the context protocol may name. */
export const PEERS_TOLD_MAX = 8
/** Chunks read from disk and being sent at once, over all peers, and sessions served at once. */
export const UPLOADS_ACTIVE_MAX = 8
/** Whole files kept open for that. */
export const BLOBS_OPEN_MAX: number = 2 * UPLOADS_ACTIVE_MAX
/** Buffers kept for that between chunks: for each, one that is sent and one that is read. */
export const UPLOAD_BUFFERS_SPARE_MAX: number = 2 * UPLOADS_ACTIVE_MAX
export const UPLOAD_SESSIONS_MAX = 64
/** Peers banned for bad chunks that are remembered; the oldest goes first. */
export const CHUNK_BANS_MAX = 1024
/** Decisions of one kind kept about one context, and contexts of which they are kept. */
export const DECISIONS_PER_CONTEXT_MAX = 32
export const DECIDED_CONTEXTS_MAX = 256
/** Bytes of the log of decisions about contexts; when it is full it starts anew, and one old file is kept. */
export const DECISION_LOG_BYTES_MAX: number = 16 * MIB
/** Bytes of chunks in memory at once: for each source the stream's unread bytes, the chunk being filled and the one being verified. */
export const FETCH_MEMORY_BYTES_MAX: number =
  FETCHES_MAX * FETCH_SOURCES_MAX * (STREAM_UNREAD_BYTES_HIGH + 2 * CHUNK_BYTES)

/** Contexts that replication keeps count of, and holders of each. */
export const REPLICATION_CONTEXTS_MAX = 4096
export const REPLICATION_HOLDERS_MAX = 64
/** Offers of a spare copy that one peer may make in a minute. */
export const REPLICA_OFFERS_PER_MINUTE_MAX = 16

/** Jobs in one list that an owner gets from another machine; the newest are told. */
export const JOBS_TOLD_MAX = 1000
/** Bytes of an output file in one answer to its owner, and output files open between two answers. */
export const RESULT_PAGE_BYTES_MAX: number = 512 * KIB
export const RESULT_READERS_MAX = 4
/** Bytes of a journal in one message, when a job is moved to another machine. */
export const JOB_PART_BYTES_MAX: number = 512 * KIB
/** Streams on which peers are proving that they have this peer's owner; one more ends the oldest. */
export const OWNER_PROOFS_MAX = 32

/** Models that one peer may want from their origins at once. */
export const ORIGINS_WANTED_MAX = 16

/** One small file of a context (tokenizer.json is the largest), bytes. */
export const CONTEXT_JSON_BYTES_MAX: number = 64 * MIB
/** Weights of one module of an embedding model, such as 2_Dense/model.safetensors, bytes. */
export const MODULE_WEIGHTS_BYTES_MAX: number = 64 * MIB
/** Nodes and weights of an ONNX graph, and bytes of its nodes, which are not the weights. */
export const ONNX_NODES_MAX = 200_000
export const ONNX_GRAPH_BYTES_MAX: number = 64 * MIB
/** Requests that wait in one engine host for a slot. */
export const ENGINE_RUNS_WAITING_MAX = 4096
/** Bounds on answers of an OpenAI-compatible endpoint: one event, characters; one answer, bytes; choices in it. */
export const ENDPOINT_EVENT_CHARACTERS_MAX: number = MIB
export const ENDPOINT_ANSWER_BYTES_MAX: number = 64 * MIB
export const ENDPOINT_CHOICES_MAX = 128
/** The part of an endpoint's refusal that is read, bytes. */
export const ENDPOINT_REFUSAL_BYTES_MAX: number = 64 * KIB
/** The body of a result, bytes: it travels inside a frame. */
export const RESULT_BODY_BYTES_MAX: number = MIB - 64 * KIB

if (STREAM_WINDOW_BYTES_MAX >= STREAM_READ_BUFFER_BYTES_MAX)
  throw new RangeError('a paused stream would be reset')
if (STREAM_UNREAD_BYTES_HIGH + STREAM_WINDOW_BYTES_MAX > STREAM_READ_BUFFER_BYTES_MAX) {
  throw new RangeError('a slow reader would be reset')
}
if (STREAM_UNSENT_BYTES_HIGH + 2 * FRAME_BYTES_MAX > STREAM_UNSENT_BYTES_MAX) {
  throw new RangeError('a sender that waits for room would be reset')
}
if (REQUEST_LINE_BYTES_MAX >= FRAME_BYTES_MAX) throw new RangeError('a request must fit in one frame')
if (SUBMITTER_UNDELIVERED_RESULTS_MAX < TASK_CREDIT_MAX) {
  throw new RangeError('a submitter that uses its credit would get no more')
}
if (FETCH_MEMORY_BYTES_MAX > 64 * MIB) throw new RangeError('fetches would hold too much memory')
if (SOURCE_WINDOW_BYTES_MAX > CHUNKS_REQUESTED_MAX * CHUNK_BYTES) {
  throw new RangeError('a full window would break the protocol')
}
