// The architecture of DESIGN as rules that fail: import layers, no cycles, no ambient time or
// chance, pure cores. test/lint-rules.test.ts proves that each of them can fail.
import { defineConfig } from 'oxlint'

/** A rule's options, built once per folder because an override replaces, and never merges, them. */
type Pattern = { group: string[]; message: string; allowTypeImports?: boolean }

const DOMAINS = ['dht', 'context-sharing', 'tasks', 'inference']

const forbidFolders = (folders: string[], message: string): Pattern => ({
  group: folders.flatMap((folder) => [`../${folder}/*`, `../../${folder}/*`, `../${folder}/**`]),
  message,
})

const OUTSIDE: Pattern = {
  group: ['**/sim/**', '**/bench/**', '**/test/**'],
  message: 'src/ never imports sim, bench or test.',
}
const TIMERS: Pattern = {
  group: ['node:timers', 'node:timers/promises', 'timers', 'timers/promises'],
  message: 'Time comes from the injected Clock (src/base/clock.ts).',
}
const IMPURE: Pattern = {
  group: ['node:*', '@libp2p/*', 'libp2p', 'onnxruntime-node', '../base/clock.ts', '../base/system-*.ts'],
  message: 'A core is pure: no clock, no I/O, no promises. Put this in the shell beside it.',
}

const SHELLS: Pattern = {
  group: [
    '**/src/**',
    '!**/src/base/**',
    '!**/src/*/*-core.ts',
    // Plain data that cores take, and the log that a coordinator writes whoever drives it.
    '!**/src/context-sharing/bitfield.ts',
    '!**/src/tasks/coordinator-events.ts',
  ],
  message: 'sim/ drives cores: of src/ it imports *-core.ts, base/ and types, never a shell.',
  allowTypeImports: true,
}

const AMBIENT_GLOBALS = ['setTimeout', 'setInterval', 'setImmediate', 'Date', 'performance', 'crypto'].map(
  (name) => ({
    name,
    message: 'No ambient time or chance: use the injected Clock or Random (src/base/).',
  }),
)
const AMBIENT_PROPERTIES = [
  {
    object: 'Math',
    property: 'random',
    message: 'Chance comes from the injected Random (src/base/random.ts).',
  },
  { object: 'AbortSignal', property: 'timeout', message: 'Deadlines come from src/base/deadline.ts.' },
  {
    object: 'process',
    property: 'hrtime',
    message: 'Time comes from the injected Clock (src/base/clock.ts).',
  },
]

const restrictImports = (...patterns: Pattern[]): ['error', { patterns: Pattern[] }] => [
  'error',
  { patterns },
]

/** What each folder of src/ may not import: imports point down, and domains do not know each other. */
const LAYERS: Record<string, Pattern[]> = {
  base: [
    forbidFolders(
      [...DOMAINS, 'node', 'api', 'cli'],
      'base/ has no domain words and imports nothing above it.',
    ),
  ],
  ...Object.fromEntries(
    DOMAINS.map((domain) => [
      domain,
      [
        forbidFolders(
          [...DOMAINS.filter((other) => other !== domain), 'node', 'api', 'cli'],
          'Domain folders never import each other or what is above: declare the interface you need, node/ wires it.',
        ),
      ],
    ]),
  ),
  node: [forbidFolders(['api', 'cli'], 'Imports point down: cli → api → node → domains → base.')],
  api: [forbidFolders(['cli'], 'Imports point down: cli → api → node → domains → base.')],
  cli: [],
}

const config: ReturnType<typeof defineConfig> = defineConfig({
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import', 'node', 'promise'],
  categories: { correctness: 'error', suspicious: 'error' },
  options: { typeAware: true },
  ignorePatterns: ['node_modules', 'bench/peers', 'out', 'test/fixtures'],
  rules: {
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/await-thenable': 'error',
    'typescript/consistent-type-imports': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    eqeqeq: 'error',
    'no-console': 'error',
    'prefer-const': 'error',
    'no-await-in-loop': 'off',
    'no-shadow': 'off',
    'unicorn/no-array-sort': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'unicorn/require-module-specifiers': 'off',
    'unicorn/require-post-message-target-origin': 'off',
    'import/no-unassigned-import': 'off',
    'import/no-named-as-default-member': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/no-unnecessary-type-arguments': 'off',
    'no-underscore-dangle': 'off',
  },
  overrides: [
    {
      files: ['src/**'],
      rules: {
        'no-restricted-globals': ['error', ...AMBIENT_GLOBALS],
        'no-restricted-properties': ['error', ...AMBIENT_PROPERTIES],
      },
    },
    ...Object.entries(LAYERS).map(([folder, patterns]) => ({
      files: [`src/${folder}/**`],
      rules: { 'no-restricted-imports': restrictImports(OUTSIDE, TIMERS, ...patterns) },
    })),
    ...DOMAINS.concat('node').map((folder) => ({
      files: [`src/${folder}/**/*-core.ts`],
      rules: { 'no-restricted-imports': restrictImports(OUTSIDE, TIMERS, IMPURE, ...(LAYERS[folder] ?? [])) },
    })),
    {
      // The adapters: the only files of src/ that touch the ambient clock, event loop and chance.
      files: ['src/base/event-loop.ts', 'src/base/system-clock.ts', 'src/base/system-random.ts'],
      rules: {
        'no-restricted-globals': 'off',
        'no-restricted-properties': 'off',
        'no-restricted-imports': 'off',
      },
    },
    {
      files: ['sim/**'],
      rules: { 'no-restricted-imports': ['error', { patterns: [SHELLS] }] },
    },
    { files: ['src/cli/**', 'bin/**', 'models/**', 'bench/**', 'test/**'], rules: { 'no-console': 'off' } },
    {
      files: ['test/**'],
      rules: { 'typescript/no-non-null-assertion': 'off', 'typescript/no-explicit-any': 'off' },
    },
  ],
})
export default config
