import { describe, expect, test } from '@jest/globals';
import { buildImage } from '../../../src/activities/image-build.ts';
import { pushImage } from '../../../src/activities/image-push.ts';
import type { ImageEnd, ImageWork, OpenedRegistry } from '../../../src/activities/image-work.ts';
import type { ImageSpec } from '../../../src/definition/specs/image.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { imagesToPrune } from '../../../src/domain/retention.ts';
import type { BuildRequest, ImageBuilder, LocalImage } from '../../../src/providers/builders/port.ts';
import { createMemoryBuilds } from '../../support/fakes/builds.ts';

const idOf = (number: number): string => `sha256:${number.toString(16).padStart(64, '0')}`;
const base = idOf(0xba5e);
const never = (): never => {
  throw new Error('nobody asks for this here');
};

const image: ImageSpec = {
  name: 'app',
  repository: 'reg/shop/app',
  context: '.',
  dockerfile: 'Dockerfile',
  args: {},
  platforms: [],
  network: 'default',
  secrets: { npm: { kind: 'env', name: 'NPM' } },
  ssh: {},
};

/** An engine with images, some of which are nobody's; a build makes a new one with the labels that were asked for. */
function createEngine(): {
  readonly builder: ImageBuilder;
  readonly requests: BuildRequest[];
  /** What the builder was asked for bases with. */
  readonly asked: Parameters<ImageBuilder['resolve']>[1][];
  /** `repository:tag` of every tag that was given. */
  readonly tagged: string[];
  plant(labels: LocalImage['labels']): string;
} {
  const images = new Map<string, LocalImage>([[base, { id: base, sizeBytes: 1, digests: [], labels: {} }]]);
  const requests: BuildRequest[] = [];
  const asked: Parameters<ImageBuilder['resolve']>[1][] = [];
  const tagged: string[] = [];
  const add = (labels: LocalImage['labels']): LocalImage => {
    const made = { id: idOf(images.size), sizeBytes: 1, digests: [], labels };
    images.set(made.id, made);
    return made;
  };
  const builder: ImageBuilder = {
    inspect: (reference) => Promise.resolve(images.get(reference)),
    resolve(references, options) {
      asked.push(options);
      return Promise.resolve(Object.fromEntries(references.map((name) => [name, base])));
    },
    build(request) {
      requests.push(request);
      return Promise.resolve(add(request.labels));
    },
    list: (labels) =>
      Promise.resolve(
        [...images.values()]
          .filter((each) => Object.entries(labels).every(([name, value]) => each.labels[name] === value))
          .map(({ id, sizeBytes, labels: own }) => ({
            id,
            sizeBytes,
            labels: own,
            tags: [],
            digests: [],
            createdAt: '',
          })),
      ),
    tag: (_, repository, tag) => Promise.resolve(void tagged.push(`${repository}:${tag}`)),
    remove: (id) => Promise.resolve(void images.delete(id)),
    readLayers: never,
    isUsed: never,
    discard: never,
    save: never,
    readRoot: never,
  };
  return { builder, requests, asked, tagged, plant: (labels) => add(labels).id };
}

interface World {
  readonly fork?: boolean;
  readonly buildImages?: 'validate' | 'build' | 'push';
  readonly spec?: Partial<ImageSpec>;
  /** The store is away. */
  readonly away?: boolean;
  readonly run?: number;
  readonly maxSizeBytes?: number;
  readonly tags?: readonly string[];
}

