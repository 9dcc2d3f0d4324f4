import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { createImageTrust } from '../../src/activities/image-trust.ts';
import type { ImageDependencies } from '../../src/activities/image-work.ts';
import { createImageActivities } from '../../src/activities/images.ts';
import type { Place } from '../../src/activities/places.ts';
import type { ImageTrustSpec } from '../../src/definition/specs/supply-chain.ts';
import { ProviderError } from '../../src/domain/failures.ts';
import type { Provenance } from '../../src/domain/provenance.ts';
import type { ImageReport, RunPlan, StageReport } from '../../src/domain/run.ts';
import { scratchFolder } from '../../src/effects/scratch.ts';
import { createDockerBuilder } from '../../src/providers/builders/docker.ts';
import { createRegistryReader } from '../../src/providers/registries/logins/index.ts';
import { createOciRegistry } from '../../src/providers/registries/oci.ts';
import { createDockerPusher } from '../../src/providers/registries/pusher.ts';
import { components } from '../support/components.ts';
import { createMemoryBuilds, createMemoryLists } from '../support/fakes/builds.ts';
import { activityEnvironment, createRunFixture, type RunFixture } from '../support/run-fixture.ts';
import {
  type TestKey,
  advisory,
  makeKey,
  realSupplyChain,
  toolPath,
  writeOsvDatabase,
} from '../support/supply-chain.ts';

/** Syft, osv-scanner and cosign as they are, an engine and a registry; only the vulnerability is made up. */
let fixture: RunFixture;
let docker: Docker;
let registry: string;
let base: string;
let folder: string;
let deps: ImageDependencies;
let cosign: string;
let key: TestKey;
let stranger: TestKey;
const blobs = new Map<string, Buffer>();
const lists = createMemoryLists();
const vector = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H';

beforeAll(async () => {
  const parts = await components('docker', 'registry', 'toolsImage');
  docker = new Docker({ socketPath: parts.docker.address.replace('unix://', '') });
  registry = parts.registry.address;
  base = parts.toolsImage.image;
  folder = mkdtempSync(join(tmpdir(), 'slipway-supply-'));
  fixture = createRunFixture();
  cosign = await toolPath('cosign');
  key = makeKey(cosign, folder, 'own');
  stranger = makeKey(cosign, folder, 'stranger');
  fixture.secrets.set('COSIGN_KEY', key.privateKey).set('COSIGN_PASSWORD', key.password);
  database();
  const builder = await createDockerBuilder(parts.docker.address);
  deps = {
    ...fixture.stage,
    supplyChain: await realSupplyChain(blobs),
    readRegistry: createRegistryReader({ readSecret: fixture.source.readSecret, environment: {} }),
    builder,
    buildKit: builder,
    openBuildKit: () => Promise.reject(new Error('this project has no daemon')),
    async openRegistry(address) {
      const manifests = createOciRegistry(address);
      return { manifests, pusher: await createDockerPusher(parts.docker.address, address, manifests) };
    },
    claims: { claim: () => Promise.resolve(true) },
    alone: ({ signal }, work) => work(signal),
    keptRuns: () => Promise.resolve([]),
    builds: createMemoryBuilds(),
    lists,
  };
}, 1_200_000);

afterAll(async () => {
  const images = await docker.listImages({ filters: JSON.stringify({ label: ['slipway.project=hello'] }) });
  for (const { Id } of images)
    await docker
      .getImage(Id)
      .remove({ force: true })
      .catch(() => undefined);
  fixture.remove();
  rmSync(folder, { recursive: true, force: true });
});

function database(at = new Date()): void {
  const planted = advisory({ id: 'TEST-2026-0001', name: 'left-paddle', fixed: '1.0.1', vector });
  writeOsvDatabase(join(folder, 'osv'), { npm: [planted] }, at);
}

