import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createImageTrust } from '../../src/activities/image-trust.ts';
import type { ImageDependencies } from '../../src/activities/image-work.ts';
import { createImageActivities } from '../../src/activities/images.ts';
import type { Place } from '../../src/activities/places.ts';
import { type Look, findLeftAttachments, readNamedManifests } from '../../src/activities/registry-contents.ts';
import { pushedToRemove } from '../../src/domain/registry-retention.ts';
import type { ImageReport, PlatformEvidence, RunPlan } from '../../src/domain/run.ts';
import { createBuildKitDaemonBuilder } from '../../src/providers/builders/buildkit-daemon.ts';
import type { ImageBuilder } from '../../src/providers/builders/port.ts';
import { createRegistryReader } from '../../src/providers/registries/logins/index.ts';
import { createOciRegistry } from '../../src/providers/registries/oci.ts';
import type { ImagePusher, ImageRegistry } from '../../src/providers/registries/port.ts';
import { type TestBuildKit, startBuildKit, writeShellContext } from '../support/buildkit.ts';
import { components } from '../support/components.ts';
import { createMemoryBuilds, createMemoryLists } from '../support/fakes/builds.ts';
import { startEmptyEngine } from '../support/empty-engine.ts';
import { activityEnvironment, createRunFixture, type RunFixture } from '../support/run-fixture.ts';
import {
  type TestKey,
  advisory,
  makeKey,
  realSupplyChain,
  toolPath,
  writeOsvDatabase,
} from '../support/supply-chain.ts';

/** The images of a project that builds by a BuildKit daemon, from the commit to what may run: no engine has any of them. */
let fixture: RunFixture;
let daemon: TestBuildKit;
let registry: string;
let folder: string;
let deps: ImageDependencies;
let key: TestKey;
const blobs = new Map<string, Buffer>();
const lists = createMemoryLists();
const vector = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H';

/** An engine or pusher that nobody may ask. */
function unasked(what: string): object {
  return new Proxy(
    {},
    { get: (_, name) => () => Promise.reject(new Error(`the ${what} was asked to ${String(name)}`)) },
  );
}

beforeAll(async () => {
  const parts = await components('registry');
  registry = parts.registry.address;
  folder = mkdtempSync(join(tmpdir(), 'slipway-platforms-run-'));
  fixture = createRunFixture();
  key = makeKey(await toolPath('cosign'), folder, 'own');
  fixture.secrets.set('COSIGN_KEY', key.privateKey).set('COSIGN_PASSWORD', key.password);
  const planted = advisory({ id: 'TEST-2026-0001', name: 'left-paddle', fixed: '1.0.1', vector });
  writeOsvDatabase(join(folder, 'osv'), { npm: [planted] });
  daemon = await startBuildKit();
  const buildx = await toolPath('buildx');
  deps = {
    ...fixture.stage,
    supplyChain: await realSupplyChain(blobs),
    readRegistry: createRegistryReader({ readSecret: fixture.source.readSecret, environment: {} }),
    builder: unasked('engine') as ImageBuilder,
    buildKit: unasked('engine') as ImageBuilder,
    openBuildKit: ({ address }, place) =>
      Promise.resolve(
        createBuildKitDaemonBuilder({
          daemon: { address },
          ...place,
          openRegistry: createOciRegistry,
          openForeign: () => unasked('registry of a stranger') as ImageRegistry,
          program: () => Promise.resolve(buildx),
        }),
      ),
    openRegistry: (address) =>
      Promise.resolve({
        manifests: createOciRegistry(address),
        pusher: unasked('pusher of the engine') as ImagePusher,
      }),
    claims: { claim: () => Promise.resolve(true) },
    alone: ({ signal }, work) => work(signal),
    keptRuns: () => Promise.resolve([]),
    builds: createMemoryBuilds(),
    lists,
  };
}, 1_200_000);

