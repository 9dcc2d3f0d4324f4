import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { readKeptScan } from '../../../src/activities/kept-scans.ts';
import { createLiveScanActivities } from '../../../src/activities/live-scans.ts';
import type { ImageScan } from '../../../src/domain/image-scan.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { ensureEnvironment } from '../../../src/store/environments.ts';
import { putProject } from '../../../src/store/projects.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { recordRound } from '../../../src/store/upkeep.ts';
import { projectYaml } from '../../support/api.ts';
import { createFakeSbomMaker } from '../../support/fakes/sbom-maker.ts';
import { createFakeScanner, writeFakeDatabase } from '../../support/fakes/scanner.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let folder: string;
let blobs: BlobStore;
let activities: Pick<ReturnType<typeof createLiveScanActivities>, keyof ReturnType<typeof createLiveScanActivities>>;
/** Where the scanner looks packages up. */
let database: string;
let isMissing: boolean;
let made: number;

const image = { name: 'web', repository: '127.0.0.1:5000/web', digest: `sha256:${'a'.repeat(64)}` };
const scanOf = (...names: readonly string[]): ImageScan => ({
  scanner: { name: 'osv-scanner', version: '2.2.0' },
  databaseAt: '2026-11-25T00:00:00.000Z',
  scannedAt: '2026-11-26T00:00:00.000Z',
  packages: 2,
  vulnerabilities: names.map((name) => {
    return { id: `TEST-${name}`, aliases: [], severity: 'high' as const, package: name, version: '1', fixedIn: [] };
  }),
});
const hourMs = 3_600_000;
/** A list with these packages, all of version 1, as a build keeps it. */
const listOf = (...names: readonly string[]): string =>
  JSON.stringify({ bomFormat: 'CycloneDX', components: names.map((name) => ({ name, purl: `pkg:npm/${name}@1` })) });
/** Advisories about these packages, of some hours ago. */
function advise(names: readonly string[], hours = 0): void {
  const advisories = names.map((name) => ({ id: `TEST-${name}`, alias: `CVE-${name}`, name, fixed: '2' }));
  writeFakeDatabase(database, 'npm', advisories, new Date(Date.now() - hours * hourMs));
}

beforeAll(async () => {
  store = await temporaryStore();
  folder = mkdtempSync(join(tmpdir(), 'slipway-live-'));
  blobs = createFolderBlobs({ folder });
  const scanner = createFakeScanner('osv-scanner', () => isMissing);
  const maker = createFakeSbomMaker();
  activities = createLiveScanActivities({
    store,
    blobs,
    supplyChain: {
      sboms: {
        ...maker,
        make(request) {
          made += 1;
          return maker.make(request);
        },
      },
      scanners: { 'osv-scanner': scanner, trivy: scanner },
    },
    builder: {
      resolve: () => Promise.resolve({}),
      inspect: () => Promise.resolve({ id: 'i', sizeBytes: 1, digests: [], labels: {} }),
      save: (_, to) => Promise.resolve([{ form: 'docker-archive', path: join(to, 'image.tar') }]),
    },
    readRegistry: () => Promise.resolve({ address: '127.0.0.1:5000', insecure: true }),
  });
}, 60_000);
afterAll(async () => {
  await store.drop();
  rmSync(folder, { recursive: true, force: true });
});
let project: string;
let count = 0;
beforeEach(async () => {
  count += 1;
  made = 0;
  isMissing = false;
  project = `p${count}`;
  database = join(folder, 'advisories', project);
  await put(`images:\n  scan: { scanner: osv-scanner, database: ${database}, mode: warn, maxAge: 48h }\n`);
});

async function put(more: string): Promise<void> {
  const text = projectYaml(project, more);
  await putProject(store.db, { name: project, text, hash: String(text.length), diff: '', by: 'ada' });
}
async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}
async function keep(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [file, text] of Object.entries(files)) {
    await blobs.put(`evidence/${project}/7/web/${file}`, Buffer.from(text));
  }
}

test('an image is looked up by the list of its build, and what was found then is known', async () => {
  await keep({
    'sbom.spdx.json': '{}',
    'sbom.cdx.json': listOf('old', 'new'),
    'scan.json': JSON.stringify(scanOf('old')),
  });
  advise(['old', 'new', 'another']);
  const scan = await call(activities.scanLiveImage, { project, image, build: 7 });
  expect(made).toBe(0);
  expect(scan).toMatchObject({ name: 'web', scan: { verdict: 'failed' }, known: ['TEST-old old 1'] });
  expect(scan.findings.map(({ key }) => key)).toEqual(['TEST-new new 1', 'TEST-old old 1']);
});

test.each([
  ['a scanner that is missing', 'missing', 'there is no osv-scanner'],
  ['a scanner without a database', 'nothing', 'there are no advisories at'],
  ['a database that is too old', 'old', 'older than the 48 hours it may be'],
] as const)('%s is errored, never clean', async (_, what, reason) => {
  await keep({ 'sbom.spdx.json': '{}', 'sbom.cdx.json': listOf('old') });
  isMissing = what === 'missing';
  if (what === 'old') advise([], 96);
  const scan = await call(activities.scanLiveImage, { project, image, build: 7 });
  expect(scan).toMatchObject({
    scan: { verdict: 'errored', reason: expect.stringContaining(reason) },
    ...{ findings: [], known: null },
  });
});