/** @param more - of `images` in project.yaml. */
function project({ mode = 'warn', more = '' }: { readonly mode?: string; readonly more?: string } = {}): void {
  fixture.projectYaml = [
    'version: 1',
    'project: hello',
    `repository: { url: "file://${fixture.origin.path}", forge: { kind: github, secrets: [{ env: WEBHOOK }] } }`,
    `registry: { address: "${registry}", prefix: slipway-test-${process.pid}, insecure: true }`,
    'steps: { executor: host }',
    'routes: [{ on: push, ref: main, buildImages: push }]',
    'images:',
    `  scan: { scanner: osv-scanner, database: ${join(folder, 'osv')}, mode: ${mode} }`,
    '  signing: { key: { env: COSIGN_KEY }, password: { env: COSIGN_PASSWORD } }',
    '  requireSignature: true',
    '  attestation: required',
    '  verify: content',
    `  trust:\n    - |\n${key.publicKey.replaceAll(/^/gm, '      ')}`,
    ...(more === '' ? [] : [`  ${more}`]),
  ].join('\n');
}

const dockerfile = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY node_modules /app/node_modules\nUSER 1000\n';

async function prepare(version: string, more: Record<string, string> = {}): Promise<RunPlan> {
  const commit = fixture.origin.commit({
    'slipway.yaml': `version: 1\nstages: [{ name: test, steps: [{ name: unit, shell: "true" }] }]\nimages: [{ name: app, context: app, args: { BASE_IMAGE: "${base}" } }]\n`,
    'app/Dockerfile': dockerfile,
    'app/node_modules/left-paddle/package.json': JSON.stringify({ name: 'left-paddle', version, license: 'MIT' }),
    ...more,
  });
  return await fixture.prepare(fixture.input(commit));
}

const build = (plan: RunPlan): Promise<readonly ImageReport[]> =>
  activityEnvironment().run(
    (input: Parameters<ReturnType<typeof createImageActivities>['buildImages']>[0]) =>
      createImageActivities(deps).buildImages(input),
    { run: plan.run, plan },
  );

const push = (
  plan: RunPlan,
  images: readonly ImageReport[],
  stages: readonly StageReport[],
): Promise<readonly ImageReport[]> =>
  activityEnvironment().run(
    (input: Parameters<ReturnType<typeof createImageActivities>['pushImages']>[0]) =>
      createImageActivities(deps).pushImages(input),
    { run: plan.run, plan, images, stages },
  );

/** What the roll-out of the image would look at. */
function placeOf(plan: RunPlan, trust: Partial<ImageTrustSpec> = {}, release: Partial<Place['release']> = {}): Place {
  const imageTrust: ImageTrustSpec = {
    scan: 'off',
    requireSignature: true,
    requireAttestation: true,
    keys: [key.publicKey],
    builder: 'urn:slipway:builder',
    signs: true,
    ...trust,
  };
  return {
    spec: {
      project: 'hello',
      name: 'production',
      imageTrust,
      registry: { address: registry, prefix: '', insecure: true },
    },
    release: {
      commit: plan.commit.sha,
      definition: plan.definition,
      version: plan.version,
      build: plan.run.number,
      images: [],
      ...release,
    },
  } as unknown as Place;
}

/** Scans are looked for by what is planned, which is tested beside it. */
function never(): never {
  throw new Error('nobody asks for scans here');
}

function verify(place: Place, image: ImageReport): Promise<readonly string[]> {
  const { signer } = deps.supplyChain;
  const trust = createImageTrust({
    signer,
    readRegistry: deps.readRegistry,
    openManifests: createOciRegistry,
    blobs: { read: never, size: never },
    readEvidence: () => Promise.resolve({}),
  });
  return trust.verify(place, [image]);
}

let plan: RunPlan;
let pushed: ImageReport;

