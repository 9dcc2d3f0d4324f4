import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createLiveScanActivities } from '../../src/activities/live-scans.ts';
import { judgeLiveScan } from '../../src/domain/live-scan.ts';
import type { LiveImageScan } from '../../src/domain/live-scan.ts';
import { createFolderBlobs } from '../../src/providers/blobs/folder.ts';
import { createOsvScanner } from '../../src/providers/scanners/osv-scanner.ts';
import { putProject } from '../../src/store/projects.ts';
import { projectYaml } from '../support/api.ts';
import { createFakeSbomMaker } from '../support/fakes/sbom-maker.ts';
import { activityEnvironment } from '../support/run-fixture.ts';
import { type TestStore, temporaryStore } from '../support/store.ts';
import { advisory, toolPath, writeOsvDatabase } from '../support/supply-chain.ts';

/** osv-scanner as it is, over the list of an image as its build kept it; only the advisories are made up. */
let store: TestStore;
let folder: string;
let scan: () => Promise<LiveImageScan>;

const vector = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H';
const unrelated = advisory({ id: 'TEST-2026-0001', name: 'right-paddle', fixed: '9.0.0', vector });
const planted = advisory({ id: 'TEST-2026-0002', name: 'left-paddle', fixed: '1.0.1', vector });
const hourMs = 3_600_000;

beforeAll(async () => {
  const osv = await toolPath('osv-scanner');
  store = await temporaryStore();
  folder = mkdtempSync(join(tmpdir(), 'slipway-live-scan-'));
  const blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  const yaml = `images:\n  scan: { scanner: osv-scanner, database: ${join(folder, 'osv')}, mode: warn, maxAge: 48h }\n`;
  await putProject(store.db, { name: 'hello', text: projectYaml('hello', yaml), hash: 'h', diff: '', by: 'ada' });
  const list = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    components: [{ type: 'library', name: 'left-paddle', version: '1.0.0', purl: 'pkg:npm/left-paddle@1.0.0' }],
  };
  await blobs.put('evidence/hello/7/web/sbom.cdx.json', Buffer.from(JSON.stringify(list)));
  await blobs.put('evidence/hello/7/web/sbom.spdx.json', Buffer.from('{}'));
  const nobody = (): never => {
    throw new Error('not asked');
  };
  const scanner = createOsvScanner(() => Promise.resolve(osv));
  const activities: Pick<ReturnType<typeof createLiveScanActivities>, 'scanLiveImage'> = createLiveScanActivities({
    store,
    blobs,
    supplyChain: {
      sboms: createFakeSbomMaker(),
      scanners: { 'osv-scanner': scanner, trivy: scanner },
    },
    builder: { resolve: nobody, inspect: nobody, save: nobody },
    readRegistry: nobody,
  });
  const image = { name: 'web', repository: '127.0.0.1:5000/web', digest: `sha256:${'a'.repeat(64)}` };
  scan = async () =>
    await activityEnvironment().run<[], LiveImageScan, () => Promise<LiveImageScan>>(() =>
      activities.scanLiveImage({ project: 'hello', image, build: 7 }),
    );
  // As the run's own scan left it: nothing was known by then.
  writeOsvDatabase(join(folder, 'osv'), { npm: [unrelated] });
  const atBuild = await scan();
  expect(atBuild.scan.verdict).toBe('passed');
  const { scanner: name, databaseAt, scannedAt, packages } = atBuild.scan;
  await blobs.put(
    'evidence/hello/7/web/scan.json',
    Buffer.from(JSON.stringify({ scanner: name, databaseAt, scannedAt, packages, vulnerabilities: [] })),
  );
}, 1_200_000);
afterAll(async () => {
  await store.drop();
  rmSync(folder, { recursive: true, force: true });
});

const judge = (image: LiveImageScan, before: readonly string[] | null = null) =>
  judgeLiveScan(
    { project: 'hello', environment: 'production' },
    [{ role: 'live', version: '1.0.7', images: [image] }],
    before,
  );

test('an advisory that came after the deployment is found, once', async () => {
  writeOsvDatabase(join(folder, 'osv'), { npm: [unrelated, planted] });
  const first = judge(await scan());
  expect(first.round.verdict).toBe('failed');
  expect(first.fresh.map(({ key, severity }) => [key, severity])).toEqual([
    ['TEST-2026-0002 left-paddle 1.0.0', 'critical'],
  ]);
  expect(first.round.lines[1]).toContain('new since it was built: critical TEST-2026-0002 in left-paddle 1.0.0');
  const second = judge(await scan(), first.round.detail['keys'] as readonly string[]);
  expect(second.fresh).toEqual([]);
  expect(second.round.verdict).toBe('failed');
}, 120_000);

test('advisories that nobody has renewed are an error, and no clean bill', async () => {
  writeOsvDatabase(join(folder, 'osv'), { npm: [unrelated] }, new Date(Date.now() - 49 * hourMs));
  const { round, fresh } = judge(await scan());
  expect(round.verdict).toBe('errored');
  expect(round.lines[0]).toMatch(/errored, .*(old|hours|days)/);
  expect(fresh).toEqual([]);
}, 60_000);
