// Which machine runs a job that was moved. Each machine keeps its own place of the job on disk; the rules here
// let at most one of them run it, whatever crashes and whatever message is lost, late or sent twice.

/**
 * The place of a job, as one machine keeps it. `transfer` numbers the attempts to move it: it travels with the job and
 * only grows, so that a late message of an older attempt is told from the newest.
 */
export type JobPlace =
  /** It runs here. `arrivedBy` is the transfer that brought it; undefined where it was submitted. */
  | { kind: 'here'; transfer: number; arrivedBy?: number | undefined }
  /** Its journal is being copied from a peer, which still has it. */
  | { kind: 'arriving'; from: string; transfer: number }
  /** The whole journal is here, and `from` has not given the job up yet. */
  | { kind: 'taken'; from: string; transfer: number }
  /** Given up to another peer. `isConfirmed`: that peer said that it runs there. */
  | { kind: 'moved'; to: string; transfer: number; isConfirmed: boolean }

/** The questions of the machine that has a job to the machine that shall get it. */
export interface TransferRequest {
  /** offer: "I shall copy it to you." take: "You have all of it." release: "I have given it up: run it." */
  type: 'offer' | 'take' | 'release'
  transfer: number
}

/** The new place, to be made durable before the answer is sent; or why the request is refused. */
export type TransferVerdict = { kind: 'agreed'; place: JobPlace } | { kind: 'refused'; words: string }

/** Whether the machine may run the job, and so change its journal. */
export function mayRun(place: JobPlace | undefined): boolean {
  return place === undefined || place.kind === 'here'
}

/**
 * What a machine does about a request of peer `from`. `place` is undefined when it has nothing of the job.
 * A repeated request gets the answer of the first.
 */
export function answerTransfer(
  place: JobPlace | undefined,
  from: string,
  { type, transfer }: TransferRequest,
): TransferVerdict {
  const isSame = place !== undefined && place.transfer === transfer && 'from' in place && place.from === from
  if (type === 'offer') {
    if (place?.kind === 'here') return refused('the job runs here already')
    if (isSame) return agreed(place)
    // A copy that was never released is void once its sender makes a newer attempt.
    const isOld = place !== undefined && place.transfer >= transfer
    return isOld ? refused('a newer transfer was here') : agreed({ kind: 'arriving', from, transfer })
  }
  if (type === 'take')
    return isSame ? agreed({ kind: 'taken', from, transfer }) : refused('this transfer is not under way here')
  if (isSame && place.kind === 'taken') return agreed({ kind: 'here', transfer, arrivedBy: transfer })
  const wasHere =
    place !== undefined &&
    (place.transfer > transfer || (place.kind === 'here' && place.arrivedBy === transfer))
  return wasHere ? agreed(place) : refused('no job has arrived here by this transfer')
}

/** The place of a job that is about to be offered: its number is made durable first. Undefined when it is not here. */
export function nextTransfer(place: JobPlace | undefined): (JobPlace & { kind: 'here' }) | undefined {
  return place?.kind === 'here' ? { ...place, transfer: place.transfer + 1 } : undefined
}

/** The sender gives the job up, once peer `to` has taken it. Undefined when this transfer is not the newest. */
export function giveUp(place: JobPlace | undefined, to: string, transfer: number): JobPlace | undefined {
  const isNewest = place?.kind === 'here' && place.transfer === transfer
  return isNewest ? { kind: 'moved', to, transfer, isConfirmed: false } : undefined
}

/** The other machine has confirmed a transfer: nothing is left to be sent. */
export function confirmed(place: JobPlace, transfer: number): JobPlace {
  return place.kind === 'moved' && place.transfer === transfer ? { ...place, isConfirmed: true } : place
}

function agreed(place: JobPlace): TransferVerdict {
  return { kind: 'agreed', place }
}

function refused(words: string): TransferVerdict {
  return { kind: 'refused', words }
}
