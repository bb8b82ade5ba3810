import { readFileSync } from 'node:fs'

/** How a job went, as its event log tells, whoever wrote it: real peers or the simulator. Seconds since it started. */
export interface JobCourse {
  makespanS: number
  /** When each result was committed. */
  committedS: number[]
  links: LinkCourse[]
}

/** One stream of the submitter to one peer, from being asked for to its end. */
export interface LinkCourse {
  peer: string
  askedAtS: number
  /** How long its phases took; undefined for those that it did not go through. */
  openS?: number
  fetchS?: number
  loadS?: number
  /** It loaded the context while the submitter looked on. */
  isColdStart: boolean
  resultsAtS: number[]
}

interface Line {
  t: number
  kind: string
  peer?: string
  phase?: string
}

interface OpenLink {
  course: LinkCourse
  phase: string
  sinceS: number
}

/** Throws when the job did not end. */
export function readJobLog(path: string): JobCourse {
  const [, ...lines] = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
  const zero = lines.find(({ kind }) => kind === 'start')?.t ?? 0
  const courseOf = new Courses()
  for (const { t, ...line } of lines) courseOf.add((t - zero) / 1000, line)
  return courseOf.end(path)
}

class Courses {
  readonly #links: LinkCourse[] = []
  readonly #open = new Map<string, OpenLink>()
  readonly #committedS: number[] = []
  #makespanS: number | undefined

  add(atS: number, { kind, peer = '', phase = '' }: Omit<Line, 't'>): void {
    if (kind === 'finish') this.#makespanS = atS
    if (kind === 'committed') this.#committedS.push(atS)
    if (kind === 'open') return this.#begin(atS, peer)
    const link = this.#open.get(peer)
    if (link === undefined) return
    if (kind === 'opened') {
      link.course.openS = atS - link.sinceS
      this.#links.push(link.course)
    }
    if (kind === 'result') link.course.resultsAtS.push(atS)
    if (kind === 'status' && phase !== link.phase) this.#enter(link, phase, atS)
    if (kind === 'lost') this.#open.delete(peer)
  }

  end(path: string): JobCourse {
    if (this.#makespanS === undefined) throw new Error(`${path}: the job did not end`)
    return { makespanS: this.#makespanS, committedS: this.#committedS, links: this.#links }
  }

  #begin(atS: number, peer: string): void {
    const course = { peer, askedAtS: atS, isColdStart: false, resultsAtS: [] }
    this.#open.set(peer, { course, phase: '', sinceS: atS })
  }

  #enter(link: OpenLink, phase: string, atS: number): void {
    const { course } = link
    if (link.phase === 'fetching') course.fetchS = atS - link.sinceS
    if (link.phase === 'loading') course.loadS = atS - link.sinceS
    if (phase === 'loading') course.isColdStart = true
    link.phase = phase
    link.sinceS = atS
  }
}