function createWorld() {
  const engine = createEngine();
  const builds = createMemoryBuilds();
  const said: string[] = [];
  /** Users of the platforms of everything in the registry; empty: what is there is no list. */
  const users = new Map<string, string>();
  const log = {
    write: () => undefined,
    say: (line: string) => void said.push(line),
    close: () => Promise.resolve(),
  };

  function workOf(world: World): ImageWork {
    const { fork, buildImages = 'build', away = false, run = 7 } = world;
    const { maxSizeBytes = 1_000_000, tags = ['{build}-{commit}'] } = world;
    const gone = (): Promise<never> => Promise.reject(new ProviderError('StoreUnavailable', 'away'));
    return {
      deps: {
        claims: { claim: () => Promise.resolve(true) },
        builds: away
          ? { listBuilt: gone, recordBuilt: gone, find: gone, latest: gone, record: gone, forget: gone }
          : builds,
        repositories: {
          listTree: () => Promise.resolve([{ mode: '100644', object: 'a'.repeat(40), path: 'main.js' }]),
          readFile: ({ path }: { readonly path: string }) =>
            Promise.resolve(path.endsWith('Dockerfile') ? 'FROM base:1\nUSER 1000\n' : undefined),
        },
        readSecret: () => Promise.resolve('s3cret'),
        openRegistry: () => Promise.resolve(registry),
      },
      known: {
        input: { event: { ref: 'refs/heads/main', after: 'c'.repeat(40), ...(fork === undefined ? {} : { fork }) } },
        pair: { project: { repository: { url: 'https://example.com/shop.git', releaseBranch: 'main' } } },
        pipeline: { supplyChain: { maxSizeBytes, tags, verify: 'digest' } },
      },
      run: { project: 'shop', key: 'k', number: run },
      plan: { buildImages, version: '7-ccccccc', commit: { sha: 'c'.repeat(40), at: '2026-11-26T00:00:00Z' } },
      registry: {
        ...{ address: 'reg', insecure: false },
        credentials: { address: 'reg', username: 'ada', password: 'hunter2' },
      },
      builder: engine.builder,
      buildKit: engine.builder,
      layouts: undefined,
      signal: new AbortController().signal,
      moved: () => undefined,
    } as unknown as ImageWork;
  }
  const registry = {
    manifests: {
      readManifest: () => Promise.resolve(undefined),
      readContent: (_: string, digest: string) =>
        Promise.resolve({ digest, manifests: [...users.keys()], blobs: [{ digest: idOf(1), sizeBytes: 5 }] }),
      readPlatforms: () =>
        Promise.resolve([...users.keys()].map((digest) => ({ platform: `linux/${digest}`, digest }))),
      readUser: (_: string, digest: string) => Promise.resolve(users.get(digest)),
    },
    pusher: { push: ({ id }: { readonly id: string }) => Promise.resolve(id.replace('sha256:0', 'sha256:f')) },
  } as unknown as OpenedRegistry;

  return {
    ...engine,
    said,
    users,
    build: (world: World = {}): Promise<ImageEnd> =>
      buildImage(workOf(world), { ...image, ...world.spec }, log, () => Promise.resolve('/context')),
    push: ({ image: built }: ImageEnd, world: World = {}): Promise<ImageEnd> =>
      pushImage(workOf({ buildImages: 'push', ...world }), built, { stages: [], packages: [] }, log, registry),
  };
}

