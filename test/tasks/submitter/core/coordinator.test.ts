import { describe, expect, test } from 'vitest'
import { nextTickMs } from '../../../../src/tasks/submitter/core/pace.ts'
import { seededRandom } from '../../../../src/base/random.ts'
import { explain, step } from '../../../../src/tasks/submitter/core/coordinator.ts'
import {
  COORDINATOR_DEFAULTS,
  createCoordinator,
  type CoordinatorState,
  type CoordinatorEffect,
  type CoordinatorEvent,
} from '../../../../src/tasks/submitter/core/coordinator-state.ts'

const random = seededRandom(1)

function job(requests: number, options: Partial<typeof COORDINATOR_DEFAULTS> = {}): CoordinatorState {
  return createCoordinator({ ranges: [{ from: 0, to: requests }] }, { ...COORDINATOR_DEFAULTS, ...options })
}

/** Plays events at their times and returns all effects, with the tick's look-ups left out. */
function play(
  state: CoordinatorState,
  ...events: [nowMs: number, event: CoordinatorEvent][]
): CoordinatorEffect[] {
  return events
    .flatMap(([nowMs, event]) => step(state, event, nowMs, random))
    .filter((effect) => effect.kind !== 'find')
}

const found = (...peers: string[]): CoordinatorEvent => ({
  kind: 'candidates',
  candidates: peers.map((peer) => ({ peer, tier: 'warm', accepts: true })),
})
const credit = (peer: string, requests: number): CoordinatorEvent => ({ kind: 'credit', peer, requests })
const result = (peer: string, n: number, epoch: number): CoordinatorEvent => ({
  kind: 'result',
  peer,
  key: { n, epoch },
  outcome: 'ok',
})
const committed = (peer: string, n: number, epoch: number): CoordinatorEvent => ({
  kind: 'committed',
  peer,
  key: { n, epoch },
})
const ready = (peer: string): [number, CoordinatorEvent][] => [
  [0, { kind: 'opened', peer }],
  [0, { kind: 'status', peer, phase: 'ready' }],
]

