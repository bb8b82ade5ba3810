import { parse, resetSVGDefIds, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import { CONFIG } from './theme.ts'

/** Layers of one picture, and pictures one below the other, as Vega-Lite types them. */
export type Layers = Extract<Figure['spec'], { layer: unknown }>['layer']
export type Panels = Extract<Figure['spec'], { vconcat: unknown }>['vconcat']

/** A picture of a report: `id` is a word of its own in the page. */
export interface Figure {
  id: string
  /** The caption, as in a paper. */
  title: string
  /** How to read it. */
  caption: string
  spec: TopLevelSpec
}

/** The figure as SVG, the same bytes for the same specification. Ids are the figure's own, so that several share a page. */
export async function renderSvg({ id, title, spec }: Figure): Promise<string> {
  resetSVGDefIds()
  const view = new View(parse(compile(spec, { config: CONFIG }).spec), { renderer: 'none' })
  try {
    const svg = await view.toSVG()
    return svg
      .replaceAll(/\b(clip|gradient_)(\d+)\b/g, `${id}-$1$2`)
      .replace('<svg ', `<svg role="img" aria-label="${escapeHtml(title)}" `)
  } finally {
    view.finalize()
  }
}

/** Text as HTML shows it, in elements and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
