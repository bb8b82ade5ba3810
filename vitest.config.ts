import { defineConfig } from 'vitest/config'
import { TimePerFile } from './testing/runs/time-per-file.ts'

// Two projects: quick in-process tests run beside one another; end-to-end tests start real peer
// processes, mostly waiting for one another, and run two files at a time: two cores are enough.
const config: ReturnType<typeof defineConfig> = defineConfig({
  test: {
    reporters: ['default', new TimePerFile()],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          setupFiles: ['test/check-steps.ts'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          setupFiles: ['test/check-steps.ts'],
          env: { HEARTH_CHECK: '1' },
          testTimeout: 90_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
    ],
  },
})
export default config
