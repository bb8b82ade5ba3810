/** ln Γ(x) for x > 0: Stirling's series, after shifting x up to where the series is exact to 1e-14. */
function lnGamma(x: number): number {
  let shifted = x
  let correction = 0
  while (shifted < 12) {
    correction -= Math.log(shifted)
    shifted += 1
  }
  const square = 1 / (shifted * shifted)
  const series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680)))) / shifted
  return correction + (shifted - 0.5) * Math.log(shifted) - shifted + 0.5 * Math.log(2 * Math.PI) + series
}

/** Γ(x) for x > 0. */
export function gamma(x: number): number {
  return Math.exp(lnGamma(x))
}

/** 1 − erf(x): the Taylor series of erf near 0, a continued fraction beyond. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x)
  return x < 2 ? 1 - erfSeries(x) : erfcFraction(x)
}

function erfSeries(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n += 1) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

function erfcFraction(x: number): number {
  let fraction = 0
  for (let n = 80; n >= 1; n -= 1) fraction = n / 2 / (x + fraction)
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction)
}

export function normalDensity(z: number): number {
  return Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI)
}

export function normalCdf(z: number): number {
  return 0.5 * erfc(-z / Math.SQRT2)
}

/** The z that a share `p` in (0, 1) of a standard normal lies below. */
export function normalQuantile(p: number): number {
  return invert(normalCdf, p, -40, 40)
}

/** The share of Student's t with `degrees` of freedom that lies below `t`. */
export function studentCdf(t: number, degrees: number): number {
  const tail = 0.5 * regularizedBeta(degrees / (degrees + t * t), degrees / 2, 0.5)
  return t > 0 ? 1 - tail : tail
}

/** The t that a share `p` in (0, 1) of Student's distribution with `degrees` of freedom lies below. */
export function studentQuantile(p: number, degrees: number): number {
  return invert((t) => studentCdf(t, degrees), p, -1e6, 1e6)
}

/** Kolmogorov's limit law: the chance that √n·D exceeds `x` when a sample is from its distribution. */
export function kolmogorovTail(x: number): number {
  if (x < 0.2) return 1
  let sum = 0
  for (let k = 1; k <= 100; k += 1) sum += (k % 2 === 1 ? 1 : -1) * Math.exp(-2 * k * k * x * x)
  return Math.min(1, Math.max(0, 2 * sum))
}

/** I_x(a, b), by the continued fraction of Lentz' kind on the side where it converges fast. */
export function regularizedBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  if (x > (a + 1) / (a + b + 2)) return 1 - regularizedBeta(1 - x, b, a)
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + lnGamma(a + b) - lnGamma(a) - lnGamma(b)) / a
  let fraction = 1
  for (let n = 200; n >= 1; n -= 1) {
    const m = Math.floor(n / 2)
    const term =
      n % 2 === 0
        ? (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
        : (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    fraction = 1 + term / fraction
  }
  return front / fraction
}

/** Where a growing function takes the value `wanted`, between `low` and `high`: bisection to the last bit. */
export function invert(grows: (x: number) => number, wanted: number, low: number, high: number): number {
  let from = low
  let to = high
  for (let step = 0; step < 200; step += 1) {
    const middle = 0.5 * (from + to)
    if (middle === from || middle === to) break
    if (grows(middle) < wanted) from = middle
    else to = middle
  }
  return 0.5 * (from + to)
}