describe('an image with a planted vulnerable package', () => {
  test('is listed, found, warned about, pushed, signed and attested', async () => {
    project();
    plan = await prepare('1.0.0');
    const stage = await fixture.runStage(plan, 'test');
    const [built] = await build(plan);
    expect(built!.evidence).toMatchObject({
      scan: {
        verdict: 'failed',
        scanner: { name: 'osv-scanner', version: '2.2.4' },
        packages: 1,
        counts: { critical: 1, high: 0 },
        lines: ['critical TEST-2026-0001 in left-paddle 1.0.0 (gone in 1.0.1)'],
      },
      warnings: [],
    });
    expect(fixture.facts).toContain('step app failed');
    expect(fixture.facts).toContain('stage scan failed');
    expect(fixture.log('scan/app')).toContain('TEST-2026-0001');
    const kept = [...blobs.keys()].map((name) => name.split('/').at(-1)).sort();
    expect(kept).toEqual(['sbom.cdx.json', 'sbom.spdx.json', 'scan.images.json', 'scan.json']);
    expect(built!.evidence!.gate).toMatchObject({
      gate: 'container',
      mode: 'warn',
      verdict: 'failed',
      blocks: false,
      reason: expect.stringContaining('1 critical'),
    });

    [pushed] = (await push(plan, [built!], [stage])) as [ImageReport];
    lists.record(plan.run, [pushed]);
    expect(pushed.evidence?.attested).toEqual(['signature', 'spdx', 'cyclonedx', 'scan', 'provenance']);
    expect(fixture.log('push/app')).toMatch(/all \d+ parts were fetched again and are whole/);
  }, 120_000);

  test('is verified before it runs, by what really happened', async () => {
    expect(await verify(placeOf(plan), pushed)).toEqual([
      `image app: signed by a trusted key, built by urn:slipway:builder from ${plan.commit.sha.slice(0, 7)}`,
    ]);
    const image = {
      registry: { address: registry, insecure: true },
      repository: pushed.repository,
      digest: pushed.digest,
    };
    const [statement] = await deps.supplyChain.signer.readAttestations(image, [key.publicKey], 'provenance');
    const provenance = statement!.predicate as Provenance;
    expect(statement!.subject[0]!.digest).toEqual({ sha256: pushed.digest.replace('sha256:', '') });
    expect(provenance.buildDefinition.externalParameters).toMatchObject({
      commit: plan.commit.sha,
      ref: 'refs/heads/main',
    });
    expect(provenance.buildDefinition.internalParameters).toMatchObject({
      definition: plan.definition,
      buildKey: pushed.evidence!.buildKey,
      steps: [{ stage: 'test', name: 'unit', executor: 'host' }],
    });
    expect(provenance.buildDefinition.resolvedDependencies.map(({ uri }) => uri)).toContain(`oci://${base}`);
    expect(provenance.runDetails).toMatchObject({
      slipway_reused: false,
      slipway_verdicts: [
        { name: 'test › unit', verdict: 'passed' },
        { name: 'scan', verdict: 'failed' },
        { name: 'scan › gate container', verdict: 'failed' },
      ],
    });
    for (const type of ['spdx', 'cyclonedx', 'scan'] as const) {
      const [found] = await deps.supplyChain.signer.readAttestations(image, [key.publicKey], type);
      expect(JSON.stringify(found!.predicate)).toContain('left-paddle');
    }
  }, 60_000);

  test('attested again by the same run has one provenance, by another run of equal inputs two', async () => {
    const image = {
      registry: { address: registry, insecure: true },
      repository: pushed.repository,
      digest: pushed.digest,
    };
    const count = async (): Promise<number> =>
      (await deps.supplyChain.signer.readAttestations(image, [key.publicKey], 'provenance')).length;
    const again = await push(plan, [pushed], []);
    expect(again[0]!.digest).toBe(pushed.digest);
    expect(await count()).toBe(1);

    const next = await prepare('1.0.0', { 'outside.txt': 'of the context' });
    const [reused] = await build(next);
    expect(reused).toMatchObject({ reused: true, digest: pushed.digest, evidence: { scan: { verdict: 'failed' } } });
    // What is in it is known of the run before; the list that this one keeps and attests is its own.
    expect(fixture.log('scan/app')).toContain(`packages, listed in run ${plan.run.number} by syft`);
    const list = blobs.get(`evidence/hello/${next.run.number}/app/sbom.cdx.json`)?.toString();
    expect(JSON.parse(list ?? '{}')).toMatchObject({ metadata: { component: { version: next.version } } });
    const [promoted] = await push(next, [reused!], []);
    expect(await count()).toBe(2);
    for (const type of ['spdx', 'cyclonedx'] as const) {
      const [found] = await deps.supplyChain.signer.readAttestations(image, [key.publicKey], type);
      expect(JSON.stringify(found!.predicate)).toContain(`"${next.version}"`);
    }
    await verify(placeOf(next), promoted!);
    await verify(placeOf(plan), pushed);
  }, 120_000);

  test('stops before the push where scans block', async () => {
    project({ mode: 'block' });
    const blocked = await prepare('1.0.0', { 'app/file': 'blocked' });
    await expect(build(blocked)).rejects.toMatchObject({
      type: 'ImageVulnerable',
      nonRetryable: true,
      message: expect.stringContaining('TEST-2026-0001'),
    });
  }, 60_000);

  test('goes on with an exception, as long as that holds', async () => {
    const exception = (until: string): string =>
      `scan: { scanner: osv-scanner, database: ${join(folder, 'osv')}, mode: block, exceptions: [{ id: CVE-2026-0001, reason: not reached, until: "${until}" }] }`;
    const set = (until: string): void => {
      project();
      fixture.projectYaml = fixture.projectYaml.replace(/scan: .*/, exception(until));
    };
    set('2099-01-01');
    const [built] = await build(await prepare('1.0.0'));
    expect(built!.evidence!.scan).toMatchObject({
      verdict: 'passed',
      excepted: [expect.stringContaining('not reached')],
    });
    // The advisory is lived with under another of its names; the gate takes the same word for it.
    expect(built!.evidence!.gate!.reason).not.toContain('critical');
    set('2020-01-01');
    await expect(build(await prepare('1.0.0'))).rejects.toMatchObject({
      type: 'ImageVulnerable',
      message: expect.stringContaining('ended on 2020-01-01'),
    });
  }, 60_000);

  test('stops before the push where the gate of images blocks, and leaves its evidence', async () => {
    project();
    fixture.projectYaml += '\ngates: { container: { mode: block } }';
    blobs.clear();
    const blocked = await prepare('1.0.0', { 'app/file': 'blocked by the gate' });
    await expect(build(blocked)).rejects.toMatchObject({
      type: 'GateBlocked',
      nonRetryable: true,
      // The base dates its layers to 1970, as reproducible images do: its age is not known, which is no pass either.
      message: expect.stringContaining('osv-scanner: 2 findings count: 1 critical, 1 unknown'),
    });
    expect([...blobs.keys()]).toContain(`reports/hello/${blocked.run.number}/scan.images.json`);
  }, 60_000);

  test('is gone with the version that has the fix', async () => {
    project({ mode: 'block' });
    const [built] = await build(await prepare('1.0.1'));
    expect(built!.evidence!.scan).toMatchObject({ verdict: 'passed', packages: 1 });
  }, 60_000);
});

