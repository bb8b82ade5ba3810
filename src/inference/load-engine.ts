import type { LoadEngine } from './engine.ts'

/** Loads the engine that the options name. Each engine's code, and its native library, is imported only then. */
export const loadEngine: LoadEngine = async (folder, options, components) => {
  if (options.engine === 'fake') {
    const { loadFakeEngine } = await import('./engines/fake-engine.ts')
    return await loadFakeEngine(folder, options, components)
  }
  const { loadOrtEngine } = await import('./engines/ort-engine.ts')
  return await loadOrtEngine(folder, options, components)
}
