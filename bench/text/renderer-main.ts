// A process that renders templates with the library of its argument: a template that ends it, or never ends, ends
// no more than this.
import { rendererOf, type RendererName, type Variables } from './libraries.ts'

const render = rendererOf(process.argv[2] as RendererName)

process.on('message', (message) => {
  const { source, variables } = message as { source: string; variables: Variables }
  try {
    process.send?.({ text: render(source)(variables) })
  } catch {
    process.send?.({ text: null })
  }
})
process.on('disconnect', () => process.exit())
