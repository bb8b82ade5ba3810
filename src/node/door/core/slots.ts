/**
 * How much a connected peer has shown of itself: those who showed least go first.
 * A stranger has not said that it is of our swarm, a member has, a guest has also sent its advert or was dialled
 * by us, and a known peer is remembered from earlier.
 */
export type Standing = 'stranger' | 'member' | 'guest' | 'known'

export interface Slot<Connection> {
  connection: Connection
  peer: string
  standing: Standing
  isInbound: boolean
  /** Whether a stream of Hearth is open on it. */
  isBusy: boolean
  openedAtMs: number
}

export interface SlotLimits {
  connectionsMax: number
  /** Places of `connectionsMax` that only known peers get, of those who dial us. */
  keptForKnown: number
  perPeerMax: number
  /** An idle guest makes room for a newcomer at most this often, ms: in a large swarm, guests return. */
  guestEveryMs: number
}

/** Decides which connection goes when there are too many. */
export class ConnectionSlots {
  readonly #limits: SlotLimits
  #guestDroppedAtMs = -Infinity

  constructor(limits: SlotLimits) {
    this.#limits = limits
  }

  /** The connection to drop now that `newest` is open; undefined when all may stay. `slots` has `newest`. */
  surplus<Connection>(
    slots: readonly Slot<Connection>[],
    newest: Slot<Connection>,
    nowMs: number,
  ): Slot<Connection> | undefined {
    const { connectionsMax, keptForKnown, perPeerMax } = this.#limits
    if (slots.filter(({ peer }) => peer === newest.peer).length > perPeerMax) return newest
    const others = slots.filter(({ standing }) => standing !== 'known')
    const isFull = slots.length > connectionsMax
    const isUnknownAtDoor = newest.isInbound && newest.standing !== 'known'
    const dialledUs = others.filter(({ isInbound }) => isInbound).length
    if (!isFull && !(isUnknownAtDoor && dialledUs > connectionsMax - keptForKnown)) return undefined
    const oldestFirst = others
      .filter((slot) => slot !== newest)
      .toSorted((a, b) => a.openedAtMs - b.openedAtMs)
    const least =
      oldestFirst.find(({ standing }) => standing === 'stranger') ??
      oldestFirst.find(({ standing }) => standing === 'member')
    return least ?? this.#idleGuest(oldestFirst, nowMs) ?? newest
  }

  #idleGuest<Connection>(
    oldestFirst: readonly Slot<Connection>[],
    nowMs: number,
  ): Slot<Connection> | undefined {
    if (nowMs - this.#guestDroppedAtMs < this.#limits.guestEveryMs) return undefined
    const guest = oldestFirst.find(({ isBusy }) => !isBusy)
    if (guest !== undefined) this.#guestDroppedAtMs = nowMs
    return guest
  }
}
