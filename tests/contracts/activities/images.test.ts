import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import type { ImageDependencies } from '../../../src/activities/image-work.ts';
import { createImageActivities } from '../../../src/activities/images.ts';
import type { ImageReport, RunPlan } from '../../../src/domain/run.ts';
import { createDockerBuilder } from '../../../src/providers/builders/docker.ts';
import { createRegistryReader } from '../../../src/providers/registries/logins/index.ts';
import { createOciRegistry } from '../../../src/providers/registries/oci.ts';
import { createDockerPusher } from '../../../src/providers/registries/pusher.ts';
import { components } from '../../support/components.ts';
import { createMemoryBuilds, createMemoryLists } from '../../support/fakes/builds.ts';
import { activityEnvironment, createRunFixture, type RunFixture } from '../../support/run-fixture.ts';
import { emptySupplyChain } from '../../support/supply-chain.ts';
import { until } from '../../support/until.ts';

let fixture: RunFixture;
let docker: Docker;
let registry: string;
let base: string;
let deps: ImageDependencies;
/** Everything that was claimed, with the tags that the repository had by then. */
const claims: { readonly digests: readonly string[]; readonly tags: readonly string[] }[] = [];
/** Retention is at work. */
let removing = false;

beforeAll(async () => {
  const parts = await components('docker', 'registry', 'toolsImage');
  docker = new Docker({ socketPath: parts.docker.address.replace('unix://', '') });
  registry = parts.registry.address;
  base = parts.toolsImage.image;
  fixture = createRunFixture();
  fixture.projectYaml = fixture.projectYaml.replace(
    '127.0.0.1:5000"',
    `${registry}", prefix: slipway-test-${process.pid}`,
  );
  const builder = await createDockerBuilder(parts.docker.address);
  deps = {
    ...fixture.stage,
    supplyChain: emptySupplyChain(),
    readRegistry: createRegistryReader({ readSecret: fixture.source.readSecret, environment: {} }),
    builder,
    buildKit: builder,
    openBuildKit: () => Promise.reject(new Error('this project has no daemon')),
    async openRegistry(address) {
      const manifests = createOciRegistry(address);
      return { manifests, pusher: await createDockerPusher(parts.docker.address, address, manifests) };
    },
    claims: {
      async claim(asked) {
        claims.push({
          ...asked,
          tags: await createOciRegistry({ address: registry, insecure: true }).listTags(asked.repository),
        });
        return !removing;
      },
    },
    alone: ({ signal }, work) => work(signal),
    keptRuns: () => Promise.resolve([]),
    builds: createMemoryBuilds(),
    lists: createMemoryLists(),
  };
}, 120_000);

afterAll(async () => {
  const images = await docker.listImages({ filters: JSON.stringify({ label: ['slipway.project=hello'] }) });
  for (const { Id } of images)
    await docker
      .getImage(Id)
      .remove({ force: true })
      .catch(() => undefined);
  fixture.remove();
});

const dockerfile = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY file /file\nRUN echo making it\n';

function definition(images = `[{ name: app, context: app, args: { BASE_IMAGE: "${base}" } }]`): string {
  return `version: 1\nstages: [{ name: test, steps: [{ name: dirty, shell: "echo dirty > app/dirty; echo x >> app/file" }] }]\nimages: ${images}\n`;
}

async function prepare(files: Record<string, string | null>, ref = 'refs/heads/main'): Promise<RunPlan> {
  const commit = fixture.origin.commit({
    'slipway.yaml': definition(),
    'app/Dockerfile': dockerfile,
    'app/file': 'a\n',
    ...files,
  });
  return fixture.prepare(fixture.input(commit, { ref, kind: ref.startsWith('refs/tags/') ? 'tag' : 'push' }));
}

const activities = (): ReturnType<typeof createImageActivities> => createImageActivities(deps);

