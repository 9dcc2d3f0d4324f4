import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ImageScan } from '../../../src/domain/image-scan.ts';
import type { ScanSpec } from '../../../src/definition/specs/supply-chain.ts';
import { scanners } from '../../../src/providers/scanners/index.ts';

/**
 * How each scanner is asked and what is made of its answers, by programs that answer as the real ones do. The real osv-scanner is in
 * tests/supply-chain; trivy cannot be had here.
 */
let folder: string;
const now = new Date('2026-11-25T12:00:00Z');
const hour = 3_600_000;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-scanners-'));
  write('sbom.cdx.json', {
    bomFormat: 'CycloneDX',
    components: [
      { type: 'library', name: 'left-paddle', purl: 'pkg:npm/left-paddle@1.0.0' },
      { type: 'library', name: 'busybox', purl: 'pkg:generic/busybox@1.36' },
      { type: 'file', name: '/etc/passwd' },
    ],
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(path: string, content: unknown, at?: Date): void {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  if (at !== undefined) utimesSync(file, at, at);
}

/** @param script - what it does; `--version` is answered before. */
function program(script: string): () => Promise<string> {
  const path = join(folder, 'program');
  const text = `#!/bin/sh\ncase "$*" in *--version*) echo "Version: 9.9.9"; exit 0;; esac\nprintf '%s ' "$@" > ${folder}/asked\n${script}\n`;
  writeFileSync(path, text, { mode: 0o755 });
  return () => Promise.resolve(path);
}

function scan(kind: ScanSpec['scanner'], script: string, maxAgeMs = 48 * hour): Promise<ImageScan> {
  const file = join(folder, 'sbom.cdx.json');
  return scanners[kind](program(script)).scan({
    name: 'app',
    sbom: { spdx: file, cyclonedx: file, packages: 3, tool: { name: 'syft', version: '1' } },
    database: join(folder, 'db'),
    maxAgeMs,
    now,
    signal: new AbortController().signal,
  });
}

const answers = {
  'osv-scanner': JSON.stringify({
    results: [
      {
        packages: [
          {
            package: { name: 'left-paddle', version: '1.0.0', ecosystem: 'npm' },
            vulnerabilities: [
              {
                id: 'GHSA-1',
                database_specific: { severity: 'MODERATE' },
                affected: [
                  { package: { name: 'left-paddle' }, ranges: [{ events: [{ introduced: '0' }, { fixed: '1.0.1' }] }] },
                ],
              },
              { id: 'GHSA-2' },
              { id: 'MAL-2026-1' },
              { id: 'GHSA-3' },
            ],
            groups: [
              { ids: ['GHSA-1'], aliases: ['CVE-1', 'GHSA-1'], max_severity: '' },
              { ids: ['GHSA-2'], max_severity: '9.8' },
              { ids: ['MAL-2026-1'], max_severity: '' },
              { ids: ['GHSA-3'], max_severity: '' },
            ],
          },
        ],
      },
    ],
  }),
  trivy: JSON.stringify({
    SchemaVersion: 2,
    Results: [
      { Target: 'os', Packages: [{ Name: 'a' }] },
      {
        Target: 'Node.js',
        Packages: [{ Name: 'left-paddle' }],
        Vulnerabilities: [
          {
            VulnerabilityID: 'CVE-1',
            VendorIDs: ['GHSA-1'],
            PkgName: 'left-paddle',
            InstalledVersion: '1.0.0',
            FixedVersion: '1.0.1, 2.0.0',
            Severity: 'HIGH',
          },
          { VulnerabilityID: 'CVE-2', PkgName: 'left-paddle', InstalledVersion: '1.0.0', Severity: 'UNKNOWN' },
        ],
      },
    ],
  }),
} as const;

/** What is the same of both. */
describe.each([
  {
    kind: 'osv-scanner' as const,
    renew: (at: Date) => write('db/osv-scanner/npm/all.zip', 'zip', at),
    found: 1,
  },
  {
    kind: 'trivy' as const,
    renew: (at: Date) => write('db/db/metadata.json', { Version: 2, UpdatedAt: at.toISOString() }),
    found: 0,
  },
])('$kind', ({ kind, renew, found }) => {
  const saying = (code: number): string => `cat <<'EOF'\n${answers[kind]}\nEOF\nexit ${code}`;

  test('is believed with its version and the age of its advisories', async () => {
    const at = new Date(now.getTime() - 47 * hour);
    renew(at);
    const report = await scan(kind, saying(found));
    expect(report).toMatchObject({
      scanner: { name: kind, version: '9.9.9' },
      databaseAt: at.toISOString(),
      scannedAt: now.toISOString(),
    });
    expect(report.vulnerabilities.length).toBeGreaterThan(0);
  });

  test.each([
    ['too old', -49 * hour],
    ['of a time to come', 2 * hour],
  ])('is not asked with advisories that are %s', async (_, offset) => {
    renew(new Date(now.getTime() + offset));
    await expect(scan(kind, saying(found))).rejects.toMatchObject({ type: 'ScanErrored', retryable: false });
  });

  test('is not asked without advisories', async () => {
    await expect(scan(kind, saying(found))).rejects.toMatchObject({ type: 'ScanErrored' });
  });

  test.each([
    ['fails', 'echo "it broke" >&2; exit 2', 'it broke'],
    ['is killed', 'kill -9 $$', ''],
    ['says nothing', `exit ${found}`, 'no JSON'],
    ['says half of it', `printf '{"results": [{'; exit ${found}`, 'no JSON'],
  ])('that %s is an error', async (_, script, said) => {
    renew(now);
    await expect(scan(kind, script)).rejects.toMatchObject({
      type: 'ScanErrored',
      message: expect.stringContaining(said),
    });
  });
});

describe('osv-scanner', () => {
  test('gives severities by score, else by the words of the database, and takes harmful packages for the worst', async () => {
    write('db/osv-scanner/npm/all.zip', 'zip', now);
    const { vulnerabilities, packages } = await scan(
      'osv-scanner',
      `cat <<'EOF'\n${answers['osv-scanner']}\nEOF\nexit 1`,
    );
    expect(packages).toBe(1);
    expect(vulnerabilities.map(({ id, severity }) => [id, severity])).toEqual([
      ['GHSA-1', 'medium'],
      ['GHSA-2', 'critical'],
      ['MAL-2026-1', 'critical'],
      ['GHSA-3', 'unknown'],
    ]);
    expect(vulnerabilities[0]).toMatchObject({ aliases: ['CVE-1'], fixedIn: ['1.0.1'] });
  });

  test('is given what has advisories only', async () => {
    write('db/osv-scanner/npm/all.zip', 'zip', now);
    await scan('osv-scanner', `for last; do :; done; cat "$last" > ${folder}/given; echo '{"results":[]}'`);
    expect(readFileSync(join(folder, 'given'), 'utf8')).toContain('left-paddle');
    expect(readFileSync(join(folder, 'given'), 'utf8')).not.toContain('busybox');
    expect(readFileSync(join(folder, 'asked'), 'utf8')).toContain('--offline');
  });

  test('that goes on without a part of its database is not believed, whatever it ends with', async () => {
    write('db/osv-scanner/npm/all.zip', 'zip', now);
    const script = `echo "could not load db for npm ecosystem: no offline version" >&2; echo '{"results":[]}'; exit 0`;
    await expect(scan('osv-scanner', script)).rejects.toMatchObject({ type: 'ScanErrored' });
  });

  test('is not asked about an image of which it knows nothing', async () => {
    write('sbom.cdx.json', { components: [{ purl: 'pkg:generic/node@24' }] });
    expect(await scan('osv-scanner', 'exit 3')).toMatchObject({ packages: 0, vulnerabilities: [] });
  });

  test('says what it did not look up', async () => {
    write('db/osv-scanner/npm/all.zip', 'zip', now);
    const purls = [
      'pkg:npm/left-paddle@1.0.0',
      'pkg:rpm/amzn/bash@5',
      'pkg:rpm/amzn/glibc@2?arch=x86_64',
      'pkg:conda/x@1',
    ];
    write('sbom.cdx.json', { components: [...purls.map((purl) => ({ purl })), { name: 'a file' }] });
    expect(await scan('osv-scanner', `echo '{"results":[]}'`)).toMatchObject({
      packages: 1,
      notLookedUp: [
        { kind: 'rpm/amzn', packages: 2, system: true },
        { kind: 'conda', packages: 1, system: false },
      ],
    });
  });
});

test.each([
  ['a system that it does not know', { Results: [{ Packages: [{}] }] }, 1],
  [
    'a system that nobody maintains',
    { Metadata: { OS: { EOSL: true } }, Results: [{ Class: 'os-pkgs', Packages: [{}] }] },
    1,
  ],
  ['one that it knows', { Metadata: { OS: {} }, Results: [{ Class: 'os-pkgs', Packages: [{}] }] }, 0],
])('trivy and %s', async (_, report, left) => {
  write('db/db/metadata.json', { UpdatedAt: now.toISOString() });
  write('sbom.cdx.json', { components: [{ purl: 'pkg:rpm/amzn/bash@5' }, { purl: 'pkg:npm/a@1' }] });
  const { notLookedUp } = await scan('trivy', `echo '${JSON.stringify({ SchemaVersion: 2, ...report })}'`);
  expect(notLookedUp).toEqual(left === 0 ? [] : [{ kind: 'rpm/amzn', packages: left, system: true }]);
});

test('trivy says what is in it in words of its own', async () => {
  write('db/db/metadata.json', { UpdatedAt: now.toISOString() });
  const { packages, vulnerabilities } = await scan('trivy', `cat <<'EOF'\n${answers.trivy}\nEOF`);
  expect(packages).toBe(2);
  expect(vulnerabilities).toEqual([
    {
      id: 'CVE-1',
      aliases: ['GHSA-1'],
      severity: 'high',
      package: 'left-paddle',
      version: '1.0.0',
      fixedIn: ['1.0.1', '2.0.0'],
    },
    { id: 'CVE-2', aliases: [], severity: 'unknown', package: 'left-paddle', version: '1.0.0', fixedIn: [] },
  ]);
});
