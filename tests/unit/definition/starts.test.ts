import { describe, expect, test } from '@jest/globals';
import { loadProject } from '../../../src/definition/load.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import { fillStart } from '../../../src/definition/stage-resolution.ts';
import type { StageSpec } from '../../../src/definition/specs/stage.ts';
import { pairOf, problemsOf } from './documents.ts';

const project = `version: 1
project: shop
repository:
  url: https://forge.example/team/shop.git
  forge: { kind: github, secrets: [{ env: SHOP_WEBHOOK_SECRET }] }
registry: { address: registry.example:5000 }
`;
const repository = (stage: string, more = ''): string =>
  `version: 1\n${more}stages:\n  - { name: contract, ${stage} }\n`;

function problems(stage: string, more?: string): readonly string[] {
  return problemsOf({ repository: repository(stage, more), project });
}

function resolve(stage: string, more?: string): readonly StageSpec[] {
  return resolvePipeline(pairOf({ repository: repository(stage, more), project })).stages;
}

describe('a stage that starts a run of another project', () => {
  test('waits for it an hour unless it says otherwise, and has no steps', () => {
    expect(resolve('starts: { project: api }')).toMatchObject([
      { timeoutMs: 3_600_000, steps: [], starts: { project: 'api', parameters: {}, wait: true } },
    ]);
    expect(resolve('starts: { project: api }')[0]?.starts?.ref).toBeUndefined();
  });

  test('names a branch, or anything else in full', () => {
    expect(resolve('timeout: 5m, starts: { project: api, ref: release/2, wait: false }')).toMatchObject([
      { timeoutMs: 300_000, starts: { ref: 'refs/heads/release/2', wait: false } },
    ]);
    expect(resolve('starts: { project: api, ref: refs/tags/v1.2.0 }')[0]?.starts?.ref).toBe('refs/tags/v1.2.0');
  });

  test('is made for each combination of its matrix, with its values as parameters', () => {
    const stages = resolve(
      'matrix: { values: { DB: [a, b] } }, starts: { project: api, parameters: { db: "{DB}-1" } }',
    );
    expect(stages.map(({ name, starts }) => [name, starts?.parameters['db']])).toEqual([
      ['contract-a', 'a-1'],
      ['contract-b', 'b-1'],
    ]);
  });

  test('hands on what the run knows, once it is known', () => {
    const [stage] = resolve('starts: { project: api, parameters: { v: "{SLIPWAY_VERSION}", n: 3, left: "{x} {Y" } }');
    expect(fillStart(stage!.starts!, { SLIPWAY_VERSION: '4-abc' }).parameters).toEqual({
      v: '4-abc',
      n: '3',
      left: '{x} {Y',
    });
  });

  test.each([
    ['services: { r: { image: redis, port: 1, health: { command: [x] } } }', 'services'],
    ['parallel: true', 'parallel'],
    ['caches: [{ name: c, paths: [x], key: [y] }]', 'caches'],
  ])('has no use for %s', (setting, name) => {
    expect(problems(`${setting}, starts: { project: api }`)).toEqual([
      `stages[0].${name} has no effect on a stage that starts a run of another project`,
    ]);
  });

  test.each([
    ['timeout: 5m', 'stages[0] has no steps'],
    ['starts: { project: api }, steps: [{ name: x, run: [x], image: y }]', 'stages[0].steps stands beside `starts`'],
    ['starts: { project: shop }', 'stages[0].starts.project is `shop`, the project itself: it would go in a circle'],
    [
      'starts: { project: api, parameters: { v: "{VERSION}" } }',
      'stages[0].starts.parameters.v has `{VERSION}`, which no run of it knows',
    ],
    [
      'starts: { project: api, ref: "--upload-pack=x" }',
      'stages[0].starts.ref `--upload-pack=x` is no branch, and no full ref such as `refs/tags/v1.2.0`',
    ],
    [
      'starts: { project: api, ref: refs/notes/x }',
      'stages[0].starts.ref `refs/notes/x` is no branch, and no full ref such as `refs/tags/v1.2.0`',
    ],
  ])('%s: %s', (stage, problem) => {
    expect(problems(stage)).toEqual([problem]);
  });

  test('hands on only parameters that there are', () => {
    const declared = 'parameters: { suite: { type: text } }\n';
    const starts = (name: string): string =>
      `starts: { project: api, parameters: { v: "{SLIPWAY_PARAMETER_${name}}" } }`;
    expect(problems(starts('SUITE'), declared)).toEqual([]);
    expect(problems(starts('SIUTE'), declared)).toEqual([
      'stages[0].starts.parameters.v has `{SLIPWAY_PARAMETER_SIUTE}`, which no run of it knows',
    ]);
    expect(problems(starts('ANY'))).toEqual([]);
  });
});

describe('who may start runs of a project', () => {
  const read = (startedBy: string) =>
    loadProject({ file: 'project.yaml', text: `${project}startedBy: ${startedBy}\n` });

  test('is nobody, unless it says so; then only checks of its release branch', () => {
    const loaded = read('[{ project: front }]');
    expect(loaded.ok && loaded.value.startedBy).toEqual([{ project: 'front', deploys: false }]);
    const none = loadProject({ file: 'project.yaml', text: project });
    expect(none.ok && none.value.startedBy).toEqual([]);
  });

  test('is told from what it may not be', () => {
    expect(read('[{ project: front, refs: [] }]').ok).toBe(false);
    expect(read('[{ refs: [main] }]').ok).toBe(false);
  });

  test('must say of which refs where such runs deploy', () => {
    const loaded = read('[{ project: front, deploys: true }]');
    expect(loaded.ok ? [] : loaded.problems).toEqual([
      expect.objectContaining({ message: expect.stringContaining('which of its refs may start runs that deploy') }),
    ]);
    expect(read('[{ project: front, from: [main], deploys: true }]').ok).toBe(true);
  });
});
