import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { examineImages } from '../../../src/activities/image-evidence.ts';
import type { ImageWork } from '../../../src/activities/image-work.ts';
import type { ScanSpec } from '../../../src/definition/specs/supply-chain.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { SbomMode } from '../../../src/domain/image-scan.ts';
import type { ImageReport } from '../../../src/domain/run.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { createFakeSbomMaker } from '../../support/fakes/sbom-maker.ts';
import { createFakeScanner } from '../../support/fakes/scanner.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-lists-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image: ImageReport = {
  name: 'app',
  repository: 'reg/shop/app',
  digest: `sha256:${'a'.repeat(64)}`,
  tags: [],
  sizeBytes: 1,
  reused: false,
  durationMs: 0,
  evidence: { buildKey: 'k', bases: {}, warnings: [] },
};

interface World {
  readonly sbom?: SbomMode;
  readonly scan?: ScanSpec;
  /** The maker is on the worker. Default: it is. */
  readonly isHere?: boolean;
  /** What the image is. Default: one that can be listed. */
  readonly content?: string;
  readonly buildImages?: 'validate' | 'build' | 'push';
  readonly disk?: 'full';
}

const scan: ScanSpec = {
  ...{ scanner: 'osv-scanner', database: '/nowhere', maxAgeMs: 1, severities: ['critical'], exceptions: [] },
  ...{ mode: 'warn', modes: {} },
};
let runs = 0;

async function examine(world: World) {
  const { sbom = 'auto', isHere = true, buildImages = 'push', disk } = world;
  const { content = JSON.stringify([{ name: 'left-paddle', version: '1.0.0' }]) } = world;
  runs += 1;
  const saved: string[] = [];
  const said: string[] = [];
  const stages: string[] = [];
  const blobs = createFolderBlobs({ folder: join(folder, `blobs-${runs}`) });
  const work = {
    deps: {
      supplyChain: {
        sboms: createFakeSbomMaker({ isHere }),
        scanners: { 'osv-scanner': createFakeScanner() },
        blobs,
      },
      logs: {
        open: () => ({ write: () => 0, say: (line: string) => said.push(line), close: () => Promise.resolve() }),
      },
      facts: {
        stageStarted: () => 0,
        stepStarted: () => 0,
        stepSettled: () => 0,
        stageSettled: ({ report }: { readonly report: { readonly name: string; readonly verdict: string } }) =>
          stages.push(`${report.name} ${report.verdict}`),
      },
    },
    known: {
      pipeline: {
        ...{ stages: [], images: [], builds: { concurrency: 1 } },
        supplyChain: { sbom, ...(world.scan === undefined ? {} : { scan: world.scan }) },
      },
    },
    run: { project: 'shop', key: 'k', number: 7 },
    plan: {
      buildImages,
      version: '1.0.0',
      workspace: { path: join(folder, `run-${runs}`, 'source') },
      environments: [],
    },
    builder: {
      inspect: () => Promise.resolve({ id: image.digest, sizeBytes: 1, digests: [], labels: {} }),
      save(_: string, to: string) {
        if (disk === 'full') return Promise.reject(new ProviderError('DiskFull', 'no room for the image'));
        const path = join(to, 'image.json');
        writeFileSync(path, content);
        saved.push(path);
        return Promise.resolve([{ form: 'docker-archive', path }]);
      },
    },
    signal: new AbortController().signal,
    moved: () => undefined,
  } as unknown as ImageWork;
  const examined = await activityEnvironment().run<[], readonly ImageReport[], () => Promise<readonly ImageReport[]>>(
    () => examineImages(work, [image]),
  );
  const kept = await Promise.all(
    ['sbom.spdx.json', 'sbom.cdx.json'].map((file) => blobs.size(`evidence/shop/7/app/${file}`)),
  );
  return {
    evidence: examined[0]?.evidence,
    kept: kept.filter((size) => size !== undefined).length,
    said,
    stages,
    saved,
  };
}

describe('the bill of materials of an image', () => {
  test('is made and kept without being asked for where its maker is on the worker', async () => {
    const { evidence, kept, stages } = await examine({});
    expect(evidence).toEqual({ ...image.evidence, packages: 1 });
    expect(kept).toBe(2);
    expect(stages).toEqual(['scan passed']);
  });

  test('is not made where its maker is not, which costs nothing and is said', async () => {
    const { evidence, kept, stages, saved } = await examine({ isHere: false });
    expect(evidence).toEqual({ ...image.evidence, unlisted: 'fake is not on the worker that built it' });
    expect([kept, stages, saved]).toEqual([0, [], []]);
  });

  test.each([
    ['that cannot be listed', { content: 'no image' } as const, 'what is in reg/shop/app could not be listed'],
    ['for which there is no room', { disk: 'full' } as const, 'no room for the image'],
  ])('of an image %s fails nothing that nobody asked for, and is said', async (_, world, why) => {
    const { evidence, stages, said, kept } = await examine(world);
    expect(evidence).toEqual({ ...image.evidence, unlisted: why });
    expect(stages).toEqual(['scan errored']);
    expect(said).toContain(`no bill of materials: ${why}`);
    expect(kept).toBe(0);
  });

  test.each([['auto'], ['off']] as const)('is not made of what is thrown away, or not wanted (%s)', async (sbom) => {
    const { evidence, saved } = await examine({ sbom, buildImages: sbom === 'auto' ? 'validate' : 'push' });
    expect(evidence).toEqual(image.evidence);
    expect(saved).toEqual([]);
  });

  test('that is required is asked for wherever its maker is, and the image goes nowhere without', async () => {
    expect((await examine({ sbom: 'required', isHere: false })).evidence).toMatchObject({ packages: 1 });
    await expect(examine({ sbom: 'required', content: 'no image' })).rejects.toMatchObject({ type: 'ScanErrored' });
    await expect(examine({ sbom: 'required', disk: 'full' })).rejects.toMatchObject({ type: 'DiskFull' });
  });

  test('that is required is so also where a scan only warns; where it is not, the scan is errored', async () => {
    await expect(examine({ sbom: 'required', scan, content: 'no image' })).rejects.toMatchObject({
      type: 'ScanErrored',
      message: expect.stringContaining('what is in reg/shop/app could not be listed'),
    });
    const { evidence } = await examine({ sbom: 'auto', scan, content: 'no image', isHere: false });
    expect(evidence).toMatchObject({
      scan: { verdict: 'errored' },
      unlisted: 'what is in reg/shop/app could not be listed',
    });
    // A list is there, and what it was made for is not: that is no lack of a list.
    const unscanned = await examine({ sbom: 'required', scan });
    expect(unscanned.evidence).toMatchObject({ packages: 1, scan: { verdict: 'errored' } });
    expect(unscanned.evidence).not.toHaveProperty('unlisted');
  });
});
