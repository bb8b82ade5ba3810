import type { Distribution } from './distribution.ts'
import { scaled } from './distribution.ts'
import { HOUR_MS } from './rhythm.ts'

/** How long peers of a known kind stay and stay away, ms. */
export interface SessionPreset {
  /** The measured fleet, and the source. */
  source: string
  up: Distribution
  down: Distribution
}

const weibullHours = (shape: number, scale: number): Distribution =>
  scaled({ kind: 'weibull', shape, scale }, HOUR_MS)

/**
 * Fits of measured fleets. The first seven are the Weibull fits of the Failure Trace Archive (Kondo et
 * al., CCGrid 2010); the spot-* ones are our own, of when a zone had V100 spot instances to give, over
 * 45 days of 2023.
 */
export const SESSION_PRESETS: Readonly<Record<string, SessionPreset>> = {
  'nd-condor': {
    source: 'desktops of the University of Notre Dame under HTCondor',
    up: weibullHours(0.45, 4.16),
    down: weibullHours(0.51, 0.74),
  },
  'office-pc': {
    source: 'desktops of a company',
    up: weibullHours(0.55, 35.3),
    down: weibullHours(0.6, 9.34),
  },
  'home-pc': {
    source: 'home computers with a resident peer-to-peer telephone',
    up: weibullHours(0.64, 10.86),
    down: weibullHours(0.63, 9.48),
  },
  'file-sharing': {
    source: 'peers of the file-sharing network Overnet',
    up: weibullHours(0.85, 2.04),
    down: weibullHours(0.44, 2.98),
  },
  'planet-lab': {
    source: 'the PlanetLab test bed: an extremely heavy tail',
    up: weibullHours(0.33, 19.35),
    down: weibullHours(0.36, 5.59),
  },
  grid: {
    source: "the research grid Grid'5000",
    up: weibullHours(0.48, 14.37),
    down: weibullHours(0.35, 0.47),
  },
  static: {
    source: 'supercomputer nodes at Los Alamos: nearly no churn',
    up: weibullHours(0.48, 816.6),
    down: weibullHours(0.58, 2.18),
  },
  'spot-good': {
    source: 'spot V100s in a zone that mostly has some (us-west-2c)',
    up: weibullHours(0.54, 3.24),
    down: weibullHours(0.91, 0.79),
  },
  'spot-tight': {
    source: 'spot V100s in a zone that has some half of the time (us-east-1c)',
    up: weibullHours(0.73, 1.13),
    down: weibullHours(0.76, 1.38),
  },
  'spot-scarce': {
    source: 'spot V100s in a zone that seldom has any (us-east-1a)',
    up: weibullHours(0.93, 0.69),
    down: weibullHours(0.58, 1.93),
  },
}
