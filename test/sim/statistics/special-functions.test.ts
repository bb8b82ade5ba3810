import { describe, expect, test } from 'vitest'
import {
  erfc,
  gamma,
  kolmogorovTail,
  normalCdf,
  normalQuantile,
  regularizedBeta,
  studentCdf,
  studentQuantile,
} from '../../../sim/statistics/special-functions.ts'

// Values from the tables of Abramowitz and Stegun, and from closed forms.
describe('special functions', () => {
  test('gamma', () => {
    expect(gamma(5)).toBeCloseTo(24, 10)
    expect(gamma(0.5)).toBeCloseTo(Math.sqrt(Math.PI), 12)
    expect(gamma(1 + 1 / 0.45)).toBeCloseTo(2.4786, 3)
  })

  test('the normal law and its inverse', () => {
    expect(erfc(0.5)).toBeCloseTo(0.4795001222, 9)
    expect(erfc(3) / 2.209049699858544e-5).toBeCloseTo(1, 8)
    expect(normalCdf(1.959963984540054)).toBeCloseTo(0.975, 12)
    expect(normalCdf(-6) / 9.865876450376946e-10).toBeCloseTo(1, 8)
    expect(normalQuantile(0.995)).toBeCloseTo(2.5758293035, 8)
  })

  test("Student's law: one degree is Cauchy's, many are the normal law", () => {
    expect(studentCdf(1, 1)).toBeCloseTo(0.75, 10)
    expect(studentQuantile(0.975, 4)).toBeCloseTo(2.7764451, 6)
    expect(studentQuantile(0.975, 29)).toBeCloseTo(2.0452296, 6)
    expect(studentQuantile(0.975, 1e6)).toBeCloseTo(1.96, 3)
  })

  test('the incomplete beta function', () => {
    expect(regularizedBeta(0.3, 1, 1)).toBeCloseTo(0.3, 12)
    expect(regularizedBeta(0.5, 4, 4)).toBeCloseTo(0.5, 12)
    expect(regularizedBeta(0.2, 2, 3)).toBeCloseTo(0.1808, 10)
  })

  test("Kolmogorov's law has its usual critical values", () => {
    expect(kolmogorovTail(1.3581)).toBeCloseTo(0.05, 4)
    expect(kolmogorovTail(1.6276)).toBeCloseTo(0.01, 4)
  })
})