describe('a scan that cannot be made is an error, never a pass', () => {
  async function stopped(): Promise<ProviderError & { readonly type: string }> {
    project({ mode: 'block' });
    return (await build(await prepare('1.0.1')).catch((error: unknown) => error)) as never;
  }

  test('where the database is out of date', async () => {
    database(new Date(Date.now() - 49 * 3_600_000));
    expect(await stopped()).toMatchObject({ type: 'ScanErrored', message: expect.stringContaining('48 hours') });
    database();
  }, 60_000);

  test('where a part of the database is missing or broken', async () => {
    const file = join(folder, 'osv/osv-scanner/npm/all.zip');
    writeFileSync(file, 'no zip');
    expect(await stopped()).toMatchObject({ type: 'ScanErrored' });
    rmSync(file);
    expect(await stopped()).toMatchObject({ type: 'ScanErrored', message: expect.stringContaining('packages of npm') });
    database();
  }, 60_000);

  test('where the scanner is missing or crashes', async () => {
    const { supplyChain } = deps;
    const { scanners } = await import('../../src/providers/scanners/index.ts');
    const script = join(folder, 'crash');
    writeFileSync(script, '#!/bin/sh\necho it broke >&2\nexit 2\n', { mode: 0o755 });
    const ways = {
      missing: () => Promise.reject(new ProviderError('ToolMissing', 'there is no osv-scanner')),
      crashing: () => Promise.resolve(script),
    };
    try {
      for (const program of Object.values(ways)) {
        const broken = { ...supplyChain.scanners, 'osv-scanner': scanners['osv-scanner'](program) };
        deps = { ...deps, supplyChain: { ...supplyChain, scanners: broken } };
        expect(await stopped()).toMatchObject({ type: 'ScanErrored' });
      }
      project();
      const [built] = await build(await prepare('1.0.1'));
      expect(built!.evidence!.scan).toMatchObject({ verdict: 'errored' });
    } finally {
      deps = { ...deps, supplyChain };
    }
  }, 90_000);
});