describe('a coordinator', () => {
  test('sends as many requests as a peer gives credit for, in the order of the file', () => {
    const state = job(5)
    const effects = play(state, [0, found('a')], ...ready('a'), [1, credit('a', 3)])
    expect(effects).toEqual([
      { kind: 'open', peer: 'a' },
      {
        kind: 'send',
        peer: 'a',
        leases: [
          { n: 0, epoch: 1 },
          { n: 1, epoch: 1 },
          { n: 2, epoch: 1 },
        ],
      },
    ])
  })

  test('acknowledges a result only after it is committed, and finishes when all are', () => {
    const state = job(1)
    play(state, [0, found('a')], ...ready('a'), [1, credit('a', 1)])
    expect(play(state, [2, result('a', 0, 1)])).toEqual([
      { kind: 'commit', peer: 'a', key: { n: 0, epoch: 1 } },
    ])
    expect(play(state, [3, committed('a', 0, 1)])).toEqual([
      { kind: 'acknowledge', peer: 'a', keys: [{ n: 0, epoch: 1 }] },
      { kind: 'finish' },
    ])
  })

  test('gives what a lost peer had to the next one, under a new epoch', () => {
    const state = job(2)
    play(state, [0, found('a', 'b')], ...ready('a'), ...ready('b'), [1, credit('a', 2)], [1, credit('b', 2)])
    const effects = play(state, [2, { kind: 'lost', peer: 'a', reason: 'killed' }])
    expect(effects).toContainEqual({ kind: 'send', peer: 'b', leases: [{ n: 0, epoch: 2 }] })
    expect(effects).toContainEqual({ kind: 'send', peer: 'b', leases: [{ n: 1, epoch: 2 }] })
  })

  test('does not commit a result under an old epoch', () => {
    const state = job(1)
    play(state, [0, found('a', 'b')], ...ready('a'), ...ready('b'), [1, credit('a', 1)], [1, credit('b', 1)])
    play(state, [2, { kind: 'lost', peer: 'a', reason: 'cut' }])
    expect(play(state, [3, result('a', 0, 1)])).toEqual([
      { kind: 'acknowledge', peer: 'a', keys: [{ n: 0, epoch: 1 }] },
    ])
    expect(play(state, [4, result('b', 0, 2)])).toEqual([
      { kind: 'commit', peer: 'b', key: { n: 0, epoch: 2 } },
    ])
  })

  test('takes a late result that is still wanted, when nobody else has the request yet', () => {
    const state = job(1)
    play(
      state,
      [0, found('a')],
      ...ready('a'),
      [1, credit('a', 1)],
      [2, { kind: 'lost', peer: 'a', reason: 'cut' }],
    )
    expect(play(state, [3, result('a', 0, 1)])).toEqual([
      { kind: 'commit', peer: 'a', key: { n: 0, epoch: 1 } },
    ])
  })

  describe('only the holder of a lease answers for it', () => {
    const stranger = (n: number, epoch: number): CoordinatorEvent[] =>
      (['ok', 'bad-request', 'retry'] as const).map((outcome) => ({
        kind: 'result',
        peer: 'liar',
        key: { n, epoch },
        outcome,
      }))
    const strangers = (n: number): [number, CoordinatorEvent][] =>
      [0, 1, 2, 3].flatMap((epoch) =>
        stranger(n, epoch).map((event): [number, CoordinatorEvent] => [2, event]),
      )

    test('a worker that was sent nothing has none of its answers committed, and none of its failures counted', () => {
      const state = job(3)
      play(state, [0, found('a', 'liar')], ...ready('a'), ...ready('liar'), [1, credit('a', 2)])
      const effects = play(state, ...strangers(0), ...strangers(1), ...strangers(2))
      expect(new Set(effects.map(({ kind }) => kind))).toEqual(new Set(['acknowledge']))
      expect(state.failures.size).toBe(0)
      play(state, [3, { kind: 'lost', peer: 'a', reason: 'cut' }])
      expect(play(state, ...strangers(0)).map(({ kind }) => kind)).not.toContain('commit')
      expect(play(state, [4, result('a', 0, 1)])).toEqual([
        { kind: 'commit', peer: 'a', key: { n: 0, epoch: 1 } },
      ])
    })

    test('after a restart, the record of holders says whose redelivery is committed', () => {
      const state = createCoordinator(
        { ranges: [{ from: 0, to: 2 }], leases: [{ n: 0, epoch: 3, holders: ['a', 'b'] }] },
        COORDINATOR_DEFAULTS,
      )
      play(state, [0, found('b', 'liar')], ...ready('b'), ...ready('liar'))
      const refused = play(state, ...strangers(0), ...strangers(1), [2, result('b', 0, 2)])
      expect(new Set(refused.map(({ kind }) => kind))).toEqual(new Set(['acknowledge']))
      expect(play(state, [3, result('b', 0, 3)])).toEqual([
        { kind: 'commit', peer: 'b', key: { n: 0, epoch: 3 } },
      ])
    })

    test('a holder that was lost while a copy runs may bring its answer', () => {
      const state = job(1)
      play(
        state,
        [0, found('a', 'b')],
        ...ready('a'),
        ...ready('b'),
        [1, credit('a', 1)],
        [1, credit('b', 1)],
      )
      play(state, [1_100, { kind: 'tick' }], [1_101, { kind: 'lost', peer: 'a', reason: 'cut' }])
      expect(play(state, [1_200, result('a', 0, 1)])).toContainEqual({
        kind: 'commit',
        peer: 'a',
        key: { n: 0, epoch: 1 },
      })
    })
  })

  const failed = (peer: string, n: number, epoch: number): CoordinatorEvent => ({
    kind: 'result',
    peer,
    key: { n, epoch },
    outcome: 'retry',
  })

  test('gives a request that a peer failed on to another peer, not to the same again', () => {
    const state = job(1)
    play(state, [0, found('a', 'b')], ...ready('a'), ...ready('b'), [1, credit('a', 1)], [1, credit('b', 1)])
    play(state, [2, failed('a', 0, 1)], [3, credit('a', 1)])
    expect(play(state, [1_000, { kind: 'tick' }])).toEqual([
      { kind: 'send', peer: 'b', leases: [{ n: 0, epoch: 2 }] },
    ])
  })

  test('makes a request an error line once three peers have failed on it', () => {
    const state = job(1)
    const peers = ['a', 'b', 'c']
    play(
      state,
      [0, found(...peers)],
      ...peers.flatMap(ready),
      ...peers.map((peer): [number, CoordinatorEvent] => [1, credit(peer, 1)]),
    )
    play(
      state,
      [2, failed('a', 0, 1)],
      [1_000, { kind: 'tick' }],
      [1_001, failed('b', 0, 2)],
      [3_000, { kind: 'tick' }],
    )
    expect(play(state, [3_001, failed('c', 0, 3)])).toMatchObject([
      { kind: 'acknowledge', peer: 'c' },
      { kind: 'fail', key: { n: 0, epoch: 3 }, code: 'attempts-exhausted' },
    ])
  })

  test('leaves a peer alone that fails on one request after the other: nobody else pays for it', () => {
    const state = job(10)
    play(state, [0, found('a', 'b')], ...ready('a'), ...ready('b'), [1, credit('a', 10)])
    const effects = [0, 1, 2, 3].flatMap((n) => play(state, [2, failed('a', n, 1)]))
    expect(effects.at(-1)).toMatchObject({
      kind: 'close',
      peer: 'a',
      reason: 'it failed on 4 requests in a row',
    })
    expect(effects.filter((effect) => effect.kind === 'fail')).toEqual([])
    expect(state.pending.size).toBe(10)
  })

  test('gives what a leaving peer returns to the next one at once, and blames nobody', () => {
    const state = job(2, { lossesMax: 1 })
    play(state, [0, found('a', 'b')], ...ready('a'), ...ready('b'), [1, credit('a', 2)], [1, credit('b', 2)])
    const keys = [
      { n: 0, epoch: 1 },
      { n: 1, epoch: 1 },
    ]
    const effects = play(state, [2, { kind: 'returned', peer: 'a', keys }])
    expect(effects).toEqual([
      {
        kind: 'send',
        peer: 'b',
        leases: [
          { n: 0, epoch: 2 },
          { n: 1, epoch: 2 },
        ],
      },
    ])
    expect(state.losses.size + state.failures.size).toBe(0)
    // It gave up its credit with them, and what is returned twice is returned once.
    expect(play(state, [3, { kind: 'returned', peer: 'a', keys }])).toEqual([])
    play(state, [4, { kind: 'status', peer: 'a', phase: 'refused', reason: 'draining' }])
    expect(state.losses.size).toBe(0)
  })

  test('takes a peer from which nothing is heard as lost', () => {
    const state = job(1)
    play(state, [0, found('a')], ...ready('a'), [1, credit('a', 1)])
    const effects = play(state, [COORDINATOR_DEFAULTS.silenceMs + 1, { kind: 'tick' }])
    expect(effects[0]).toMatchObject({ kind: 'close', peer: 'a' })
    expect(state.pending.size).toBe(1)
  })

  test('at the tail, an idle peer gets a copy of what is slow; the first result wins and the other is cancelled', () => {
    const state = job(1)
    play(state, [0, found('a', 'b')], ...ready('a'), ...ready('b'), [1, credit('a', 1)], [1, credit('b', 1)])
    expect(play(state, [500, { kind: 'tick' }])).toEqual([])
    expect(play(state, [1_100, { kind: 'tick' }])).toEqual([
      { kind: 'send', peer: 'b', leases: [{ n: 0, epoch: 1 }] },
    ])
    play(state, [1_200, result('b', 0, 1)])
    expect(play(state, [1_201, committed('b', 0, 1)])).toEqual([
      { kind: 'acknowledge', peer: 'b', keys: [{ n: 0, epoch: 1 }] },
      { kind: 'cancel', peer: 'a', keys: [{ n: 0, epoch: 1 }] },
      { kind: 'finish' },
    ])
  })

  test('links warm peers before stored ones, and cold ones only when some peer holds the context', () => {
    const state = job(1, { peersMax: 2 })
    const candidate = (peer: string, tier: 'warm' | 'stored' | 'absent') => ({ peer, tier, accepts: true })
    expect(play(state, [0, { kind: 'candidates', candidates: [candidate('cold', 'absent')] }])).toEqual([])
    const all = [candidate('cold', 'absent'), candidate('stored', 'stored'), candidate('warm', 'warm')]
    expect(play(state, [0, { kind: 'candidates', candidates: all }])).toEqual([
      { kind: 'open', peer: 'warm' },
      { kind: 'open', peer: 'stored' },
    ])
  })

  test('a cold peer is not recruited when the job ends before it could be ready', () => {
    const state = job(100)
    play(state, [0, { kind: 'start' }], [0, found('a')], ...ready('a'), [1, credit('a', 90)])
    for (let n = 0; n < 90; n += 1) play(state, [900, result('a', n, 1)], [900, committed('a', n, 1)])
    const cold: CoordinatorEvent = {
      kind: 'candidates',
      candidates: [{ peer: 'cold', tier: 'absent', accepts: true }],
    }
    play(state, [900, { kind: 'tick' }])
    expect(play(state, [900, cold])).toEqual([])
  })

  test.each([
    ['no-peers', [], 'no other peer'],
    ['context-unknown', [{ peer: 'a', tier: 'absent' as const, accepts: true }], 'none of 1 peers has'],
    [
      'paused',
      [{ peer: 'a', tier: 'stored' as const, accepts: false, reason: 'paused' }],
      '1 peers have the context, but none can run it (1: paused)',
    ],
  ])('says why nothing runs: %s', (code, candidates, words) => {
    const state = job(1)
    play(state, [0, { kind: 'start' }], [0, { kind: 'candidates', candidates }])
    expect(explain(state, 0)?.code).toBe(code)
    expect(explain(state, 0)?.words).toContain(words)
    const effects = play(state, [COORDINATOR_DEFAULTS.giveUpMs, { kind: 'tick' }])
    expect(effects).toMatchObject([{ kind: 'give-up', reason: { code } }])
  })
})