afterAll(async () => {
  await daemon.stop();
  fixture.remove();
  rmSync(folder, { recursive: true, force: true });
});

function project(mode = 'warn'): void {
  fixture.projectYaml = [
    'version: 1',
    'project: hello',
    `repository: { url: "file://${fixture.origin.path}", forge: { kind: github, secrets: [{ env: WEBHOOK }] } }`,
    `registry: { address: "${registry}", prefix: slipway-run-${process.pid}, insecure: true }`,
    'steps: { executor: host }',
    `builds: { builder: { kind: buildkit, address: "${daemon.address}" } }`,
    'routes: [{ on: push, ref: main, buildImages: push }]',
    'images:',
    `  scan: { scanner: osv-scanner, database: ${join(folder, 'osv')}, mode: ${mode} }`,
    '  signing: { key: { env: COSIGN_KEY }, password: { env: COSIGN_PASSWORD } }',
    '  requireSignature: true',
    '  attestation: required',
    '  verify: content',
    `  trust:\n    - |\n${key.publicKey.replaceAll(/^/gm, '      ')}`,
  ].join('\n');
}

/** One package of a version of its own on each platform, and a shell for this machine. */
const dockerfile = [
  'FROM scratch AS common',
  'COPY bin/busybox /bin/busybox',
  'FROM common',
  'ARG TARGETARCH',
  'COPY packages/${TARGETARCH} /app/node_modules/left-paddle',
  'USER 1000',
  'CMD ["/bin/busybox", "echo", "it runs"]',
  '',
].join('\n');

async function prepare(versions: { readonly amd64: string; readonly arm64: string }, more = 'one'): Promise<RunPlan> {
  writeShellContext(join(fixture.origin.path, 'app'), {});
  const packageOf = (version: string): string =>
    JSON.stringify({ name: 'left-paddle', version, license: 'MIT', description: more });
  const commit = fixture.origin.commit({
    'slipway.yaml': `version: 1\nstages: [{ name: test, steps: [{ name: unit, shell: "true" }] }]\nimages: [{ name: app, context: app, platforms: [linux/arm64, linux/amd64] }]\n`,
    'app/Dockerfile': dockerfile,
    'app/packages/amd64/package.json': packageOf(versions.amd64),
    'app/packages/arm64/package.json': packageOf(versions.arm64),
  });
  return await fixture.prepare(fixture.input(commit));
}

type ImageCalls = ReturnType<typeof createImageActivities>;

const build = (plan: RunPlan): Promise<readonly ImageReport[]> =>
  activityEnvironment().run(
    (input: Parameters<ImageCalls['buildImages']>[0]) => createImageActivities(deps).buildImages(input),
    { run: plan.run, plan },
  );

const push = (plan: RunPlan, images: readonly ImageReport[]): Promise<readonly ImageReport[]> =>
  activityEnvironment().run(
    (input: Parameters<ImageCalls['pushImages']>[0]) => createImageActivities(deps).pushImages(input),
    { run: plan.run, plan, images, stages: [] },
  );

/** Scans are looked for by what is planned, which is tested elsewhere. */
function never(): never {
  throw new Error('nobody asks for scans here');
}

/** What a roll-out on an engine of this platform would look at. */
async function verify(plan: RunPlan, image: ImageReport, platform: string): Promise<readonly string[]> {
  const trust = createImageTrust({
    signer: deps.supplyChain.signer,
    readRegistry: deps.readRegistry,
    openManifests: createOciRegistry,
    blobs: { read: never, size: never },
    readEvidence: () => Promise.resolve({}),
  });
  const place = {
    spec: {
      project: 'hello',
      name: 'production',
      imageTrust: {
        ...{ scan: 'off', requireSignature: true, requireAttestation: true },
        ...{ keys: [key.publicKey], builder: 'urn:slipway:builder' },
      },
      registry: { address: registry, prefix: '', insecure: true },
    },
    release: {
      ...{ commit: plan.commit.sha, definition: plan.definition, version: plan.version, build: plan.run.number },
      images: [],
    },
    target: { readPlatform: () => Promise.resolve(platform) },
  } as unknown as Place;
  return await trust.verify(place, [image]);
}