test('an image without a list is listed now; where that fails nothing is known of it', async () => {
  advise([]);
  const scan = await call(activities.scanLiveImage, { project, image, build: null });
  expect(made).toBe(1);
  expect(scan.scan).toMatchObject({ verdict: 'errored', reason: expect.stringContaining('could not be listed') });
});

test('a project without a scanner is errored, and a project that is not there is an error', async () => {
  await put('');
  const { scan } = await call(activities.scanLiveImage, { project, image, build: 7 });
  expect(scan).toMatchObject({ verdict: 'errored', reason: expect.stringContaining('names no scanner') });
  await expect(call(activities.readLive, { project: 'nobody' })).rejects.toMatchObject({ type: 'NotFound' });
});

test('what is live and what was before is read with its build, and with what the last scan had found', async () => {
  for (const environment of ['staging', 'production', 'gone']) await ensureEnvironment(store.db, project, environment);
  await recordRelease(store.db, {
    project,
    version: '1.0.7',
    build: 7,
    commit: 'c'.repeat(40),
    images: [image],
    definition: 'd',
    migrations: [],
    runKey: null as never,
    author: 'ada',
  });
  const at = (version: string) =>
    JSON.stringify({ version, images: [image], deployment: 1, slot: 'blue', commit: 'c', since: '' });
  await store.db
    .updateTable('environments')
    .set({ live: at('1.0.7'), previous: at('1.0.6') })
    .where('project', '=', project)
    .where('name', '=', 'production')
    .execute();
  const subject = `${project}/production`;
  const round = { kind: 'scan' as const, subject, project, environment: 'production', summary: '', lines: [] };
  for (const keys of [['first'], ['second']]) {
    await recordRound(store.db, { ...round, verdict: 'failed', detail: { keys } });
  }
  expect(await call(activities.readLive, { project, environment: 'production' })).toEqual([
    {
      project,
      environment: 'production',
      production: true,
      known: ['second'],
      releases: [
        { role: 'live', version: '1.0.7', images: [image], build: 7 },
        { role: 'previous', version: '1.0.6', images: [image], build: null },
      ],
    },
  ]);
  const all = await call(activities.readLive, { project });
  expect(all.map(({ environment, releases }) => [environment, releases.length])).toEqual([
    ['production', 2],
    ['staging', 0],
  ]);
});

const lists = { 'sbom.spdx.json': '{}', 'sbom.cdx.json': listOf('old', 'new') };
async function kept(): Promise<ImageScan | undefined> {
  return await readKeptScan(blobs, { project, build: 7, image: 'web' });
}
async function release(): Promise<void> {
  await recordRelease(store.db, {
    ...{
      project,
      version: '1.0.7',
      build: 7,
      commit: 'c'.repeat(40),
      images: [image],
      definition: 'd',
      migrations: [],
    },
    ...{ runKey: null as never, author: 'ada' },
  });
}
const renewed = (): Promise<Readonly<Record<string, string>>> =>
  call(activities.renewScans, { project, version: '1.0.7', images: ['web'] });

test('what a scan of what is live finds is kept beside the evidence of its build, for whoever plans it next', async () => {
  await keep({ ...lists, 'scan.json': JSON.stringify({ ...scanOf(), scannedAt: '2026-11-01T00:00:00.000Z' }) });
  advise(['new']);
  await call(activities.scanLiveImage, { project, image, build: 7 });
  const found = await kept();
  expect(found?.vulnerabilities.map(({ id }) => id)).toEqual(['TEST-new']);
  rmSync(database, { recursive: true });
  expect((await call(activities.scanLiveImage, { project, image, build: 7 })).scan.verdict).toBe('errored');
  expect(await kept()).toEqual(found);
});

test('a scan that is too old is made again before a deployment, of every platform that has a list', async () => {
  await release();
  await keep({
    ...{ 'linux-amd64.sbom.spdx.json': '{}', 'linux-amd64.sbom.cdx.json': listOf('amd64') },
    ...{ 'linux-arm64.sbom.spdx.json': '{}', 'linux-arm64.sbom.cdx.json': listOf('arm64') },
    'scan.json': JSON.stringify({
      ...scanOf(),
      databaseAt: '2024-01-01T00:00:00.000Z',
      scannedAt: '2024-01-01T00:00:00.000Z',
    }),
  });
  advise(['amd64', 'arm64']);
  expect([await renewed(), made]).toEqual([{}, 0]);
  expect((await kept())!.vulnerabilities.map(({ id }) => id)).toEqual(['TEST-amd64', 'TEST-arm64']);
  // It is of now, so that nothing is done a second time.
  isMissing = true;
  expect(await renewed()).toEqual({});
});

test('a scan that cannot be made again is told, and leaves what there was', async () => {
  await release();
  const before = { ...scanOf('old'), databaseAt: '2024-01-01T00:00:00.000Z' };
  await keep({ ...lists, 'scan.json': JSON.stringify(before) });
  isMissing = true;
  expect(await renewed()).toEqual({ web: 'there is no osv-scanner' });
  expect(await kept()).toEqual(before);
});
