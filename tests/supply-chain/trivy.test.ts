import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScanRequest, ImageScanner } from '../../src/providers/scanners/port.ts';
import { createTrivyScanner } from '../../src/providers/scanners/trivy.ts';
import { toolPath, trivyDatabaseMaker, writeTrivyDatabase } from '../support/supply-chain.ts';

/**
 * The real trivy, with a database that its authors' own program has made. It passes the suite of scanners but for one thing: which kinds of
 * packages its database knows it does not say.
 */
describe('the real trivy', () => {
  const now = new Date();
  const hourMs = 3_600_000;
  let scanner: ImageScanner;
  let maker: string;
  let folder: string;
  let database: string;

  beforeAll(async () => {
    const program = await toolPath('trivy');
    scanner = createTrivyScanner(() => Promise.resolve(program));
    maker = await trivyDatabaseMaker();
    folder = mkdtempSync(join(tmpdir(), 'slipway-trivy-'));
  }, 1_800_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(() => {
    database = mkdtempSync(join(folder, 'database-'));
    writeTrivyDatabase(maker, database, new Date(now.getTime() - 3 * hourMs));
  }, 120_000);

  function request(purls: readonly string[], more: Partial<ScanRequest> = {}): ScanRequest {
    const cyclonedx = join(database, 'list.cdx.json');
    const components = purls.map((purl) => {
      const [, name = '', version = ''] = /\/([^@]+)@(.+)$/.exec(purl) ?? [];
      return { type: 'library', 'bom-ref': purl, name, version, purl };
    });
    writeFileSync(cyclonedx, JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1, components }));
    const sbom = { spdx: cyclonedx, cyclonedx, packages: purls.length, tool: { name: 'by hand', version: '1' } };
    const signal = new AbortController().signal;
    return { name: 'app', sbom, database, maxAgeMs: 48 * hourMs, now, signal, ...more };
  }

  test('takes every setting that it is given, and what it finds is read: names, severity, what mends it, its version', async () => {
    const scan = await scanner.scan(request(['pkg:npm/left-paddle@1.0.0', 'pkg:npm/right-paddle@1.0.0']));
    expect(scan).toEqual({
      scanner: { name: 'trivy', version: '0.74.0' },
      databaseAt: new Date(now.getTime() - 3 * hourMs).toISOString(),
      scannedAt: now.toISOString(),
      notLookedUp: [],
      packages: 2,
      vulnerabilities: [
        {
          ...{ id: 'CVE-2026-0001', aliases: ['GHSA-test-test-test'], severity: 'critical' },
          ...{ package: 'left-paddle', version: '1.0.0', fixedIn: ['1.0.1'] },
        },
      ],
    });
  }, 60_000);

  test('finds nothing in what is mended, and nothing where there is nothing', async () => {
    expect(await scanner.scan(request(['pkg:npm/left-paddle@1.0.1']))).toMatchObject({
      ...{ packages: 1, vulnerabilities: [] },
    });
    expect(await scanner.scan(request([]))).toMatchObject({ packages: 0, vulnerabilities: [] });
  }, 60_000);

  test.each([
    [
      'is not there',
      () => rmSync(join(database, 'db/trivy.db')),
      '--skip-db-update cannot be specified on the first run',
    ],
    [
      'is cut off',
      () =>
        writeFileSync(join(database, 'db/trivy.db'), readFileSync(join(database, 'db/trivy.db')).subarray(0, 3_000)),
      'failed to open db: file size too small',
    ],
    ['has no time', () => rmSync(join(database, 'db/metadata.json')), 'there are no advisories at'],
  ])(
    'is errored where its database %s, and says so',
    async (_, breaks, words) => {
      const asked = request(['pkg:npm/left-paddle@1.0.0']);
      breaks();
      await expect(scanner.scan(asked)).rejects.toMatchObject({
        ...{ type: 'ScanErrored', retryable: false, message: expect.stringContaining(words) as unknown },
      });
    },
    60_000,
  );

  test('is errored where its database is older than it may be, or of a time to come', async () => {
    const late = request(['pkg:npm/left-paddle@1.0.0'], { maxAgeMs: hourMs });
    await expect(scanner.scan(late)).rejects.toMatchObject({
      ...{ type: 'ScanErrored', message: expect.stringContaining('older than the 1 hours it may be') as unknown },
    });
    const early = request(['pkg:npm/left-paddle@1.0.0'], { now: new Date(now.getTime() - 100 * hourMs) });
    await expect(scanner.scan(early)).rejects.toMatchObject({
      ...{ type: 'ScanErrored', message: expect.stringContaining('still to come') as unknown },
    });
  }, 60_000);

  test('is errored by a list that cannot be read', async () => {
    const asked = request([]);
    writeFileSync(asked.sbom.cyclonedx, '{"components": [');
    await expect(scanner.scan(asked)).rejects.toMatchObject({
      ...{
        type: 'ScanErrored',
        message: expect.stringMatching(/^app could not be scanned: .*SBOM decode error/) as unknown,
      },
    });
  }, 60_000);
});
