import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { type RunFacts, whyNot } from '../../../src/definition/conditions.ts';
import { combinationsOf, stageNameOf } from '../../../src/definition/matrix.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import type { StageSpec } from '../../../src/definition/specs/stage.ts';
import { pairOf, problemsOf } from './documents.ts';

const hosted = `version: 1
project: shop
repository:
  url: https://forge.example/team/shop.git
  forge: { kind: github, secrets: [{ env: SHOP_WEBHOOK_SECRET }] }
registry: { address: registry.example:5000 }
steps: { image: "node:24", resources: { cpus: 4 }, concurrency: 3 }
`;

function repository(stages: string): string {
  return `version: 1\nstages:\n${stages}`;
}

function resolve(stages: string, facts?: RunFacts): readonly StageSpec[] {
  return resolvePipeline(
    pairOf({ repository: repository(stages), project: hosted }),
    facts === undefined ? {} : { facts },
  ).stages;
}

function problems(stages: string): readonly string[] {
  return problemsOf({ repository: repository(stages), project: hosted });
}

const step = 'steps: [{ name: x, run: [x] }]';

describe('a matrix', () => {
  test('makes a stage of each combination, which has its values as variables and in its image', () => {
    const stages = resolve(`
  - name: unit
    matrix: { values: { PYTHON: ["3.11", 3.12], DB: [sqlite, postgres] }, exclude: [{ PYTHON: 3.11, DB: postgres }], include: [{ PYTHON: "3.13", DB: sqlite }], maxParallel: 2 }
    steps: [{ name: test, run: [pytest], image: "python:{PYTHON}-slim" }]
  - { name: report, ${step} }
`);
    expect(stages.map(({ name }) => name)).toEqual([
      'unit-3-11-sqlite',
      'unit-3-12-sqlite',
      'unit-3-12-postgres',
      'unit-3-13-sqlite',
      'report',
    ]);
    expect(stages[2]).toMatchObject({
      matrix: { PYTHON: '3.12', DB: 'postgres' },
      group: { name: 'unit', limit: 2 },
      steps: [{ image: 'python:3.12-slim', env: { PYTHON: '3.12', DB: 'postgres' } }],
    });
    expect(stages[4]?.needs).toBeUndefined();
  });

  test('puts its values into the paths of reports and artifacts', () => {
    const stages = resolve(`
  - name: unit
    matrix: { values: { PYTHON: ["3.11", "3.12"] } }
    artifacts: [{ name: pages, paths: ["out/{PYTHON}/**"] }]
    reports: [{ kind: html, path: "html-{PYTHON}" }]
    steps: [{ name: test, run: [pytest], reports: [{ kind: junit, path: "out/junit-{PYTHON}*.xml" }] }]
`);
    expect(stages.map(({ reports }) => reports?.map(({ path }) => path))).toEqual([
      ['out/junit-3.11*.xml', 'html-3.11'],
      ['out/junit-3.12*.xml', 'html-3.12'],
    ]);
    expect(stages.map(({ artifacts }) => artifacts[0]?.paths)).toEqual([['out/3.11/**'], ['out/3.12/**']]);
  });

  test('documentation is a folder with a first page', () => {
    const [stage] = resolve(`
  - name: docs
    artifacts: [{ name: api, kind: documentation, paths: [docs/html/] }]
    steps: [{ name: sphinx, run: [make, html] }]
`);
    expect(stage?.artifacts).toMatchObject([{ name: 'api', paths: ['docs/html/**'], entry: 'docs/html/index.html' }]);
  });

  test('whose combinations run one after the other may let them write one report', () => {
    const stage = (most: number): string => `
  - name: unit
    matrix: { values: { P: [1, 2] }, maxParallel: ${most} }
    steps: [{ name: test, run: [pytest], reports: [{ kind: junit, path: junit.xml }] }]
`;
    expect(problems(stage(1))).toEqual([]);
    expect(problems(stage(2))).toEqual([
      'stages[0].steps[0].reports[0].path is `junit.xml` in more than one combination, which run at once in one checkout',
    ]);
  });

  test('is needed by its name, which means all of it', () => {
    const stages = resolve(`
  - { name: unit, matrix: { values: { A: [1, 2] } }, ${step} }
  - { name: report, needs: [unit], ${step} }
`);
    expect(stages[2]).toMatchObject({ name: 'report', needs: ['unit'] });
  });

  test('gives names that are names, differ, and depend on nothing but the values', () => {
    const value = fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom('3.11', '3-11', 'ubuntu-22.04', ''));
    const values = fc.dictionary(
      fc.constantFrom('A', 'B', 'C'),
      fc.uniqueArray(value, { minLength: 1, maxLength: 4 }),
      { minKeys: 1 },
    );
    fc.assert(
      fc.property(values, values, (one, other) => {
        const first = combinationsOf({ values: one, include: [], exclude: [] });
        for (const each of first) {
          const name = stageNameOf('unit', each);
          expect(name).toMatch(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/);
          expect(name.length).toBeLessThanOrEqual(40);
          expect(stageNameOf('unit', { ...each })).toBe(name);
        }
        const count = Object.values(one).reduce((product, some) => product * some.length, 1);
        expect(first).toHaveLength(count);
        const without = combinationsOf({
          values: one,
          include: [],
          exclude: [other as never].map(() => first[0] ?? {}),
        });
        expect(without).toEqual(first.slice(1));
      }),
    );
  });
});