describe('an image is refused', () => {
  test('that nobody signed, or another one than was trusted', async () => {
    project();
    fixture.projectYaml = fixture.projectYaml.replace(
      / {2}signing: .*\n {2}requireSignature.*\n {2}attestation.*\n/,
      '',
    );
    const bare = await prepare('1.0.1', { 'app/node_modules/x': 'unsigned' });
    const [image] = await push(bare, await build(bare), []);
    expect(image!.evidence!.attested).toBeUndefined();
    await expect(verify(placeOf(bare), image!)).rejects.toMatchObject({ type: 'ImageNotSigned', retryable: false });
    await expect(verify(placeOf(bare, { requireSignature: false }), image!)).rejects.toMatchObject({
      type: 'ImageNotSigned',
    });
    await expect(verify(placeOf(plan, { keys: [stranger.publicKey] }), pushed)).rejects.toMatchObject({
      type: 'ImageNotSigned',
    });
    await expect(
      verify(placeOf(plan, { keys: [stranger.publicKey], requireSignature: false }), pushed),
    ).rejects.toMatchObject({ type: 'AttestationInvalid' });
    // While keys are exchanged one of two is enough.
    await verify(placeOf(plan, { keys: [stranger.publicKey, key.publicKey] }), pushed);
  }, 120_000);

  test.each([
    ['another commit', { commit: 'f'.repeat(40) }, 'is of the commit'],
    ['another definition', { definition: 'e'.repeat(64) }, 'was made by the definition'],
  ])('whose provenance is of %s', async (_, release, said) => {
    await expect(verify(placeOf(plan, {}, release), pushed)).rejects.toMatchObject({
      type: 'AttestationInvalid',
      message: expect.stringContaining(said),
    });
  });

  test('whose provenance names another builder', async () => {
    await expect(verify(placeOf(plan, { builder: 'urn:other' }), pushed)).rejects.toMatchObject({
      type: 'AttestationInvalid',
      message: expect.stringContaining('names the builder'),
    });
  });

  test('whose attestation was tampered with', async () => {
    const restore = await tamper(pushed, (statement) => statement.replace(plan.commit.sha, 'd'.repeat(40)));
    try {
      const error: unknown = await verify(placeOf(plan, {}, { commit: 'd'.repeat(40) }), pushed).catch(
        (reason: unknown) => reason,
      );
      expect(error).toMatchObject({ type: 'AttestationInvalid', retryable: false });
      await expect(verify(placeOf(plan), pushed)).rejects.toMatchObject({ type: 'AttestationInvalid' });
    } finally {
      await restore();
    }
    await verify(placeOf(plan), pushed);
  }, 60_000);

  test('to which the attestation of another one was moved', async () => {
    project();
    const other = await prepare('1.0.1', { 'app/node_modules/y': 'other' });
    const [image] = await push(other, await build(other), []);
    const restore = await copyAttestation(pushed, image!);
    try {
      await expect(verify(placeOf(plan, { requireSignature: false }), image!)).rejects.toMatchObject({
        type: 'AttestationInvalid',
      });
    } finally {
      await restore();
    }
  }, 90_000);
});

