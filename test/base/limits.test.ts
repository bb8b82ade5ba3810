// For each bound of base/limits.ts the test that reaches it. A bound is of no use that nothing reads,
// and no promise that nothing has reached.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import * as limits from '../../src/base/limits.ts'

const BASE = 'base/stream/message-stream.test.ts'
const HOST = 'node/libp2p/libp2p-limits.test.ts'
const LANE = 'node/direct/direct-lane.test.ts'
const ADVERTS = 'dht/advert/advert.test.ts'
const EXCHANGE = 'dht/advert/advert-exchange.test.ts'
const OWNED = 'node/owner/owned-jobs.test.ts'
const BOUNDS = 'inference/engines/bounds.test.ts'
const ONE_SUBMITTER = 'tasks/worker/core/one-submitter.test.ts'
const ENDPOINT = 'inference/engines/openai-engine.test.ts'

const REACHED_BY: Readonly<Record<string, string>> = {
  TASK_PREFIX_UNITS_MAX: 'tasks/job/common-prefix.test.ts',
  TASK_CREDIT_MAX: 'tasks/worker/core/credit.test.ts',
  TASK_SESSIONS_MAX: ONE_SUBMITTER,
  UNDELIVERED_RESULT_BYTES_MAX: ONE_SUBMITTER,
  SUBMITTER_UNDELIVERED_BYTES_MAX: ONE_SUBMITTER,
  SUBMITTER_UNDELIVERED_RESULTS_MAX: ONE_SUBMITTER,
  FRAME_BYTES_MAX: BASE,
  BULK_SLICE_BYTES: BASE,
  BLOBS_OPEN_MAX: 'context-sharing/disk/open-blobs.test.ts',
  STREAM_UNREAD_BYTES_HIGH: BASE,
  STREAM_WINDOW_BYTES_MAX: BASE,
  STREAM_UNSENT_BYTES_HIGH: BASE,
  STREAM_UNSENT_BYTES_MAX: BASE,
  CONNECTIONS_MAX: HOST,
  CONNECTIONS_KEPT_FOR_KNOWN: HOST,
  CONNECTIONS_PER_PEER_MAX: HOST,
  INBOUND_CONNECTIONS_PER_SECOND_MAX: HOST,
  INBOUND_CONNECTIONS_PENDING_MAX: HOST,
  CONNECTION_STREAMS_MAX: HOST,
  ADDRESSED_PEERS_MAX: 'node/libp2p/address-upkeep.test.ts',
  PROVIDER_RECORDS_PER_PEER_MAX: 'node/libp2p/provider-bounds.test.ts',
  PROVIDER_RECORDS_MAX: 'node/libp2p/provider-bounds.test.ts',
  FOREIGN_PEERS_REMEMBERED_MAX: HOST,
  STREAMS_PER_PROTOCOL_AND_PEER_MAX: 'node/libp2p/libp2p-network.test.ts',
  DIRECT_OFFERS_MAX: LANE,
  DIRECT_SOCKETS_MAX: LANE,
  DIRECT_REFUSALS_REMEMBERED_MAX: LANE,
  ADVERT_BYTES_MAX: ADVERTS,
  ADVERT_CONTEXTS_MAX: ADVERTS,
  ADVERT_TTL_MS_MAX: ADVERTS,
  ADVERTS_KEPT_MAX: 'dht/advert/advert-table.test.ts',
  INTRODUCED_PEERS_MAX: EXCHANGE,
  PEER_ADDRESSES_MAX: EXCHANGE,
  ADDRESS_BYTES_MAX: EXCHANGE,
  JOB_PART_BYTES_MAX: 'node/owner/move-job.test.ts',
  JOBS_TOLD_MAX: OWNED,
  OWNER_PROOFS_MAX: OWNED,
  RESULT_PAGE_BYTES_MAX: 'node/owner/result-pages.test.ts',
  RESULT_READERS_MAX: 'node/owner/result-pages.test.ts',
  REMEMBERED_PEERS_MAX: 'dht/join/core/join.test.ts',
  MANIFEST_BYTES_MAX: 'context-sharing/wire/messages.test.ts',
  MANIFEST_FILES_MAX: 'context-sharing/content/manifest.test.ts',
  CONTEXT_CHUNKS_MAX: 'context-sharing/wire/messages.test.ts',
  HUB_ANSWER_BYTES_MAX: 'context-sharing/hub/hub-download.test.ts',
  IMPORT_DEPTH_MAX: 'context-sharing/store/context-store.test.ts',
  CHUNKS_REQUESTED_MAX: 'context-sharing/wire/messages.test.ts',
  FETCH_SOURCES_MAX: 'context-sharing/download/core/download.test.ts',
  FETCH_CANDIDATES_MAX: 'context-sharing/download/core/download.test.ts',
  CHUNK_RANGES_MAX: 'context-sharing/wire/messages.test.ts',
  PEERS_TOLD_MAX: 'context-sharing/wire/messages.test.ts',
  REPLICATION_CONTEXTS_MAX: 'context-sharing/replication/core/replication.test.ts',
  REPLICATION_HOLDERS_MAX: 'context-sharing/replication/core/replication.test.ts',
  REPLICA_OFFERS_PER_MINUTE_MAX: 'context-sharing/replication/replicator.test.ts',
  ORIGINS_WANTED_MAX: 'context-sharing/origin/origins.test.ts',
  FILE_SEGMENTS_MAX: 'context-sharing/limits.test.ts',
  CONTEXT_PATH_BYTES_MAX: 'context-sharing/limits.test.ts',
  CONTEXT_NAME_BYTES_MAX: 'context-sharing/limits.test.ts',
  IMPORT_ENTRIES_MAX: 'context-sharing/hub/hub-download.test.ts',
  CONTEXT_NAMES_MAX: 'context-sharing/limits.test.ts',
  CANDIDATES_KNOWN_MAX: 'tasks/submitter/core/candidate-book.test.ts',
  SOURCE_WINDOW_BYTES_MAX: 'context-sharing/limits.test.ts',
  FETCHES_MAX: 'context-sharing/download/transfer.test.ts',
  FETCH_CLAIMS_MAX: 'context-sharing/limits.test.ts',
  UPLOADS_ACTIVE_MAX: 'context-sharing/upload/core/upload-budget.test.ts',
  UPLOAD_SESSIONS_MAX: 'context-sharing/download/hostile-peers.test.ts',
  CHUNK_BANS_MAX: 'context-sharing/limits.test.ts',
  DECISIONS_PER_CONTEXT_MAX: 'context-sharing/history/decisions.test.ts',
  DECIDED_CONTEXTS_MAX: 'context-sharing/history/decisions.test.ts',
  CONTEXT_JSON_BYTES_MAX: BOUNDS,
  MODULE_WEIGHTS_BYTES_MAX: 'inference/engines/embedding-recipe.test.ts',
  ONNX_NODES_MAX: BOUNDS,
  ONNX_GRAPH_BYTES_MAX: BOUNDS,
  ENGINE_RUNS_WAITING_MAX: BOUNDS,
  ENDPOINT_EVENT_CHARACTERS_MAX: ENDPOINT,
  ENDPOINT_ANSWER_BYTES_MAX: ENDPOINT,
  ENDPOINT_CHOICES_MAX: ENDPOINT,
  ENDPOINT_REFUSAL_BYTES_MAX: ENDPOINT,
  RESULT_BODY_BYTES_MAX: ENDPOINT,
  RESULT_TOKENS_MAX: 'tasks/wire/checked-result.test.ts',
  JSON_DEPTH_MAX: 'tasks/wire/checked-result.test.ts',
}

