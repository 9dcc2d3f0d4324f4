import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { readKeptScan } from '../../../src/activities/kept-scans.ts';
import { createLiveScanActivities } from '../../../src/activities/live-scans.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { ImageScan } from '../../../src/domain/image-scan.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { ensureEnvironment } from '../../../src/store/environments.ts';
import { putProject } from '../../../src/store/projects.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { recordRound } from '../../../src/store/upkeep.ts';
import { projectYaml } from '../../support/api.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let folder: string;
let blobs: BlobStore;
let activities: Pick<ReturnType<typeof createLiveScanActivities>, keyof ReturnType<typeof createLiveScanActivities>>;
/** What the scanner does with the list that it is given. */
let scanner: (list: string) => ImageScan;
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
const scanning = 'images:\n  scan: { scanner: osv-scanner, database: /var/lib/osv, mode: warn, maxAge: 48h }\n';

beforeAll(async () => {
  store = await temporaryStore();
  folder = mkdtempSync(join(tmpdir(), 'slipway-live-'));
  blobs = createFolderBlobs({ folder });
  const fake = {
    name: 'osv-scanner',
    scan: async ({ sbom }: { readonly sbom: { readonly cyclonedx: string } }) =>
      scanner(await readFile(sbom.cyclonedx, 'utf8')),
  };
  activities = createLiveScanActivities({
    store,
    blobs,
    supplyChain: {
      sboms: {
        name: 'syft',
        isHere: () => false,
        make: () => {
          made += 1;
          return Promise.reject(new ProviderError('ToolMissing', 'there is no syft'));
        },
      },
      scanners: { 'osv-scanner': fake, trivy: fake },
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
  project = `p${count}`;
  await put(scanning);
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
  await keep({ 'sbom.spdx.json': '{}', 'sbom.cdx.json': 'the list', 'scan.json': JSON.stringify(scanOf('old')) });
  let seen = '';
  scanner = (list) => {
    seen = list;
    return scanOf('old', 'new');
  };
  const scan = await call(activities.scanLiveImage, { project, image, build: 7 });
  expect([seen, made]).toEqual(['the list', 0]);
  expect(scan).toMatchObject({ name: 'web', scan: { verdict: 'failed' }, known: ['TEST-old old 1'] });
  expect(scan.findings.map(({ key }) => key)).toEqual(['TEST-new new 1', 'TEST-old old 1']);
});

test.each([
  ['a scanner that is missing', 'ToolMissing', 'there is no osv-scanner'],
  ['a scanner that breaks', 'ScanErrored', 'web could not be scanned: it crashed'],
  ['a database that is too old', 'ScanErrored', 'the advisories are 4 days old'],
] as const)('%s is errored, never clean', async (_, type, message) => {
  await keep({ 'sbom.spdx.json': '{}', 'sbom.cdx.json': 'the list' });
  scanner = () => {
    throw new ProviderError(type, message);
  };
  const scan = await call(activities.scanLiveImage, { project, image, build: 7 });
  expect(scan).toMatchObject({ scan: { verdict: 'errored', reason: message }, findings: [], known: null });
});

test('an image without a list is listed now; where that fails nothing is known of it', async () => {
  scanner = () => scanOf();
  const scan = await call(activities.scanLiveImage, { project, image, build: null });
  expect(made).toBe(1);
  expect(scan.scan).toMatchObject({ verdict: 'errored', reason: 'there is no syft' });
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

const lists = { 'sbom.spdx.json': '{}', 'sbom.cdx.json': 'the list' };
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
  scanner = () => scanOf('new');
  await call(activities.scanLiveImage, { project, image, build: 7 });
  expect(await kept()).toEqual(scanOf('new'));
  scanner = () => {
    throw new ProviderError('ScanErrored', 'it crashed');
  };
  await call(activities.scanLiveImage, { project, image, build: 7 });
  expect(await kept()).toEqual(scanOf('new'));
});

test('a scan that is too old is made again before a deployment, of every platform that has a list', async () => {
  await release();
  await keep({
    ...{ 'linux-amd64.sbom.spdx.json': '{}', 'linux-amd64.sbom.cdx.json': 'amd64' },
    ...{ 'linux-arm64.sbom.spdx.json': '{}', 'linux-arm64.sbom.cdx.json': 'arm64' },
    'scan.json': JSON.stringify({
      ...scanOf(),
      databaseAt: '2024-01-01T00:00:00.000Z',
      scannedAt: '2024-01-01T00:00:00.000Z',
    }),
  });
  const looked: string[] = [];
  scanner = (list) => {
    looked.push(list);
    return { ...scanOf(list), databaseAt: new Date().toISOString() };
  };
  expect(await renewed()).toEqual({});
  expect([looked, made]).toEqual([['amd64', 'arm64'], 0]);
  expect((await kept())!.vulnerabilities.map(({ id }) => id)).toEqual(['TEST-amd64', 'TEST-arm64']);
  // It is of now, so that nothing is done a second time.
  expect(await renewed()).toEqual({});
  expect(looked).toHaveLength(2);
});

test('a scan that cannot be made again is told, and leaves what there was', async () => {
  await release();
  const before = { ...scanOf('old'), databaseAt: '2024-01-01T00:00:00.000Z' };
  await keep({ ...lists, 'scan.json': JSON.stringify(before) });
  scanner = () => {
    throw new ProviderError('ToolMissing', 'there is no osv-scanner');
  };
  expect(await renewed()).toEqual({ web: 'there is no osv-scanner' });
  expect(await kept()).toEqual(before);
});