test('the key is in no log, no fact, no error and no file', async () => {
  project();
  fixture.secrets.set('COSIGN_PASSWORD', 'wr0ng-password');
  try {
    const next = await prepare('1.0.1', { 'app/node_modules/z': 'wrong password' });
    const error: unknown = await push(next, await build(next), []).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type: 'SignerFailed' });
    const told = JSON.stringify([
      error,
      String(error),
      fixture.facts,
      fixture.log('push/app'),
      fixture.log('build/app'),
    ]);
    expect(told).not.toContain('wr0ng');
    expect(told).not.toContain(key.password);
    expect(told).not.toContain(key.privateKey.split('\n')[2]);
  } finally {
    fixture.secrets.set('COSIGN_PASSWORD', key.password);
  }
  expect(readdirSync(scratchFolder()).filter((name) => /^(?:cosign|attest|syft|osv)-/.test(name))).toEqual([]);
}, 60_000);

// ─── Whoever else writes to the registry ───────────────────────────────────────────────────────────────────────────────────────────

const ociManifest = 'application/vnd.oci.image.manifest.v1+json';

interface RawManifest {
  readonly layers: { digest: string; size: number; readonly annotations: Readonly<Record<string, string>> }[];
}

const attestationTag = ({ digest }: ImageReport): string => `${digest.replace(':', '-')}.att`;
const api = (image: ImageReport): string => `http://${registry}/v2/${image.repository.slice(registry.length + 1)}`;
const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function getManifest(image: ImageReport): Promise<string> {
  const response = await fetch(`${api(image)}/manifests/${attestationTag(image)}`, {
    headers: { accept: ociManifest },
  });
  expect(response.status).toBe(200);
  return await response.text();
}

async function putManifest(image: ImageReport, body: string): Promise<void> {
  const url = `${api(image)}/manifests/${attestationTag(image)}`;
  const response = await fetch(url, { method: 'PUT', headers: { 'content-type': ociManifest }, body });
  expect(response.status).toBe(201);
}

async function putBlob(image: ImageReport, bytes: Buffer): Promise<void> {
  const begun = await fetch(`${api(image)}/blobs/uploads/`, { method: 'POST' });
  const url = new URL(begun.headers.get('location') ?? '', `http://${registry}`);
  url.searchParams.set('digest', sha256(bytes));
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await fetch(url, { method: 'PUT', headers, body: new Uint8Array(bytes) })).status).toBe(201);
}

/** Changes every statement, and leaves the signatures as they are. @returns what undoes it. */
async function tamper(image: ImageReport, change: (statement: string) => string): Promise<() => Promise<void>> {
  const before = await getManifest(image);
  const manifest = JSON.parse(before) as RawManifest;
  for (const layer of manifest.layers) {
    const envelope = (await (await fetch(`${api(image)}/blobs/${layer.digest}`)).json()) as { payload: string };
    const statement = change(Buffer.from(envelope.payload, 'base64').toString());
    const bytes = Buffer.from(JSON.stringify({ ...envelope, payload: Buffer.from(statement).toString('base64') }));
    await putBlob(image, bytes);
    layer.digest = sha256(bytes);
    layer.size = bytes.length;
  }
  await putManifest(image, JSON.stringify(manifest));
  return () => putManifest(image, before);
}

async function copyAttestation(from: ImageReport, to: ImageReport): Promise<() => Promise<void>> {
  const before = await getManifest(to);
  await putManifest(to, await getManifest(from));
  return () => putManifest(to, before);
}
