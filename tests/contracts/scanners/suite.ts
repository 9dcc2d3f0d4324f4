import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Sbom } from '../../../src/providers/sboms/port.ts';
import type { ImageScanner, ScanRequest } from '../../../src/providers/scanners/port.ts';

/** A scanner under test and what the suite must be able to do to it. */
export interface ScannerLab {
  readonly scanner: ImageScanner;
  /** The same where its program is not there. */
  readonly missing: ImageScanner;
  /** Makes its advisories on npm, of a time: that `left-paddle` below 1.0.1 has the critical TEST-2026-0001, also called CVE-2026-0001. */
  writeAdvisories(folder: string, at: Date): void;
}

/** What every scanner keeps, the fake included. */
export function describeScanner(name: string, start: () => Promise<ScannerLab>): void {
  describe(`scanner ${name}`, () => {
    const now = new Date();
    const hourMs = 3_600_000;
    let lab: ScannerLab;
    let folder: string;

    beforeAll(async () => {
      lab = await start();
      folder = mkdtempSync(join(tmpdir(), 'slipway-scanner-'));
    }, 900_000);
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    let lists = 0;
    function listOf(...purls: readonly string[]): Sbom {
      lists += 1;
      const cyclonedx = join(folder, `list-${lists}.cdx.json`);
      const components = purls.map((purl) => {
        const [, named = '', version = ''] = /\/([^@]+)@(.+)$/.exec(purl) ?? [];
        return { type: 'library', 'bom-ref': purl, name: named, version, purl };
      });
      writeFileSync(cyclonedx, JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1, components }));
      return { spdx: cyclonedx, cyclonedx, packages: purls.length, tool: { name: 'by hand', version: '1' } };
    }

    function asked(sbom: Sbom, more: Partial<ScanRequest> = {}): ScanRequest {
      const database = join(folder, 'database');
      const signal = new AbortController().signal;
      return { name: 'app', sbom, database, maxAgeMs: 48 * hourMs, now, signal, ...more };
    }

    test('that is not there says so, and nothing of the image', async () => {
      lab.writeAdvisories(join(folder, 'database'), now);
      const scan = lab.missing.scan(asked(listOf('pkg:npm/left-paddle@1.0.0')));
      await expect(scan).rejects.toMatchObject({ type: 'ToolMissing', retryable: false });
    });

    test('finds what an advisory is about, with its other names, its severity and what mends it', async () => {
      const at = new Date(now.getTime() - hourMs);
      lab.writeAdvisories(join(folder, 'database'), at);
      const scan = await lab.scanner.scan(asked(listOf('pkg:npm/left-paddle@1.0.0', 'pkg:npm/right-paddle@1.0.0')));
      expect(scan).toMatchObject({
        scanner: { name: lab.scanner.name, version: expect.stringMatching(/^\d+\.\d+\.\d+/) },
        scannedAt: now.toISOString(),
        packages: 2,
      });
      expect(Math.abs(Date.parse(scan.databaseAt) - at.getTime())).toBeLessThan(1_000);
      expect(scan.vulnerabilities).toEqual([
        {
          ...{ id: 'TEST-2026-0001', aliases: ['CVE-2026-0001'], severity: 'critical' },
          ...{ package: 'left-paddle', version: '1.0.0', fixedIn: ['1.0.1'] },
        },
      ]);
    });

    test('finds nothing in what is mended', async () => {
      lab.writeAdvisories(join(folder, 'database'), now);
      const scan = await lab.scanner.scan(asked(listOf('pkg:npm/left-paddle@1.0.1')));
      expect(scan).toMatchObject({ packages: 1, vulnerabilities: [] });
    });

    test('looks at nothing where there is nothing, and says so', async () => {
      lab.writeAdvisories(join(folder, 'database'), now);
      expect(await lab.scanner.scan(asked(listOf()))).toMatchObject({ packages: 0, vulnerabilities: [] });
    });

    test.each([
      ['there are no advisories at all', { database: '/nowhere/at/all' }],
      ['they are older than they may be', { maxAgeMs: hourMs }],
      ['they are of a time to come', { now: new Date(now.getTime() - 100 * hourMs) }],
    ])('is errored where %s: nothing is known then', async (_, more) => {
      lab.writeAdvisories(join(folder, 'database'), new Date(now.getTime() - 3 * hourMs));
      const scan = lab.scanner.scan(asked(listOf('pkg:npm/left-paddle@1.0.0'), more));
      await expect(scan).rejects.toMatchObject({ type: 'ScanErrored', retryable: false });
    });

    test('is errored where a kind of package has no advisories', async () => {
      lab.writeAdvisories(join(folder, 'database'), now);
      const scan = lab.scanner.scan(asked(listOf('pkg:npm/left-paddle@1.0.1', 'pkg:pypi/paddle@1.0.0')));
      await expect(scan).rejects.toMatchObject({ type: 'ScanErrored', message: expect.stringMatching(/pypi/i) });
    });

    test('is errored by a list that cannot be read', async () => {
      const list = listOf();
      writeFileSync(list.cyclonedx, '{"components": [');
      await expect(lab.scanner.scan(asked(list))).rejects.toMatchObject({
        type: 'ScanErrored',
        retryable: false,
        message: expect.stringContaining('app could not be scanned'),
      });
    });

    test('ends when it is called off', async () => {
      lab.writeAdvisories(join(folder, 'database'), now);
      const signal = AbortSignal.abort(new Error('called off'));
      const scan = lab.scanner.scan(asked(listOf('pkg:npm/left-paddle@1.0.0'), { signal }));
      await expect(scan).rejects.toThrow('called off');
    });
  });
}