describe('needs', () => {
  test('may name a stage further down, which then runs before', () => {
    const stages = resolve(`
  - { name: b, needs: [c], ${step} }
  - { name: d, ${step} }
  - { name: c, needs: [], ${step} }
`);
    expect(stages.map(({ name, needs }) => [name, needs])).toEqual([
      ['c', []],
      ['b', ['c']],
      ['d', ['b']],
    ]);
  });
});

describe('limits', () => {
  test('of a step are the stricter of both documents', () => {
    const [stage] = resolve(`
  - name: unit
    steps:
      - { name: x, run: [x], resources: { cpus: 2, memory: 1Gi }, network: none }
      - { name: y, run: [y], when: { outcome: always } }
`);
    expect(stage?.steps[0]).toMatchObject({ resources: { cpus: 2, memoryBytes: 2 ** 30 }, network: 'none' });
    expect(stage?.steps[1]).toMatchObject({ resources: { cpus: 4 }, network: 'bridge', timeoutMs: 60_000 });
    // Nobody has said anything of memory: a step that takes all of it would take the machine with it.
    expect(stage?.steps[0]).toMatchObject({ resources: { temporaryBytes: 2 ** 30 } });
    expect(stage?.steps[1]).toMatchObject({ resources: { memoryBytes: 4 * 2 ** 30, temporaryBytes: 2 * 2 ** 30 } });
    expect(stage).toMatchObject({ cleanUpMs: 60_000, parallel: 1, failFast: true });
  });
});

describe('a condition', () => {
  const push: RunFacts = {
    event: { kind: 'push', ref: 'refs/heads/feature/x' },
    parameters: {},
    changed: ['src/a.ts'],
  };
  const always = { outcome: 'success' } as const;

  test.each([
    [{ branch: ['main', 'feature/*'] }, undefined],
    [{ branch: ['main', 'release/*'] }, 'The branch is feature/x, not main or release/*.'],
    [{ event: ['tag' as const] }, 'The run is for a push, not for tag.'],
    [{ path: ['src/**'] }, undefined],
    [{ path: ['docs/**', '*.md'] }, 'Nothing changed in docs/** or *.md.'],
    [{ parameter: { target: ['eu'] } }, 'The run has no parameter target.'],
    [{ branch: ['feature/*'], path: ['docs/**'] }, 'Nothing changed in docs/**.'],
  ])('%j', (when, expected) => {
    expect(whyNot({ ...always, ...when }, push)).toBe(expected);
  });

  test('asks for values of parameters', () => {
    const facts = { ...push, parameters: { target: 'us' } };
    expect(whyNot({ ...always, parameter: { target: ['us', 'eu'] } }, facts)).toBeUndefined();
    expect(whyNot({ ...always, parameter: { target: ['eu'] } }, facts)).toBe('The parameter target is not eu.');
  });

  test('for paths is met where it cannot be told what has changed', () => {
    expect(whyNot({ ...always, path: ['docs/**'] }, { ...push, changed: undefined })).toBeUndefined();
  });

  test('of a stage and of a step is judged when the pipeline is resolved', () => {
    const [stage] = resolve(
      `
  - name: unit
    when: { branch: [main] }
    steps: [{ name: x, run: [x], when: { event: [tag] } }]
`,
      push,
    );
    expect(stage).toMatchObject({
      skip: expect.stringContaining('not main'),
      steps: [{ skip: expect.stringContaining('not for tag') }],
    });
  });
});

