import { describe, expect, test } from 'vitest'
import { ConnectionSlots, type Slot, type Standing } from '../../../../src/node/door/core/slots.ts'

const LIMITS = { connectionsMax: 8, keptForKnown: 2, perPeerMax: 3, guestEveryMs: 1_000 }
let opened = 0
const slotOf = (standing: Standing, change: Partial<Slot<number>> = {}): Slot<number> => {
  opened += 1
  const peer = `peer${opened}`
  return { connection: opened, peer, standing, isInbound: true, isBusy: false, openedAtMs: opened, ...change }
}
const many = (count: number, standing: Standing, change: Partial<Slot<number>> = {}): Slot<number>[] =>
  Array.from({ length: count }, () => slotOf(standing, change))

describe('when there are too many connections', () => {
  test('the oldest of those goes that showed least', () => {
    const slots = new ConnectionSlots(LIMITS)
    const [guests, members, strangers] = [many(2, 'guest'), many(2, 'member'), many(2, 'stranger')]
    const newest = slotOf('stranger')
    expect(slots.surplus([...guests, ...members, ...strangers, newest], newest, 0)).toBe(strangers[0])
    expect(slots.surplus([...guests, ...guests, ...members, newest], newest, 0)).toBe(members[0])
  })

  test('places are kept for known peers, which are never dropped', () => {
    const slots = new ConnectionSlots(LIMITS)
    const strangers = many(6, 'stranger')
    const known = slotOf('known')
    expect(slots.surplus([...strangers, known], known, 0)).toBeUndefined()
    const full = many(8, 'known')
    const newest = slotOf('stranger')
    expect(slots.surplus([...full, newest], newest, 0)).toBe(newest)
  })

  test('those that we dialled take no place of those who dial us', () => {
    const slots = new ConnectionSlots(LIMITS)
    const dialled = many(2, 'guest', { isInbound: false })
    const newest = slotOf('stranger')
    expect(slots.surplus([...dialled, ...many(5, 'guest'), newest], newest, 0)).toBeUndefined()
  })

  test('an idle guest makes room for a newcomer, but not often', () => {
    const slots = new ConnectionSlots(LIMITS)
    const guests = [slotOf('guest', { isBusy: true }), ...many(5, 'guest')]
    const newest = slotOf('stranger')
    expect(slots.surplus([...guests, newest], newest, 5_000)).toBe(guests[1])
    expect(slots.surplus([...guests, newest], newest, 5_999)).toBe(newest)
    expect(slots.surplus([...guests, newest], newest, 6_000)).toBe(guests[1])
    const busy = many(6, 'guest', { isBusy: true })
    expect(slots.surplus([...busy, newest], newest, 9_000)).toBe(newest)
  })

  test('one peer has a bounded number of them', () => {
    const slots = new ConnectionSlots(LIMITS)
    const own = many(3, 'known', { peer: 'same' })
    const newest = slotOf('known', { peer: 'same' })
    expect(slots.surplus(own, own[2]!, 0)).toBeUndefined()
    expect(slots.surplus([...own, newest], newest, 0)).toBe(newest)
  })
})
