import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { examineImages } from '../../../src/activities/image-evidence.ts';
import { evidenceFiles } from '../../../src/activities/image-files.ts';
import type { ImageWork } from '../../../src/activities/image-work.ts';
import type { ScanSpec } from '../../../src/definition/specs/supply-chain.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { SbomMode } from '../../../src/domain/image-scan.ts';
import type { ImageReport, RunPlan } from '../../../src/domain/run.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { createMemoryLists } from '../../support/fakes/builds.ts';
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
  /** Of the run. Default: 7. */
  readonly number?: number;
  /** Where runs keep their evidence, if several share it. */
  readonly shared?: Shared;
  /** How the maker lists; null where it does not say. */
  readonly method?: string | null;
  /** Of what was built. Default: a digest that is always the same. */
  readonly digest?: string;
  readonly platforms?: readonly string[];
  /** The engine does not have it. */
  readonly elsewhere?: boolean;
}

/** What outlives a run. */
interface Shared {
  readonly blobs: BlobStore;
  readonly lists: ReturnType<typeof createMemoryLists>;
}

function share(): Shared {
  runs += 1;
  return { blobs: createFolderBlobs({ folder: join(folder, `shared-${runs}`) }), lists: createMemoryLists() };
}

const scan: ScanSpec = {
  ...{ scanner: 'osv-scanner', database: '/nowhere', maxAgeMs: 1, severities: ['critical'], exceptions: [] },
  ...{ mode: 'warn', modes: {} },
};
let runs = 0;

async function examine(world: World) {
  const { sbom = 'auto', isHere = true, buildImages = 'push', disk, number = 7, method = 'fake-0.0.0' } = world;
  const { shared = share(), digest = image.digest, platforms } = world;
  const { blobs, lists } = shared;
  let isElsewhere = world.elsewhere === true;
  const { content = JSON.stringify([{ name: 'left-paddle', version: '1.0.0' }]) } = world;
  runs += 1;
  const saved: string[] = [];
  const said: string[] = [];
  const stages: string[] = [];
  const fetched: string[] = [];
  const built: ImageReport = {
    ...image,
    digest,
    evidence: {
      ...{ buildKey: 'k', bases: {}, warnings: [] },
      ...(platforms === undefined
        ? {}
        : { platforms: platforms.map((platform) => ({ platform, digest: `sha256:${platform}`, sizeBytes: 1 })) }),
    },
  };
  const workspace = { path: join(folder, `run-${runs}`, 'source'), queue: 'here' };
  const work = {
    deps: {
      supplyChain: {
        sboms: createFakeSbomMaker({ isHere, method }),
        scanners: { 'osv-scanner': createFakeScanner() },
        blobs,
      },
      lists,
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
      pair: { project: { environments: {} } },
      pipeline: {
        ...{ stages: [], images: [], builds: { concurrency: 1 } },
        supplyChain: { sbom, ...(world.scan === undefined ? {} : { scan: world.scan }) },
      },
    },
    run: { project: 'shop', key: 'k', number },
    registry: { address: 'reg', insecure: false },
    plan: {
      buildImages,
      version: `${number}.0.0`,
      workspace,
      environments: [],
    },
    builder: {
      inspect: () =>
        Promise.resolve(isElsewhere ? undefined : { id: image.digest, sizeBytes: 1, digests: [], labels: {} }),
      resolve(references: readonly string[]) {
        fetched.push(...references);
        isElsewhere = false;
        return Promise.resolve({});
      },
      save(_: string, to: string) {
        if (disk === 'full') return Promise.reject(new ProviderError('DiskFull', 'no room for the image'));
        return Promise.resolve(
          (platforms ?? [undefined]).map((platform) => {
            const path = join(to, `image${platform?.replace('/', '-') ?? ''}.json`);
            writeFileSync(path, content);
            saved.push(path);
            return { platform, form: 'docker-archive', path };
          }),
        );
      },
    },
    signal: new AbortController().signal,
    moved: () => undefined,
  } as unknown as ImageWork;
  const examined = await activityEnvironment().run<[], readonly ImageReport[], () => Promise<readonly ImageReport[]>>(
    () => examineImages(work, [built]),
  );
  const kept = await Promise.all(
    ['sbom.spdx.json', 'sbom.cdx.json'].map((file) => blobs.size(`evidence/shop/${number}/app/${file}`)),
  );
  lists.record({ project: 'shop', number }, examined);
  return {
    evidence: examined[0]?.evidence,
    kept: kept.filter((size) => size !== undefined).length,
    said,
    stages,
    saved,
    fetched,
    /** What is left in the workspace to be attested. */
    files: (platform?: string) => filesOf({ workspace }, platform),
  };
}

function filesOf(plan: Pick<RunPlan, 'workspace'>, platform?: string): readonly string[] {
  const { spdx, cyclonedx } = evidenceFiles(plan, 'app', platform);
  return [spdx, cyclonedx].filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8'));
}

async function keptFiles({ blobs }: Shared, number: number, of = ''): Promise<readonly string[]> {
  return await Promise.all(
    ['sbom.spdx.json', 'sbom.cdx.json'].map(async (file) =>
      text(await blobs.read(`evidence/shop/${number}/app/${of}${file}`)),
    ),
  );
}