describe('what does not fit together', () => {
  const cases: readonly (readonly [string, string, string | RegExp])[] = [
    [
      'a need that is no stage',
      `  - { name: lint, ${step} }\n  - { name: unit, needs: [lnt], ${step} }`,
      'stages[1].needs[0] is `lnt`, which is none of the stages',
    ],
    ['a need of itself', `  - { name: unit, needs: [unit], ${step} }`, 'stages[0].needs[0] is the stage itself'],
    [
      'a circle',
      `  - { name: a, needs: [b], ${step} }\n  - { name: b, needs: [a], ${step} }`,
      'stages[0].needs leads in a circle: a → b → a',
    ],
    [
      'a circle through a stage without needs',
      `  - { name: a, needs: [b], ${step} }\n  - { name: b, ${step} }`,
      'stages[0].needs leads in a circle: a → b → a',
    ],
    [
      'too many combinations',
      `  - { name: unit, matrix: { values: { A: [1,2,3,4,5], B: [1,2,3,4,5], C: [1,2,3] } }, ${step} }`,
      'stages[0].matrix makes more than the 64 combinations that a matrix may have',
    ],
    ['no combination', `  - { name: unit, matrix: {}, ${step} }`, 'stages[0].matrix makes no combination'],
    [
      'two combinations of one name',
      `  - { name: unit, matrix: { values: { A: ["3.1", "3-1"] } }, ${step} }`,
      'stages[0].matrix makes a second stage `unit-3-1`',
    ],
    [
      'a combination named as another stage',
      `  - { name: unit-1, ${step} }\n  - { name: unit, matrix: { values: { A: [1] } }, ${step} }`,
      'stages[1].matrix makes a second stage `unit-1`, as unit-1 does',
    ],
    [
      'a combination named as another matrix',
      `  - { name: unit, matrix: { values: { A: [1] } }, ${step} }\n  - { name: unit-1, matrix: { values: { B: [2] } }, ${step} }`,
      'stages[0].matrix makes a stage `unit-1`, which is the name of a matrix',
    ],
    [
      'an image with a value that the matrix has not',
      `  - { name: unit, matrix: { values: { PYTHON: [3] } }, steps: [{ name: x, run: [x], image: "p:{PYTHN}" }] }`,
      'stages[0].steps[0].image has `{PYTHN}`, which is no value of the matrix in every combination',
    ],
    [
      'an image that a value breaks',
      `  - { name: unit, matrix: { values: { P: ["a b"] } }, steps: [{ name: x, run: [x], image: "p:{P}" }] }`,
      'stages[0].steps[0].image would be `p:a b`, which is no name of an image',
    ],
    [
      'a report with a value that the matrix has not',
      `  - { name: unit, steps: [{ name: x, run: [x], reports: [{ kind: junit, path: "j-{PYTHON}.xml" }] }] }`,
      'stages[0].steps[0].reports[0].path has `{PYTHON}`, which is no value of the matrix; the stage has none',
    ],
    [
      'a report that a value takes out of the repository',
      `  - { name: unit, matrix: { values: { P: [".."] } }, reports: [{ kind: junit, path: "{P}/x.xml" }], ${step} }`,
      'stages[0].reports[0].path would be `../x.xml`, which is no path in the repository',
    ],
    [
      'a report that a value makes a pattern of',
      `  - { name: unit, matrix: { values: { P: ["3.*"] } }, reports: [{ kind: junit, path: "{P}/*.{xml,txt}" }], ${step} }`,
      'stages[0].reports[0].path would be `3.*/*.{xml,txt}`, which matches more than the file of its own combination',
    ],
    [
      'an artifact with a value that the matrix has not',
      `  - { name: unit, matrix: { values: { P: [1] } }, artifacts: [{ name: a, paths: ["{Q}/*"] }], ${step} }`,
      'stages[0].artifacts[0].paths[0] has `{Q}`, which is no value of the matrix in every combination',
    ],
    [
      'two caches of one name',
      `  - { name: unit, caches: [{ name: a, paths: [x], key: [y] }, { name: a, paths: [x], key: [y] }], ${step} }`,
      'stages[0].caches[1].name is `a` a second time',
    ],
    [
      'retry beside once',
      `  - { name: unit, steps: [{ name: x, run: [x], once: true, retry: {} }] }`,
      'stages[0].steps[0].retry stands beside `once`',
    ],
    [
      'an output that two steps give',
      `  - { name: unit, steps: [{ name: x, run: [x], outputs: [A] }, { name: y, run: [x], outputs: [A] }] }`,
      'stages[0].steps[1].outputs[0] is `A`, which unit/x hands on already',
    ],
    [
      'an output that changes what later steps are',
      `  - { name: unit, steps: [{ name: x, run: [x], outputs: [LD_PRELOAD] }] }`,
      /outputs\[0\].*would change how later steps run/,
    ],
    [
      'a cache outside',
      `  - { name: unit, caches: [{ name: a, paths: ["~/../x"], key: [y] }], ${step} }`,
      /caches\[0\]\.paths\[0\].*must be a path in the repository/,
    ],
    [
      'an artifact outside',
      `  - { name: unit, artifacts: [{ name: a, paths: ["/etc/*"] }], ${step} }`,
      /artifacts\[0\]\.paths\[0\].*must be relative/,
    ],
    [
      'documentation that is no folder',
      `  - { name: docs, artifacts: [{ name: a, kind: documentation, paths: ["docs/*.html"] }], ${step} }`,
      'stages[0].artifacts[0].paths[0] is `docs/*.html`, but documentation is one folder below the root of the repository',
    ],
    [
      'documentation that is the whole repository',
      `  - { name: docs, artifacts: [{ name: a, kind: documentation, paths: ["."] }], ${step} }`,
      /paths\[0\] is `\.`, but documentation is one folder/,
    ],
    [
      'documentation that is two folders',
      `  - { name: docs, artifacts: [{ name: a, kind: documentation, paths: [one, two] }], ${step} }`,
      /paths\[1\] is `two`, but documentation is one folder/,
    ],
    [
      'more cores than the project gives',
      `  - { name: unit, steps: [{ name: x, run: [x], resources: { cpus: 8 } }] }`,
      'stages[0].steps[0].resources.cpus is more than the project gives to a step',
    ],
    [
      'more memory than a project gives that says nothing of it',
      `  - { name: unit, steps: [{ name: x, run: [x], resources: { memory: 5Gi } }] }`,
      'stages[0].steps[0].resources.memory is more than the project gives to a step',
    ],
    ['a typo in a condition', `  - { name: unit, when: { branches: [main] }, ${step} }`, /stages\[0\]\.when\.branches/],
  ];
  test.each(cases)('%s', (_, stages, expected) => {
    const found = problems(stages);
    expect(found).toHaveLength(1);
    expect(found[0]).toEqual(typeof expected === 'string' ? expected : expect.stringMatching(expected));
  });

  test('any graph of needs is either refused as a circle or can be brought into an order', () => {
    const graph = fc.array(fc.option(fc.uniqueArray(fc.nat(7), { maxLength: 3 }), { nil: undefined }), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(graph, (needs) => {
        const names = needs.map((_, index) => `s${index}`);
        const text = needs
          .map((own, index) => {
            const list = own?.filter((at) => at < names.length && at !== index).map((at) => `s${at}`);
            return `  - { name: s${index}, ${list === undefined ? '' : `needs: [${list.join(', ')}], `}${step} }`;
          })
          .join('\n');
        const found = problems(text);
        if (found.length > 0) {
          expect(found).toEqual([expect.stringContaining('leads in a circle')]);
          return;
        }
        const stages = resolve(text);
        for (const [index, stage] of stages.entries()) {
          const before = stages.slice(0, index).map(({ name }) => name);
          for (const needed of stage.needs ?? []) expect(before).toContain(needed);
        }
      }),
      { numRuns: 300 },
    );
  });
});