const partOf = ({ evidence }: ImageReport, platform: string): PlatformEvidence =>
  evidence!.platforms!.find((each) => each.platform === platform)!;

let plan: RunPlan;
let pushed: ImageReport;

describe('an image for two platforms', () => {
  test('is scanned for each before anything is pushed, and is as bad as the worst', async () => {
    project();
    plan = await prepare({ amd64: '1.0.1', arm64: '1.0.0' });
    const [built] = await build(plan);
    // The package and the shell.
    expect(partOf(built!, 'linux/amd64')).toMatchObject({ packages: 2, scan: { verdict: 'passed' } });
    expect(partOf(built!, 'linux/arm64')).toMatchObject({ packages: 2, scan: { verdict: 'failed' } });
    expect(built!.evidence).toMatchObject({
      scan: {
        verdict: 'failed',
        lines: ['linux/arm64: critical TEST-2026-0001 in left-paddle 1.0.0 (gone in 1.0.1)'],
        counts: { critical: 1 },
      },
      gate: { gate: 'container', verdict: 'failed' },
    });
    const kept = [...blobs.keys()].map((name) => name.split('/').at(-1)).sort();
    expect(kept).toEqual([
      ...['linux-amd64.sbom.cdx.json', 'linux-amd64.sbom.spdx.json', 'linux-amd64.scan.json'],
      ...['linux-arm64.sbom.cdx.json', 'linux-arm64.sbom.spdx.json', 'linux-arm64.scan.json'],
      ...['scan.images.json', 'scan.json'],
    ]);
    const { repository, digest } = built!;
    expect(await createOciRegistry({ address: registry, insecure: true }).readManifest(repository, digest)).toBe(
      undefined,
    );
    [pushed] = (await push(plan, [built!])) as [ImageReport];
    expect(pushed.digest).toBe(digest);
    expect(pushed.evidence?.attested).toEqual(['signature', 'spdx', 'cyclonedx', 'scan', 'provenance']);
  }, 180_000);

  test('stops before the push where scans block, for the one platform that is bad', async () => {
    project('block');
    await expect(build(await prepare({ amd64: '1.0.1', arm64: '1.0.0' }, 'blocked'))).rejects.toMatchObject({
      type: 'ImageVulnerable',
      message: expect.stringContaining('linux/arm64'),
    });
  }, 120_000);

  test('is verified by its list and by what the target takes of it', async () => {
    const from = plan.commit.sha.slice(0, 7);
    for (const platform of ['linux/amd64', 'linux/arm64']) {
      expect(await verify(plan, pushed, platform)).toEqual([
        `image app for ${platform}: signed by a trusted key, built by urn:slipway:builder from ${from}`,
      ]);
    }
    await expect(verify(plan, pushed, 'linux/riscv64')).rejects.toMatchObject({
      type: 'ImageNotFound',
      message: expect.stringContaining('nothing for linux/riscv64'),
    });
    const address = { address: registry, insecure: true };
    const { digest } = partOf(pushed, 'linux/arm64');
    const part = { registry: address, repository: pushed.repository, digest };
    const [packages] = await deps.supplyChain.signer.readAttestations(part, [key.publicKey], 'spdx');
    expect(JSON.stringify(packages!.predicate)).toContain('left-paddle');
    // Somebody takes the signature of the one platform away: the list is signed as before.
    const images = createOciRegistry(address);
    const tag = `${digest.replace(':', '-')}.sig`;
    const signature = await images.readManifest(pushed.repository, tag);
    await images.deleteManifest(pushed.repository, signature!.digest);
    await verify(plan, pushed, 'linux/amd64');
    await expect(verify(plan, pushed, 'linux/arm64')).rejects.toMatchObject({ type: 'ImageNotSigned' });
  }, 120_000);

  test('is taken again by equal inputs on a worker that never had it, looked into anew and attested again', async () => {
    project();
    const next = await prepare({ amd64: '1.0.1', arm64: '1.0.0' });
    const [reused] = await build(next);
    expect(reused).toMatchObject({ reused: true, digest: pushed.digest, evidence: { scan: { verdict: 'failed' } } });
    expect(partOf(reused!, 'linux/arm64')).toMatchObject({ digest: partOf(pushed, 'linux/arm64').digest, packages: 2 });
    const [promoted] = await push(next, [reused!]);
    await verify(next, promoted!, 'linux/arm64');
  }, 180_000);

  test('comes whole into an empty engine by its digest, and runs there', async () => {
    const reference = `${pushed.repository}@${pushed.digest}`;
    const images = createOciRegistry({ address: registry, insecure: true });
    const engine = await startEmptyEngine();
    try {
      expect(await engine.content()).toEqual([]);
      for (const platform of ['linux/amd64', 'linux/arm64']) {
        await engine.pull(reference, platform);
        const { digest } = partOf(pushed, platform);
        const { blobs: wanted } = (await images.readContent(pushed.repository, digest))!;
        const held = await engine.content();
        expect(held).toEqual(expect.arrayContaining([pushed.digest, digest, ...wanted.map((blob) => blob.digest)]));
      }
      const here = execFileSync('uname', ['-m']).toString().trim();
      if (here === 'x86_64') expect(await engine.run(reference)).toBe('it runs\n');
    } finally {
      await engine.stop();
    }
  }, 120_000);

  test('goes from the registry with everything that is signed and attested of it and of its platforms', async () => {
    const images = createOciRegistry({ address: registry, insecure: true });
    const { repository } = pushed;
    const look: Look = { manifests: images, signal: new AbortController().signal, progress: () => undefined };
    const platforms = pushed.evidence!.platforms!.map(({ digest }) => digest);
    const tags = await images.listTags(repository);
    for (const digest of [pushed.digest, ...platforms]) {
      expect(tags).toEqual(expect.arrayContaining(['sig', 'att'].map((end) => `${digest.replace(':', '-')}.${end}`)));
    }
    const record = { name: 'app', run: 1, digest: pushed.digest, sizeBytes: 1, platforms };
    const given = tags.filter((tag) => !tag.startsWith('sha256-') && tag !== 'latest');
    const newest = { ...record, run: 2, digest: `sha256:${'0'.repeat(64)}`, platforms: [], tags: [] };
    const recorded = [{ ...record, tags: given }, newest];
    const latest = await images.readManifest(repository, 'latest');
    expect(latest?.digest).toBe(pushed.digest);
    const named = (await readNamedManifests(look, repository)).map((one) =>
      // As after the next image of the release branch.
      one.digest === pushed.digest ? { ...one, tags: given } : one,
    );

    // As an older Slipway removed it: what was said of the platforms stayed.
    const [going] = pushedToRemove(named, recorded, new Set());
    expect([...going!.manifests].sort()).toEqual(
      [...new Set([...named.map(({ digest }) => digest), ...platforms])].sort(),
    );
    for (const digest of going!.manifests.filter((each) => [pushed.digest, ...platforms].includes(each))) {
      await images.deleteManifest(repository, digest);
    }
    const left = await findLeftAttachments(look, repository, {
      named: await readNamedManifests(look, repository),
      recorded,
      broken: [],
    });
    expect(left.map(({ subject }) => subject).sort()).toEqual([pushed.digest, ...platforms].sort());
    for (const { manifests } of left) {
      for (const { digest } of manifests) await images.deleteManifest(repository, digest);
    }
    expect(await images.listTags(repository)).toEqual([]);
  }, 120_000);
});