const listed = { list: { method: 'fake-0.0.0', spdx: expect.any(String), cyclonedx: expect.any(String) } };

describe('the bill of materials of an image', () => {
  test('is made and kept without being asked for where its maker is on the worker', async () => {
    const { evidence, kept, stages } = await examine({});
    expect(evidence).toEqual({ ...image.evidence, packages: 1, ...listed });
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

describe('the bill of materials of an image that is taken again', () => {
  test('is that of the run before, without a look at the image, as a list of its own run', async () => {
    const shared = share();
    await examine({ shared });
    const again = await examine({ shared, number: 8, elsewhere: true });
    expect(again.evidence).toEqual({ ...image.evidence, packages: 1, ...listed });
    expect([again.saved, again.fetched, again.stages]).toEqual([[], [], ['scan passed']]);
    expect(again.said).toEqual(['1 packages, listed in run 7 by fake 0.0.0']);
    // What is attested is what is kept, and names the version of its run.
    const kept = await keptFiles(shared, 8);
    expect(again.files()).toEqual(kept);
    expect(JSON.parse(kept[1]!)).toMatchObject({ metadata: { component: { name: 'reg/shop/app', version: '8.0.0' } } });
    expect(JSON.parse((await keptFiles(shared, 7))[1]!)).toMatchObject({
      metadata: { component: { version: '7.0.0' } },
    });
    // Each run has its own, so the next does not ask whether the first is there still.
    await shared.blobs.removeAll('evidence/shop/7');
    expect((await examine({ shared, number: 9 })).said).toEqual(['1 packages, listed in run 8 by fake 0.0.0']);
  });

  test.each<[string, Partial<World>]>([
    ['has another digest', { digest: `sha256:${'b'.repeat(64)}` }],
    ['would be listed by another program', { method: 'fake-0.0.1' }],
    ['is listed by a program that does not say which it is', { method: null }],
  ])('is made anew where it %s', async (_, other) => {
    const shared = share();
    await examine({ shared });
    const again = await examine({ shared, number: 8, ...other });
    expect(again.saved).toHaveLength(1);
    expect(again.said).toEqual(['1 packages, listed by fake 0.0.0']);
    expect(again.kept).toBe(2);
  });

  test.each<[string, (shared: Shared) => Promise<unknown>, string]>([
    ['is not there any more', ({ blobs }) => blobs.removeAll('evidence/shop/7'), 'sbom.spdx.json'],
    [
      'is there by half',
      ({ blobs }) => blobs.remove('evidence/shop/7/app/sbom.cdx.json'),
      'evidence/shop/7/app/sbom.cdx.json',
    ],
    [
      'was touched by somebody',
      async ({ blobs }) => {
        const key = 'evidence/shop/7/app/sbom.cdx.json';
        const whole = await text(await blobs.read(key));
        await blobs.put(key, Buffer.from(whole.replace('left-paddle', 'left-puddle')));
      },
      'evidence/shop/7/app/sbom.cdx.json is not what was kept',
    ],
  ])('is made anew where that of before %s, which is said', async (_, spoil, why) => {
    const shared = share();
    await examine({ shared });
    await spoil(shared);
    // Half of a list that was not taken is nothing that could be attested.
    const none = await examine({ shared, number: 8, content: 'no image' });
    expect(none.evidence).toHaveProperty('unlisted');
    expect(none.files()).toEqual([]);
    const again = await examine({ shared, number: 9 });
    expect(again.saved).toHaveLength(1);
    expect(again.said).toEqual([
      expect.stringContaining('the list of run 7 is not taken: '),
      '1 packages, listed by fake 0.0.0',
    ]);
    expect(again.said[0]).toContain(why);
    expect((await keptFiles(shared, 9))[1]).toContain('left-paddle');
  });

  test('of several platforms is that of each, or all are listed', async () => {
    const shared = share();
    const platforms = ['linux/amd64', 'linux/arm64'];
    await examine({ shared, platforms });
    const again = await examine({ shared, platforms, number: 8 });
    expect(again.saved).toEqual([]);
    expect(again.evidence).toMatchObject({
      platforms: platforms.map((platform) => ({ platform, packages: 1, ...listed })),
      packages: 1,
    });
    expect(again.evidence).not.toHaveProperty('list');
    for (const platform of platforms) {
      const of = `${platform.replace('/', '-')}.`;
      expect(again.files(platform)).toEqual(await keptFiles(shared, 8, of));
    }
    await shared.blobs.remove('evidence/shop/8/app/linux-arm64.sbom.spdx.json');
    const half = await examine({ shared, platforms, number: 9, content: 'no image' });
    expect(half.saved).toHaveLength(2);
    expect(half.evidence).toMatchObject({ unlisted: 'what is in reg/shop/app could not be listed' });
    for (const platform of platforms) expect(half.files(platform)).toEqual([]);
  });

  test('is scanned anew, and the image fetched for who reads its layers', async () => {
    const shared = share();
    await examine({ shared });
    const again = await examine({ shared, scan, number: 8, elsewhere: true });
    expect(again.saved).toEqual([]);
    expect(again.fetched).toEqual([`reg/shop/app@${image.digest}`]);
    expect(again.evidence).toMatchObject({ packages: 1, scan: { verdict: 'errored' }, ...listed });
  });
});
