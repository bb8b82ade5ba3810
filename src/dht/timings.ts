/** When peers dial, ask and tell one another: times in ms. docs/decisions/0002 has what they were chosen by. */

/** Timings of the join loop: see JoinOptions in join/join.ts. */
export const JOIN_TIMINGS = {
  tableWanted: 8,
  startJitterMs: 250,
  retryMinMs: 200,
  retryMaxMs: 5_000,
  restMinMs: 500,
  restMaxMs: 60_000,
  smallRestMaxMs: 10_000,
  dialDeadlineMs: 5_000,
  tableDeadlineMs: 3_000,
  walkDeadlineMs: 15_000,
  saveEveryMs: 60_000,
} as const

/** Timings of introductions: see NewcomersOptions in join/core/newcomers.ts. */
export const NEWCOMERS_TIMINGS = {
  askEveryMs: 500,
  membersWanted: 48,
  dialsAtOnce: 8,
  dialDeadlineMs: 3_000,
  avoidMs: 15_000,
  addressesTried: 4,
  failuresMax: 8,
  avoidedMax: 1_024,
} as const

/** Timings for members that hang up: see DeparturesOptions in core/departures.ts. */
export const DEPARTURES_TIMINGS = {
  redialMinMs: 100,
  redialMaxMs: 600,
  dialDeadlineMs: 3_000,
  checksAtOnce: 64,
} as const

/** Timings of adverts: see AdvertExchangeOptions in advert/advert-exchange.ts. `ADVERT_TTL_MS_MAX` bounds their life. */
export const ADVERT_TIMINGS = {
  refreshEveryMs: 20_000,
  changeDelayMs: 50,
  answerDeadlineMs: 5_000,
  greetAfterMs: [300, 1_000, 3_000],
  pushesAtOnce: 8,
} as const
/** How often adverts are looked through for those that have expired. */
export const EXPIRE_EVERY_MS = 1_000
