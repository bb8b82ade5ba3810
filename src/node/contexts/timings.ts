/** Timings and bounds of questions to other peers about their adverts and contexts; times in ms. */

/** An advert this old is asked for again before anything relies on it. */
export const ADVERT_AGE_MS_MAX = 20_000
/** How long a peer may take to answer with its advert. */
export const ADVERT_DEADLINE_MS = 3_000
/** How long one look-up in the DHT may take. */
export const LOOK_UP_DEADLINE_MS = 3_000
/** Providers taken of one look-up: the first ones, then stop. */
export const PROVIDERS_MAX = 32
/** Peers asked for their advert at the same time by one look for copies. */
export const ASKED_AT_ONCE = 8
