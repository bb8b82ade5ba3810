import { describe, expect, test } from 'vitest'
import { availability, leastDistributionTime, queueMeans } from '../../sim/statistics/closed-forms.ts'

describe('closed forms', () => {
  test('a queue with one server is M/M/1', () => {
    const { waitShare, wait, present } = queueMeans(0.8, 1, 1)
    expect(waitShare).toBeCloseTo(0.8, 12)
    expect(wait).toBeCloseTo(4, 12)
    expect(present).toBeCloseTo(4, 12)
  })

  test('two servers: 2ρ²/(1+ρ) of the arrivals wait', () => {
    expect(queueMeans(1.5, 1, 2).waitShare).toBeCloseTo((2 * 0.75 ** 2) / 1.75, 12)
  })

  test('a queue that is fed faster than it serves has no means', () => {
    expect(() => queueMeans(2, 1, 2)).toThrow(/no steady state/)
  })

  test('availability is the mean session over the mean cycle', () => {
    expect(availability(9, 1)).toBe(0.9)
  })

  test('distribution is bound by the seed, the slowest peer, or all uploads together', () => {
    const peer = { upload: 10, download: 100 }
    expect(leastDistributionTime({ bytes: 1000, seedUpload: 10, peers: [peer] })).toBe(100)
    expect(
      leastDistributionTime({ bytes: 1000, seedUpload: 1000, peers: [{ upload: 9, download: 5 }] }),
    ).toBe(200)
    const four = [peer, peer, peer, peer]
    expect(leastDistributionTime({ bytes: 1000, seedUpload: 40, peers: four })).toBe(50)
    expect(leastDistributionTime({ bytes: 1000, seedUpload: 40, peers: [] })).toBe(0)
  })
})