describe('an image of equal inputs', () => {
  test('is the one that a worker has built, and not built again', async () => {
    const world = createWorld();
    const first = await world.build();
    const again = await world.build();
    expect(again.image).toMatchObject({ digest: first.image.digest, reused: true });
    expect(world.requests).toHaveLength(1);
  });

  test('is never one that only carries the labels of it', async () => {
    const world = createWorld();
    const { image: honest } = await world.build({ buildImages: 'validate' });
    await world.builder.remove(honest.digest);
    // What any branch can have had fetched as the image of a step, and made by itself, for the key is no secret.
    const planted = world.plant(world.requests[0]!.labels);
    const { image: built } = await world.build();
    expect(built).toMatchObject({ reused: false, evidence: { buildKey: honest.evidence!.buildKey } });
    expect(built.digest).not.toBe(planted);
  });

  test('is built again where what was built is gone, or the store cannot say', async () => {
    const world = createWorld();
    const first = await world.build();
    expect((await world.build({ away: true })).image.reused).toBe(false);
    await world.builder.remove(first.image.digest);
    expect((await world.build()).image.reused).toBe(false);
  });

  test('of a fork is not taken for that of the repository, nor the other way round', async () => {
    const world = createWorld();
    const fork: World = { fork: true, spec: { secrets: {} } };
    const strange = await world.build(fork);
    const pushed = await world.push(strange, fork);
    const own = await world.build({ buildImages: 'push' });
    expect(own.image.reused).toBe(false);
    // Not even where nothing about them is different, and its layers are no cache for others.
    const plain = await world.build({ buildImages: 'push', spec: { secrets: {} } });
    expect(plain.image.reused).toBe(false);
    expect(world.requests.map(({ cache }) => cache)).toEqual([undefined, undefined, undefined]);
    // Neither as its login nor as a part of the registry.
    const login = { address: 'reg', username: 'ada', password: 'hunter2' };
    expect(world.requests.map(({ credentials, registry }) => [credentials, registry?.credentials])).toEqual([
      [undefined, undefined],
      [login, login],
      [login, login],
    ]);
    expect(world.asked.map(({ credentials, untrusted }) => [credentials, untrusted])).toEqual([
      [undefined, true],
      [login, undefined],
      [login, undefined],
    ]);
    expect(pushed.image.digest).not.toBe(own.image.digest);
  });

  test('is another one without the secrets that its instructions are given', async () => {
    const world = createWorld();
    await world.build({ spec: { secrets: {} } });
    expect((await world.build()).image.reused).toBe(false);
  });

  test('is the one in the registry, by the key of its build and not by what its labels say', async () => {
    const world = createWorld();
    const built = await world.build({ buildImages: 'push' });
    const pushed = await world.push(built);
    const again = await world.build({ buildImages: 'push' });
    expect(again.image).toMatchObject({ digest: pushed.image.digest, reused: true });
    const labelled = world.plant({ 'slipway.build-key': 'of-another-commit' });
    await world.push({
      image: { ...built.image, digest: labelled, evidence: { ...built.image.evidence!, buildKey: '' } },
    });
    expect((await world.build({ buildImages: 'push' })).image.digest).toBe(pushed.image.digest);
  });
});

describe('an image that is taken again', () => {
  test('is warned of by the limits of now, on the engine and in the registry', async () => {
    const world = createWorld();
    const first = await world.build({ buildImages: 'push' });
    expect([first.detail, first.image.evidence?.warnings]).toEqual([undefined, []]);
    const lower = { maxSizeBytes: 0 };
    const warning = 'it has 0 MiB, more than 0 MiB';
    for (const buildImages of ['build', 'push'] as const) {
      if (buildImages === 'push') await world.push(first);
      world.said.length = 0;
      const again = await world.build({ ...lower, buildImages });
      expect(again).toMatchObject({
        image: { reused: true, evidence: { warnings: [warning] } },
        detail: `warning: ${warning}`,
      });
      expect(world.said).toContain(`warning: ${warning}`);
    }
  });

  test('is warned of where a platform of it runs as root, which only its base says', async () => {
    const world = createWorld();
    await world.push(await world.build({ buildImages: 'push' }));
    world.users.set('amd64', '1000').set('arm64', '');
    const { image: again, detail } = await world.build({ buildImages: 'push', maxSizeBytes: 4 });
    expect(again).toMatchObject({ reused: true });
    expect(again.evidence?.platforms?.map((each) => Object.keys(each))).toEqual([
      ['platform', 'digest', 'sizeBytes'],
      ['platform', 'digest', 'sizeBytes'],
    ]);
    expect(again.evidence?.warnings).toEqual([
      'linux/arm64: it runs as root',
      'linux/amd64: it has 0 MiB, more than 0 MiB',
      'linux/arm64: it has 0 MiB, more than 0 MiB',
    ]);
    expect(detail).toContain('linux/arm64: it runs as root');
  });

  test('stays on the engine for the run that took it, whatever its tags are called', async () => {
    const world = createWorld();
    const tags = ['{branch}-{sha}'];
    const first = await world.build({ tags });
    const again = await world.build({ tags, run: 8 });
    expect(again.image).toMatchObject({ reused: true, tags: ['main-ccccccc'] });
    const [here] = await world.builder.list({ 'slipway.build': '7' });
    const image = { ...here!, tags: [...new Set(world.tagged)] };
    expect(image).toMatchObject({ id: first.image.digest });
    // Nobody needs the run that built it any more; the one that took it is open, and has pushed nothing yet.
    expect(imagesToPrune([image], { runs: [8], digests: [] })).toEqual([]);
    expect(imagesToPrune([image], { runs: [9], digests: [] })).toEqual([image]);
  });
});
