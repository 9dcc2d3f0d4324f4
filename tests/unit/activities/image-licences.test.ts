import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { examineImages } from '../../../src/activities/image-evidence.ts';
import { imagesEvidenceKey, judgeImages } from '../../../src/activities/image-gate.ts';
import { gatesOfImages } from '../../../src/activities/image-licences.ts';
import type { ImageWork } from '../../../src/activities/image-work.ts';
import { gatesWithoutStage } from '../../../src/activities/run-plan.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import type { StageEvidence } from '../../../src/domain/evidence.ts';
import type { ImageReport, RunPlan } from '../../../src/domain/run.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { createMemoryLists } from '../../support/fakes/builds.ts';
import { createFakeSbomMaker } from '../../support/fakes/sbom-maker.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';
import { pairOf, projectText, repositoryText } from '../definition/documents.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-licences-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pads = { name: 'left-paddle', version: '1.0.0', licence: 'MIT' };
const bash = { name: 'bash', version: '5.2', licence: 'GPL-3.0-or-later', deb: true };
const mystery = { name: 'mystery', version: '0.1' };

interface World {
  /** Settings of `gates.dependencies` of the project. */
  readonly gate?: string;
  /** The same of its production. */
  readonly ofProduction?: string;
  /** `images` of the project. */
  readonly images?: string;
  /** What is in the image; of several platforms in each. Null: it cannot be listed. */
  readonly content?: readonly object[] | null;
  readonly platforms?: Readonly<Record<string, readonly object[]>>;
  readonly isHere?: boolean;
  readonly buildImages?: RunPlan['buildImages'];
}

let runs = 0;

function documents({ gate, ofProduction, images }: World) {
  const production = ofProduction === undefined ? '' : `    gates: { dependencies: { ${ofProduction} } }\n`;
  return pairOf({
    repository: repositoryText,
    project: projectText
      .replace('  production:\n', `  production:\n${production}`)
      .concat(gate === undefined ? '' : `gates: { dependencies: { ${gate} } }\n`)
      .concat(images === undefined ? '' : `images: ${images}\n`),
  });
}

async function build(world: World) {
  runs += 1;
  const { content = [pads], platforms, isHere = true, buildImages = 'push' } = world;
  const pair = documents(world);
  const pipeline = resolvePipeline(pair);
  const blobs = createFolderBlobs({ folder: join(folder, `blobs-${runs}`) });
  const run = { project: 'shop', key: 'k', number: 7 };
  const image: ImageReport = {
    ...{ name: 'app', repository: 'reg/shop/app', digest: `sha256:${'a'.repeat(64)}`, tags: [], sizeBytes: 1 },
    ...{ reused: false, durationMs: 0 },
    evidence: {
      ...{ buildKey: 'k', bases: {}, warnings: [] },
      ...(platforms === undefined
        ? {}
        : {
            platforms: Object.keys(platforms).map((platform) => ({
              platform,
              digest: `sha256:${platform}`,
              sizeBytes: 1,
            })),
          }),
    },
  };
  let listed = 0;
  const work = {
    deps: {
      supplyChain: { sboms: createFakeSbomMaker({ isHere }), blobs },
      lists: createMemoryLists(),
      logs: { open: () => ({ write: () => 0, say: () => undefined, close: () => Promise.resolve() }) },
      facts: {
        stageStarted: () => 0,
        stepStarted: () => 0,
        stepSettled: () => 0,
        stageSettled: () => 0,
      },
    },
    known: { pair, pipeline },
    run,
    plan: {
      buildImages,
      version: '1.0.0',
      workspace: { path: join(folder, `run-${runs}`, 'source'), queue: 'here' },
      environments: ['production'],
    },
    builder: {
      inspect: () => Promise.resolve({ id: image.digest, sizeBytes: 1, digests: [], labels: {} }),
      save(_: string, to: string) {
        listed += 1;
        const each: readonly (readonly [string | undefined, readonly object[] | null])[] =
          platforms === undefined ? [[undefined, content]] : Object.entries(platforms);
        return Promise.resolve(
          each.map(([platform, packages], index) => {
            const path = join(to, `image-${index}.json`);
            writeFileSync(path, packages === null ? 'no image' : JSON.stringify(packages));
            return { platform, form: 'docker-archive', path };
          }),
        );
      },
    },
    signal: new AbortController().signal,
    moved: () => undefined,
  } as unknown as ImageWork;
  const judged = await activityEnvironment().run<[], readonly ImageReport[], () => Promise<readonly ImageReport[]>>(
    async () => judgeImages(work, await examineImages(work, [image])),
  );
  const key = imagesEvidenceKey(run);
  const kept =
    (await blobs.size(key)) === undefined
      ? undefined
      : (JSON.parse(await text(await blobs.read(key))) as StageEvidence);
  return { evidence: judged[0]!.evidence, kept, listed };
}

