import { describe, expect, test } from '@jest/globals';
import {
  type Provenance,
  type Statement,
  invocationOf,
  makeProvenance,
  provenanceProblem,
  provenanceType,
} from '../../../src/domain/provenance.ts';
import type { ImageReport, RunPlan } from '../../../src/domain/run.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const plan = {
  run: { project: 'shop', key: 'k1', number: 7 },
  version: '7-ccccccc',
  commit: { sha: 'c'.repeat(40) },
  definition: 'd'.repeat(64),
} as RunPlan;
const image: ImageReport = {
  name: 'app',
  repository: 'reg:5000/shop/app',
  digest,
  tags: ['7-ccccccc'],
  sizeBytes: 1,
  reused: false,
  durationMs: 1,
  evidence: { buildKey: 'b'.repeat(64), bases: { 'node:24': `sha256:${'e'.repeat(64)}` }, warnings: [] },
};
const provenance = makeProvenance({
  plan,
  ref: 'refs/heads/main',
  repository: 'https://forge.example/shop.git',
  image,
  stages: [
    {
      name: 'test',
      verdict: 'passed',
      startedAt: '2026-11-25T10:00:00.000Z',
      durationMs: 5,
      gates: [{ gate: 'coverage', mode: 'warn', verdict: 'failed', blocks: false, reason: '60 %' }],
      steps: [{ name: 'unit', verdict: 'passed', startedAt: '2026-11-25T10:00:00.000Z', durationMs: 5 }],
    },
  ],
  steps: [{ stage: 'test', name: 'unit', executor: 'node:24', digest }],
  builder: { id: 'urn:us', version: '1.0.0' },
  packages: [
    {
      ...{
        package: 'client',
        file: 'client-1.0.0.tgz',
        kind: 'npm',
        index: 'internal',
        name: '@shop/client',
        version: '1.0.0',
      },
      ...{ sha256: 'f'.repeat(64), sizeBytes: 9, address: 'https://npm.example/', alreadyThere: false },
      at: '2026-11-25T10:00:30.000Z',
    },
  ],
  finishedAt: '2026-11-25T10:01:00.000Z',
});
const statement: Statement = {
  subject: [{ name: image.repository, digest: { sha256: 'a'.repeat(64) } }],
  predicateType: provenanceType,
  predicate: provenance,
};
const expected = {
  project: 'shop',
  digest,
  commit: plan.commit.sha,
  definition: plan.definition,
  builder: 'urn:us',
};

test('the run of a statement is found, and none in what others wrote', () => {
  expect(invocationOf(statement)).toBe('run/shop/k1');
  for (const predicate of [null, 'x', {}, { runDetails: {} }]) {
    expect(invocationOf({ ...statement, predicate })).toBeUndefined();
  }
});

test('provenance tells what was done, to what, and by whom', () => {
  expect(provenance).toMatchObject({
    buildDefinition: {
      externalParameters: { project: 'shop', ref: 'refs/heads/main', commit: plan.commit.sha, image: 'app' },
      internalParameters: { definition: plan.definition, run: 7, buildKey: 'b'.repeat(64) },
      resolvedDependencies: [
        { uri: 'git+https://forge.example/shop.git@refs/heads/main', digest: { gitCommit: plan.commit.sha } },
        { uri: 'oci://node:24', digest: { sha256: 'e'.repeat(64) } },
      ],
    },
    runDetails: {
      builder: { id: 'urn:us' },
      metadata: { invocationId: 'run/shop/k1', startedOn: '2026-11-25T10:00:00.000Z' },
      slipway_verdicts: [
        { name: 'test › unit', verdict: 'passed' },
        { name: 'test › gate coverage', verdict: 'failed' },
      ],
    },
  });
});

describe('a verified statement', () => {
  test('of the image and its release has no problem', () => {
    expect(provenanceProblem(statement, expected)).toBeUndefined();
  });

  test.each([
    ['image', { digest: `sha256:${'f'.repeat(64)}` }, 'is about'],
    ['commit', { commit: 'f'.repeat(40) }, 'is of the commit'],
    ['definition', { definition: 'f'.repeat(64) }, 'was made by the definition'],
    ['builder', { builder: 'urn:them' }, 'names the builder'],
    ['project', { project: 'other' }, 'is of the project'],
  ])('of another %s has', (_, other, said) => {
    expect(provenanceProblem(statement, { ...expected, ...other })).toContain(said);
  });

  test.each([
    ['another type', { predicateType: 'https://spdx.dev/Document' }, 'not SLSA provenance'],
    ['no subject', { subject: [] }, 'is about nothing'],
    ['a subject without a digest', { subject: [{ name: 'app' }] }, 'is about sha256:?'],
    ['an empty predicate', { predicate: {} }, 'does not tell of a build by Slipway'],
    ['no predicate', { predicate: null }, 'does not tell of a build by Slipway'],
    [
      'another kind of build',
      {
        predicate: {
          ...provenance,
          buildDefinition: { buildType: 'https://example.com/make' },
        } as unknown as Provenance,
      },
      'does not tell of a build by Slipway',
    ],
  ])('with %s has', (_, other, said) => {
    expect(provenanceProblem({ ...statement, ...other }, expected)).toContain(said);
  });
});
