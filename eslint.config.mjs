import { builtinModules } from 'node:module';
import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import { importX } from 'eslint-plugin-import-x';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/** What the Temporal bundler allows in the sandbox; everything else of Node is refused there. */
const sandboxBuiltins = new Set(['assert', 'url', 'util']);
const nodeBuiltins = builtinModules
  .filter((name) => !name.startsWith('_') && !sandboxBuiltins.has(name))
  .flatMap((name) => [name, `node:${name}`]);

/** The floors of docs/architecture.md, from the top. A folder may import from those after it, never from those before. */
const floors = [
  ['cli', 'dashboard'],
  ['api'],
  ['workers', 'local'],
  ['workflows'],
  ['activities'],
  ['providers'],
  ['effects'],
  ['store'],
  ['definition'],
  ['domain'],
];
const zones = floors.flatMap((floor, index) =>
  floor.flatMap((folder) => [
    ...floors
      .slice(0, index)
      .flat()
      .map((above) => ({
        target: `./src/${folder}`,
        from: `./src/${above}`,
        // The wire to workflows: names and shapes of messages and queues, which API and activities speak.
        ...(above === 'workflows' ? { except: ['./messages.ts', './queues.ts'] } : {}),
        message: `src/${folder} lies below src/${above} and may not know it (docs/architecture.md).`,
      })),
  ]),
);

export default tseslint.config(
  { ignores: ['node_modules', 'dist', '.slipway', 'coverage', 'tests/fixtures', 'examples/hello', 'examples/*/app'] },
  ...tseslint.configs.strictTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    settings: { 'import-x/resolver-next': [createTypeScriptImportResolver()] },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      'import-x/no-cycle': ['error', { maxDepth: 8 }],
      'import-x/no-restricted-paths': ['error', { zones }],
      'import-x/no-default-export': 'error',
      eqeqeq: 'error',
    },
  },
  {
    // One reader of the environment: everything else is given what it needs.
    files: ['src/**/*.ts'],
    ignores: ['src/config.ts', 'src/effects/process.ts', 'src/local/**', 'src/cli/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Read it in src/config.ts and pass it on.' },
      ],
    },
  },
  {
    // One door to processes.
    files: ['src/**/*.ts'],
    ignores: ['src/effects/process.ts', 'src/effects/daemon.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: ['execa', 'child_process', 'node:child_process'].map((name) => ({
            name,
            message: 'src/effects/process.ts is the only door to processes.',
          })),
        },
      ],
    },
  },
  {
    // One seed for all of them, the same in the second try of a failed file.
    files: ['tests/**/*.ts'],
    ignores: ['tests/support/property.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        { paths: [{ name: 'fast-check', message: 'Take fc of tests/support/property.ts, which knows the seed.' }] },
      ],
    },
  },
  {
    files: ['src/workflows/**/*.ts', 'src/domain/**/*.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: nodeBuiltins.map((name) => ({ name, message: 'Not in the workflow sandbox; use an activity.' })),
          patterns: [
            {
              group: [
                '@temporalio/client',
                '@temporalio/worker',
                '@temporalio/activity',
                '@temporalio/testing',
                'zod',
                'execa',
                'dockerode',
                'pg',
                'kysely',
                'fastify',
                '@kubernetes/client-node',
                '**/activities/**',
                '**/providers/**',
                '**/effects/**',
                '**/store/**',
                '**/definition/**',
                '**/api/**',
                '**/workers/**',
                '**/config.ts',
              ],
              allowTypeImports: true,
              message: 'Workflow code may import types only from here.',
            },
          ],
        },
      ],
      'no-restricted-globals': [
        'error',
        'process',
        'Buffer',
        'fetch',
        'setTimeout',
        'setInterval',
        'setImmediate',
        'console',
        'WeakRef',
        'FinalizationRegistry',
      ],
      'no-restricted-properties': [
        'error',
        { object: 'crypto', property: 'randomUUID' },
        { object: 'performance', property: 'now' },
      ],
    },
  },
  {
    files: ['src/workflows/**/*.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        { selector: "MemberExpression[property.name='isReplaying']", message: 'Never branch on replay.' },
        {
          selector: "NewExpression[callee.name='Error']",
          message:
            'A plain Error only fails the workflow task, which is retried for ever; throw an ApplicationFailure.',
        },
      ],
    },
  },
  {
    files: ['tests/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts', 'scripts/**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'off',
    },
  },
  prettier,
);