function build(plan: RunPlan, environment = activityEnvironment()): Promise<readonly ImageReport[]> {
  return environment.run(
    (input: Parameters<ReturnType<typeof activities>['buildImages']>[0]) => activities().buildImages(input),
    {
      run: plan.run,
      plan,
    },
  );
}

function push(plan: RunPlan, images: readonly ImageReport[]): Promise<readonly ImageReport[]> {
  return activityEnvironment().run(
    (input: Parameters<ReturnType<typeof activities>['pushImages']>[0]) => activities().pushImages(input),
    { run: plan.run, plan, images },
  );
}

async function contentOf(image: string): Promise<string> {
  const container = await docker.createContainer({
    Image: image,
    Cmd: ['sh', '-c', 'cat /file; ls /'],
    HostConfig: { NetworkMode: 'none' },
    Tty: true,
  });
  try {
    await container.start();
    await container.wait();
    return (await container.logs({ stdout: true, stderr: true })).toString().replaceAll('\r', '');
  } finally {
    await container.remove({ force: true });
  }
}

describe('images of a run', () => {
  test('are built of the commit, pushed with their tags and verified', async () => {
    const plan = await prepare({});
    await fixture.runStage(plan, 'test');
    const [built] = await build(plan);
    expect(built).toMatchObject({
      name: 'app',
      repository: `${registry}/slipway-test-${process.pid}/app`,
      reused: false,
      tags: [plan.version, 'latest'],
    });
    expect(await contentOf(built!.digest)).toMatch(/^a\n(?!.*dirty)/s);
    expect(fixture.log('build/app')).toContain('making it');
    expect(fixture.facts.filter((fact) => fact.startsWith('phase '))).toEqual(['phase checking', 'phase building']);
    const labels = (await docker.getImage(built!.digest).inspect()).Config.Labels;
    expect(labels).toMatchObject({
      'org.opencontainers.image.revision': plan.commit.sha,
      'org.opencontainers.image.version': plan.version,
      'slipway.project': 'hello',
    });

    expect(claims.splice(0)).toEqual([]);
    const [pushed] = await push(plan, [built!]);
    // Before anything is in the registry, and by its digest afterwards.
    expect(claims.splice(0)).toMatchObject([
      { run: plan.run, image: 'app', repository: built!.repository, digests: [], tags: [] },
      { run: plan.run, image: 'app', digests: [pushed!.digest], tags: [plan.version] },
    ]);
    const manifests = createOciRegistry({ address: registry, insecure: true });
    for (const tag of [plan.version, 'latest']) {
      expect(await manifests.readManifest(pushed!.repository, tag)).toMatchObject({ digest: pushed!.digest });
    }
    expect(pushed!.digest).not.toBe(built!.digest);
    expect(fixture.log('push/app')).toContain(pushed!.digest);
    expect(fixture.facts).toContain('phase pushing');
  });

  test('of one group are no more at once than the group may, and those of others do not wait for them', async () => {
    const one = (name: string, group: string): string =>
      `{ name: ${name}, group: ${group}, context: app, args: { BASE_IMAGE: "${base}", NAME: "${name}" } }`;
    const images = [one('a', 'slow'), one('b', 'slow'), one('c', 'slow'), one('d', 'quick')].join(', ');
    const plan = await prepare({
      'slipway.yaml': `${definition(`[${images}]`)}imageGroups: { slow: { concurrency: 1 }, quick: {} }\n`,
      'app/file': 'grouped\n',
    });
    expect(plan.images).toEqual(['a', 'b', 'c', 'd']);
    const from = fixture.facts.length;
    const built = await build(plan);
    expect(built.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd']);
    const open = new Set<string>();
    const together: string[][] = [];
    for (const fact of fixture.facts.slice(from)) {
      const [, step = '', what] = /^step (\w+) (\w+)$/.exec(fact) ?? [];
      if (step === '') continue;
      if (what === 'started') open.add(step);
      else open.delete(step);
      together.push([...open].sort());
    }
    const slow = together.map((names) => names.filter((name) => name !== 'd').length);
    expect(Math.max(...slow)).toBe(1);
    expect(together[1]).toEqual(['a', 'd']);
  }, 120_000);

  test('of equal inputs are the ones built before, under new tags, and `latest` stays with the release branch', async () => {
    const first = await prepare({ 'app/file': 'reused\n' });
    const [pushed] = await push(first, await build(first));
    const again = await prepare(
      { 'app/file': 'reused\n', 'other.txt': 'outside of the context' },
      'refs/heads/develop',
    );
    expect(again.commit.sha).not.toBe(first.commit.sha);
    removing = true;
    claims.length = 0;
    const [unclaimed] = await build(again).finally(() => (removing = false));
    // What retention is removing is not in the registry for long: the one of the engine is taken, and pushed again.
    expect(unclaimed!.digest).not.toBe(pushed!.digest);
    expect(claims.splice(0)).toMatchObject([{ run: again.run, digests: [pushed!.digest] }]);
    const [built] = await build(again);
    expect(claims.splice(0)).toMatchObject([{ run: again.run, digests: [pushed!.digest] }]);
    expect(built).toMatchObject({ reused: true, digest: pushed!.digest, tags: [again.version] });
    const [promoted] = await push(again, [built!]);
    expect(promoted).toMatchObject({ digest: pushed!.digest, tags: [again.version] });
    const manifests = createOciRegistry({ address: registry, insecure: true });
    expect(await manifests.readManifest(promoted!.repository, again.version)).toMatchObject({ digest: pushed!.digest });
  });

  test('are not pushed under a version that names another image already', async () => {
    const first = await prepare({ 'app/file': 'taken\n' }, 'refs/tags/v3.1.4');
    const [pushed] = await push(first, await build(first));
    expect(pushed!.tags).toContain('3.1.4');
    // The same image again is no other one.
    await push(first, await build(first));
    const moved = await prepare({ 'app/file': 'taken by another\n' }, 'refs/tags/v3.1.4');
    const built = await build(moved);
    await expect(push(moved, built)).rejects.toMatchObject({
      type: 'TagTaken',
      nonRetryable: true,
      message: expect.stringContaining('3.1.4'),
    });
    const manifests = createOciRegistry({ address: registry, insecure: true });
    expect(await manifests.readManifest(pushed!.repository, '3.1.4')).toMatchObject({ digest: pushed!.digest });
  });

  test('are never taken from what only carries the labels of one, not even fetched as the image of a step', async () => {
    const files = { 'app/file': 'planted\n' };
    const seen = await prepare(files, 'refs/heads/feature/planted');
    const [honest] = await build(seen);
    const labels = {
      'slipway.project': 'hello',
      'slipway.build-key': honest!.evidence!.buildKey,
      'slipway.image': 'app',
    };
    const name = `${registry}/slipway-test-${process.pid}/stranger:1`;
    const container = await docker.createContainer({ Image: base, Cmd: ['true'] });
    const { Id: planted } = (await container.commit({
      repo: name.replace(/:1$/, ''),
      tag: '1',
      changes: Object.entries(labels).map(([label, value]) => `LABEL ${label}=${value}`),
    })) as { readonly Id: string };
    await container.remove({ force: true });
    const opened = await deps.openRegistry({ address: registry, insecure: true });
    await opened.pusher.push({
      ...{
        id: planted,
        repository: name.replace(/:1$/, ''),
        tag: '1',
        output: () => undefined,
        moved: () => undefined,
      },
      signal: new AbortController().signal,
    });
    await docker.getImage(planted).remove({ force: true });
    // As the executor of steps does with an image that any branch names.
    await deps.builder.resolve([name], {
      output: () => undefined,
      moved: () => undefined,
      signal: new AbortController().signal,
    });
    const carrying = await deps.builder.list({ 'slipway.build-key': labels['slipway.build-key'] });
    expect(carrying.map(({ tags }) => tags)).toContainEqual([name]);

    const plan = await prepare({ ...files, 'other.txt': 'reviewed by others' });
    const [built] = await build(plan);
    expect(built).toMatchObject({ reused: false, evidence: { buildKey: labels['slipway.build-key'] } });
    expect(carrying.map(({ id }) => id)).not.toContain(built!.digest);
    expect(await contentOf(built!.digest)).toMatch(/^planted\n/);
    await docker.getImage(name).remove({ force: true });
  }, 120_000);

  test('are built again when the registry has lost them', async () => {
    const plan = await prepare({ 'app/file': 'lost\n' });
    const [pushed] = await push(plan, await build(plan));
    await createOciRegistry({ address: registry, insecure: true }).deleteManifest(pushed!.repository, pushed!.digest);
    await docker.getImage(`${pushed!.repository}:${plan.version}`).remove({ force: true });
    const next = await prepare({ 'app/file': 'lost\n', 'outside.txt': '1' });
    const [built] = await build(next);
    const [repushed] = await push(next, [built!]);
    const manifests = createOciRegistry({ address: registry, insecure: true });
    expect(await manifests.readManifest(repushed!.repository, next.version)).toMatchObject({
      digest: repushed!.digest,
    });
  });

  test('that only had to be seen to build are thrown away', async () => {
    const plan = await prepare({ 'app/file': 'validate\n' }, 'refs/heads/feature/x');
    expect(plan.buildImages).toBe('validate');
    const [built] = await build(plan);
    expect(built).toMatchObject({ tags: [], reused: false });
    await expect(docker.getImage(built!.digest).inspect()).rejects.toMatchObject({ statusCode: 404 });
  });

  test('whose Dockerfile fails end with its own last lines, and end the others', async () => {
    const images = `[{ name: bad, context: bad, args: { BASE_IMAGE: "${base}" } }, { name: slow, context: slow, args: { BASE_IMAGE: "${base}" } }]`;
    const from = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n';
    const plan = await prepare({
      'slipway.yaml': definition(images),
      'bad/Dockerfile': `${from}RUN echo this is why >&2 && exit 4`,
      'slow/Dockerfile': `${from}RUN sleep 60`,
    });
    const error: unknown = await build(plan).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      type: 'BuildFailed',
      nonRetryable: true,
      message: expect.stringContaining('this is why'),
      details: [expect.objectContaining({ image: 'bad', lastLines: expect.arrayContaining(['this is why']) })],
    });
    expect(fixture.facts).toContain('step bad failed');
    expect(fixture.log('build/bad')).toContain('correct the Dockerfile');
  }, 120_000);

  test('without a Dockerfile say so', async () => {
    const plan = await prepare({ 'app/Dockerfile': null });
    await expect(build(plan)).rejects.toMatchObject({
      type: 'BuildFailed',
      message: expect.stringContaining('the commit has no app/Dockerfile'),
    });
  });

  test('stop at once when the run is aborted', async () => {
    const plan = await prepare({ 'app/Dockerfile': 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo begun; sleep 60' });
    const environment = activityEnvironment();
    const building = build(plan, environment).catch((error: unknown) => error);
    await until(() => fixture.log('build/app').includes('begun'), { timeoutMs: 60_000 });
    const began = performance.now();
    environment.cancel('CANCELLED');
    expect(await building).toMatchObject({ name: 'CancelledFailure' });
    expect(performance.now() - began).toBeLessThan(3_000);
  }, 120_000);
});

test('a context that the commit only links to is none', async () => {
  symlinkSync('/etc', join(fixture.origin.path, 'way'));
  const plan = await prepare({
    'slipway.yaml': definition('[{ name: app, context: way }]'),
    'app/Dockerfile': dockerfile,
  });
  await expect(build(plan)).rejects.toMatchObject({
    type: 'BuildFailed',
    message: expect.stringContaining('no folder way'),
  });
});