/** Sizes that are chosen, not bounds that somebody outside could pass. */
const CHOSEN = [
  'CHUNK_BYTES',
  'DECISION_LOG_BYTES_MAX',
  'DIRECT_TURN_BYTES',
  'LENT_UNREAD_BYTES_HIGH',
  'LIBP2P_TURN_BYTES',
  'STREAM_WINDOW_BYTES_INITIAL',
  'UPLOAD_BUFFERS_SPARE_MAX',
]

/** Bounds that the assertions of limits.ts hold by themselves, when it is loaded. */
const ASSERTED = ['STREAM_READ_BUFFER_BYTES_MAX', 'FETCH_MEMORY_BYTES_MAX']

/** Bounds that still want a test; the list is to become shorter. */
const NOT_REACHED_YET = ['REQUEST_LINE_BYTES_MAX', 'REQUESTS_PER_FRAME_MAX', 'UNDELIVERED_RESULT_AGE_MS_MAX']

const root = new URL('../', import.meta.url)
const sourceRoot = new URL('../../src/', import.meta.url)

function textOf(path: URL): string {
  return readFileSync(path, 'utf8')
}

const sources = readdirSync(sourceRoot, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('base/limits.ts'))
  .map((name) => textOf(new URL(name, sourceRoot)))
  .join('\n')
const NAMES = Object.keys(limits)
const isNamed = (name: string, text: string): boolean => new RegExp(`\\b${name}\\b`).test(text)

test.each(Object.entries(REACHED_BY))('%s is reached by %s', (name, file) => {
  expect(NAMES).toContain(name)
  expect(isNamed(name, textOf(new URL(file, root)))).toBe(true)
})

test.each(NAMES.filter((name) => !ASSERTED.includes(name)))('%s is read by the code', (name) => {
  expect(isNamed(name, sources)).toBe(true)
})

test('every bound is in one of the lists of this file', () => {
  const listed = new Set([...Object.keys(REACHED_BY), ...CHOSEN, ...ASSERTED, ...NOT_REACHED_YET])
  expect(NAMES.filter((name) => !listed.has(name))).toEqual([])
  expect([...listed].filter((name) => !NAMES.includes(name))).toEqual([])
  expect(NOT_REACHED_YET.filter((name) => name in REACHED_BY)).toEqual([])
})
