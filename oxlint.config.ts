// The architecture of DESIGN as rules that fail: import layers, no cycles, no ambient time or
// chance, pure cores. test/lint-rules.test.ts proves that each of them can fail.
import { defineConfig } from 'oxlint'

/** A rule's options, built once per folder because an override replaces, and never merges, them. */
type Pattern = { message: string; allowTypeImports?: boolean } & ({ group: string[] } | { regex: string })

const DOWN = 'Imports point down: cli → api → node → domains → base.'
const DOMAINS = ['dht', 'context-sharing', 'tasks', 'inference']

const forbidFolders = (folders: string[], message: string): Pattern => ({
  regex: `^(\\.\\./)+(${folders.join('|')})/`,
  message,
})

const OUTSIDE: Pattern = {
  group: ['**/sim/**', '**/bench/**', '**/test/**', '**/testing/**'],
  message: 'src/ never imports sim, bench, test or testing.',
}
const TIMERS: Pattern = {
  group: ['node:timers', 'node:timers/promises', 'timers', 'timers/promises'],
  message: 'Time comes from the injected Clock (src/base/clock.ts).',
}

/** Outside the `core/` folders, cores may run on these: pure functions and plain data. */
const PURE = [
  '**/base/errors.ts',
  '**/base/invariants.ts',
  '**/base/limits.ts',
  '**/base/random.ts',
  '**/base/json-nesting.ts',
  '**/base/small-map.ts',
  '**/base/waiting/backoff.ts',
  '**/base/work-rate.ts',
  '**/content/bitfield.ts',
  '**/timings.ts',
]
/** Of these cores may take types: test/folders.test.ts holds that they take nothing else. */
const PLAIN_TYPES = [
  '**/base/log/event-log.ts',
  '**/store/store-memory.ts',
  '**/job/request-range.ts',
  '**/wire/*.ts',
]
const except = (paths: string[]): string[] => paths.map((path) => `!${path}`)

const IMPURE: Pattern = {
  group: ['../**/*.ts', '*', ...except(['./*.ts', '**/core/*.ts', ...PURE, ...PLAIN_TYPES])],
  message: 'A core imports other cores, plain types and pure base. Put this in the shell beside it.',
}

const SHELLS: Pattern = {
  group: ['**/src/**/*.ts', ...except(['**/src/base/**/*.ts', '**/core/*.ts', ...PURE])],
  message: 'sim/ drives cores: of src/ it imports core/, base/, timings and types, never a shell.',
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
  {
    object: 'AbortSignal',
    property: 'timeout',
    message: 'Deadlines come from src/base/waiting/deadline.ts.',
  },
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
  node: [forbidFolders(['api', 'cli'], DOWN)],
  api: [forbidFolders(['cli'], DOWN)],
  cli: [],
}

/** A file is one noun, a function one step, and its parameters fit in the head. Tests are lists of cases. */
const LINES_MAX = 400
const FUNCTION_LINES_MAX = 60
const PARAMETERS_MAX = 4
/** A core's step takes state, event, time and chance, and its helpers add what the event is about. */
const CORE_PARAMETERS_MAX = 6
const MEASURED = ['src/**', 'sim/**', 'bench/**', 'testing/**']

type Ceiling = 'max-lines' | 'max-lines-per-function' | 'max-params'
/** Files over a ceiling. Split one by its nouns and take it from here; test/lint-rules.test.ts fails when it stays. */
export const OVER: Record<Ceiling, string[]> = {
  'max-lines': ['testing/virtual/task-world.ts'],
  'max-lines-per-function': [
    'src/node/serving.ts',
    'testing/libp2p-swarm.ts',
    'testing/virtual/task-world.ts',
  ],
  'max-params': ['src/node/contexts/resolve-context.ts', 'src/node/jobs/submit-job.ts'],
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
      files: MEASURED,
      rules: {
        'max-lines': ['error', { max: LINES_MAX }],
        'max-lines-per-function': ['error', { max: FUNCTION_LINES_MAX }],
        'max-params': ['error', { max: PARAMETERS_MAX }],
      },
    },
    {
      files: ['src/**/core/*.ts'],
      rules: { 'max-params': ['error', { max: CORE_PARAMETERS_MAX }] },
    },
    ...Object.entries(OVER).map(([rule, files]) => ({ files, rules: { [rule]: 'off' as const } })),
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
    {
      files: ['src/**/core/*.ts'],
      rules: {
        'no-restricted-imports': restrictImports(IMPURE, forbidFolders(['node', 'api', 'cli'], DOWN)),
      },
    },
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
    {
      files: ['src/cli/**', 'bin/**', 'models/**', 'bench/**', 'examples/**', 'test/**', 'testing/**'],
      rules: { 'no-console': 'off' },
    },
    {
      files: ['test/**', 'testing/**'],
      rules: { 'typescript/no-non-null-assertion': 'off', 'typescript/no-explicit-any': 'off' },
    },
  ],
})
export default config