describe('licences of what is in an image', () => {
  test('that are denied block the push, with image, package and licence', async () => {
    const denied = build({
      gate: 'mode: block, licences: { deny: [GPL-3.0-or-later] }',
      content: [pads, bash],
    });
    await expect(denied).rejects.toMatchObject({
      type: 'GateBlocked',
      retryable: false,
      message: expect.stringContaining('Gate dependencies failed: fake-0.0.0: 1 finding counts: 1 high'),
      details: {
        gates: ['dependencies'],
        lastLines: ['high licence-denied: bash 5.2 in image app: its licence `GPL-3.0-or-later` is denied'],
      },
    });
  });

  test('that are allowed pass, and stand with the image and with the evidence of the run', async () => {
    const { evidence, kept } = await build({ gate: 'mode: block, licences: { allow: [MIT] }' });
    expect(evidence?.licences).toMatchObject({ gate: 'dependencies', verdict: 'passed', blocks: false });
    expect(evidence).not.toHaveProperty('gate');
    expect(kept).toMatchObject({
      reports: [
        {
          ...{ gate: 'dependencies', kind: 'spdx', state: 'read', path: 'app', contentOf: 'app' },
          lookedAt: '1 package of app',
          packages: [pads],
        },
      ],
      gates: [{ gate: 'dependencies', verdict: 'passed' }],
    });
  });

  test('that are not known count as what is not known does', async () => {
    const { kept } = await build({ gate: 'mode: warn, licences: { allow: [MIT] }', content: [pads, mystery] });
    expect(kept?.gates).toMatchObject([
      {
        verdict: 'failed',
        blocks: false,
        findings: [{ rule: 'licence-unknown', severity: 'high', file: 'app', component: { name: 'mystery' } }],
      },
    ]);
  });

  test('of packages of its distribution do not count where only libraries are asked for', async () => {
    const gate = 'mode: block, licences: { allow: [MIT], images: libraries }';
    const { kept } = await build({ gate, content: [pads, bash] });
    // Kept with the rest: an environment may ask for all.
    expect(kept?.reports).toMatchObject([{ packages: [pads, { name: 'bash', system: true }] }]);
    await expect(build({ gate, content: [bash, mystery] })).rejects.toMatchObject({
      details: { lastLines: [expect.stringContaining('mystery 0.1 in image app')] },
    });
  });

  test('of several platforms are those of all of them', async () => {
    const { kept } = await build({
      gate: 'mode: warn, licences: { allow: [MIT] }',
      platforms: { 'linux/amd64': [pads], 'linux/arm64': [pads, bash] },
    });
    expect(kept).toMatchObject({
      reports: [{ lookedAt: '2 packages of app' }],
      gates: [{ findings: [{ message: expect.stringContaining('bash 5.2 in image app') }] }],
    });
  });

  test.each<[string, World, string]>([
    ['cannot be listed', { content: null }, 'could not be listed'],
    ['has nothing that is a package', { content: [] }, 'looked at no package'],
  ])('of an image that %s are errored, which blocks', async (_, world, why) => {
    await expect(build({ gate: 'mode: block, licences: { allow: [MIT] }', ...world })).rejects.toMatchObject({
      type: 'GateErrored',
      message: expect.stringContaining(why),
    });
  });

  test.each<[string, World]>([
    ['that is on no worker yet', { isHere: false }],
    ['that the project does not want for itself', { images: '{ sbom: off }' }],
  ])('are reason enough for a list by a program %s', async (_, world) => {
    const { evidence } = await build({ gate: 'licences: { allow: [MIT] }', ...world });
    expect(evidence).toMatchObject({ packages: 1, licences: { verdict: 'passed' } });
  });

  test('that only an environment asks for are kept for its plan, and not judged before', async () => {
    const { evidence, kept } = await build({
      ofProduction: 'mode: block, licences: { allow: [MIT] }',
      content: [bash],
    });
    expect(evidence).not.toHaveProperty('licences');
    expect(kept).toMatchObject({ reports: [{ contentOf: 'app' }], gates: [] });
  });

  test.each<[string, World]>([
    ['nobody asks for any', {}],
    ['the gate is off', { gate: 'mode: off, licences: { deny: [GPL-3.0-or-later] }' }],
    ['they are not asked of images', { gate: 'mode: block, licences: { deny: [GPL-3.0-or-later], images: off }' }],
    [
      'the image is thrown away',
      { gate: 'mode: block, licences: { deny: [GPL-3.0-or-later] }', buildImages: 'validate' },
    ],
  ])('are nobody’s business where %s', async (_, world) => {
    const { evidence, kept, listed } = await build({ content: [bash], ...world });
    expect(evidence).not.toHaveProperty('licences');
    expect(kept).toBeUndefined();
    expect(listed).toBe(world.buildImages === 'validate' ? 0 : 1);
  });
});

describe('gates that images answer for', () => {
  const licences = 'mode: block, licences: { allow: [MIT] }';
  const gatesOf = (world: World, buildImages: RunPlan['buildImages'] = 'push') =>
    gatesOfImages(resolvePipeline(documents(world)), { buildImages });

  test('are that of containers where they are scanned, and that of dependencies where their licences are asked', () => {
    expect(gatesOf({})).toEqual([]);
    expect(gatesOf({ images: '{ scan: { database: /db } }' })).toEqual(['container']);
    expect(gatesOf({ gate: licences, images: '{ scan: { database: /db } }' })).toEqual(['container', 'dependencies']);
    expect(gatesOf({ gate: licences.replace('[MIT]', '[MIT], images: off') })).toEqual([]);
  });

  test.each(['none', 'validate'] as const)('are no licences of images that are not kept (%s)', (buildImages) => {
    expect(gatesOf({ gate: licences }, buildImages)).toEqual([]);
  });

  test('need no stage, but for kinds of report that are no list', () => {
    const without = (gate: string, buildImages: RunPlan['buildImages']) => () => {
      const pair = documents({ gate });
      return gatesWithoutStage(pair, { ...resolvePipeline(pair), stages: [] }, { buildImages });
    };
    expect(without(licences, 'push')()).toEqual([]);
    expect(without(licences, 'none')).toThrow('No stage of this run feeds what the project asks for: dependencies.');
    expect(without(`${licences}, reports: [pip-audit]`, 'push')).toThrow('dependencies');
  });
});
