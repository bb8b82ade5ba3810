/*
 * How long the world outside of the code takes, where scenarios do not say: no policy, and no number of src/.
 * test/sim/constants.test.ts passes over this file.
 */

/** A question about adverts and its answer, with the look-up before it: a few round trips over the Internet, µs. */
export const ASK_US = 200_000
/** One chunk that is asked for to see whether it is there: dialling, and 1 MiB over a home line, µs. */
export const AUDIT_US = 200_000
/** Until the memory of an engine host that was ended is free again, µs. */
export const UNLOAD_US = 200_000
/** One commit of a journal: eight results in SQLite with `synchronous=FULL` took 0.5 ms on an EPYC with an SSD, µs. */
export const COMMIT_US = 500
/** From a submitter to the middle of the network, µs. */
export const SUBMITTER_LATENCY_US = 500