describe('the time after which a job gives up', () => {
  const giveUpMs = 10_000
  const status = (phase: 'queued' | 'fetching' | 'loading' | 'ready' | 'refused', detail?: string) =>
    ({ kind: 'status', peer: 'a', phase, detail }) as const

  /** A job with one peer that is ready; then each event at its time, with heartbeats and ticks between them. */
  function gaveUpAtMs(
    untilMs: number,
    at: (nowMs: number) => CoordinatorEvent[],
    events: CoordinatorEvent[] = [],
  ) {
    const state = job(100, { giveUpMs })
    play(state, [0, { kind: 'start' }], [0, found('a')], [0, { kind: 'opened', peer: 'a' }])
    for (const event of events) play(state, [0, event])
    for (let nowMs = 1_000; nowMs <= untilMs; nowMs += 1_000) {
      const tick: CoordinatorEvent[] = nowMs >= nextTickMs(state) ? [{ kind: 'tick' }] : []
      for (const event of [{ kind: 'heard', peer: 'a' } as const, ...at(nowMs), ...tick]) {
        const end = play(state, [nowMs, event]).find(({ kind }) => kind === 'give-up')
        if (end?.kind === 'give-up') return { nowMs, code: end.reason.code, words: end.reason.words }
      }
    }
    return undefined
  }

  test('is not put off by a peer that takes requests and answers none', () => {
    const end = gaveUpAtMs(60_000, () => [], [status('ready'), credit('a', 8)])
    expect(end).toMatchObject({ nowMs: giveUpMs, code: 'no-progress' })
    expect(end?.words).toContain('1: it does not answer')
  })

  test('is not put off by a peer that is queued for ever, or that begins again and again', () => {
    expect(gaveUpAtMs(60_000, () => [status('queued')], [])).toMatchObject({ nowMs: giveUpMs })
    const state = job(1, { giveUpMs })
    play(state, [0, { kind: 'start' }], [0, found('a')], [0, { kind: 'opened', peer: 'a' }])
    let end: CoordinatorEffect | undefined
    for (let nowMs = 1_000; nowMs <= 60_000 && end === undefined; nowMs += 1_000) {
      const again: CoordinatorEvent[] = [
        { kind: 'status', peer: 'a', phase: 'loading' },
        { kind: 'status', peer: 'a', phase: 'refused', reason: 'model-unsupported' },
        { kind: 'tick' },
      ]
      const effects = again.flatMap((event) => play(state, [nowMs, event]))
      end = effects.find(({ kind }) => kind === 'give-up')
      if (effects.some(({ kind }) => kind === 'open')) play(state, [nowMs, { kind: 'opened', peer: 'a' }])
    }
    expect(end).toMatchObject({
      kind: 'give-up',
      reason: { words: expect.stringContaining('model-unsupported') },
    })
  })

  test('counts from the last result', () => {
    let n = 0
    const answers = (nowMs: number): CoordinatorEvent[] =>
      nowMs % 9_000 === 0 && nowMs <= 27_000 ? [result('a', n, 1), committed('a', n++, 1)] : []
    const end = gaveUpAtMs(120_000, answers, [status('ready'), credit('a', 8)])
    expect(end?.nowMs).toBe(27_000 + giveUpMs)
  })

  test('counts from the last progress with fetching, loading and computing', () => {
    const chunks = (nowMs: number): CoordinatorEvent[] => [
      status('fetching', `${Math.floor(nowMs / 8_000)} MiB`),
    ]
    expect(gaveUpAtMs(100_000, chunks)).toBeUndefined()
    expect(gaveUpAtMs(100_000, () => [status('fetching', 'looking for holders')])?.nowMs).toBe(
      1_000 + giveUpMs,
    )
    expect(gaveUpAtMs(100_000, () => [status('loading', 'loading the model')])).toBeUndefined()
    const computing = (): CoordinatorEvent[] => [status('ready', 'computing')]
    expect(gaveUpAtMs(100_000, computing, [status('ready'), credit('a', 8)])).toBeUndefined()
  })

  test('does not count the sleep of the machine', () => {
    const state = job(9, { giveUpMs })
    play(state, [0, { kind: 'start' }], [0, found('a')], ...ready('a'), [0, credit('a', 8)])
    const woken = play(state, [3_600_000, { kind: 'heard', peer: 'a' }], [3_600_000, { kind: 'tick' }])
    expect(woken.some(({ kind }) => kind === 'give-up')).toBe(false)
  })
})
