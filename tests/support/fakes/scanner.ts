import { existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { ImageScan, Vulnerability } from '../../../src/domain/image-scan.ts';
import { checkDatabaseAge } from '../../../src/providers/scanners/database-age.ts';
import type { ImageScanner, ScanRequest } from '../../../src/providers/scanners/port.ts';

/** An advisory about every version of a package below the one that fixes it. */
export interface FakeAdvisory {
  readonly id: string;
  readonly alias: string;
  readonly name: string;
  readonly fixed: string;
}

/** Writes advisories as {@link createFakeScanner} reads them, one file for each kind of package. */
export function writeFakeDatabase(folder: string, kind: string, advisories: readonly FakeAdvisory[], at: Date): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${kind}.json`);
  writeFileSync(file, JSON.stringify(advisories));
  utimesSync(file, at, at);
}

/**
 * Looks the packages of a list up in such files; every finding is critical.
 *
 * @param isMissing - whether its program is not there. Default: it is.
 */
export function createFakeScanner(name = 'osv-scanner', isMissing = (): boolean => false): ImageScanner {
  return {
    name,
    // What is thrown while it looks is what it is refused with.
    scan: (request) =>
      new Promise((resolve) => {
        if (isMissing()) throw new ProviderError('ToolMissing', `there is no ${name}`);
        resolve(lookUp(name, request));
      }),
  };
}

function lookUp(scanner: string, { sbom, database, maxAgeMs, now, signal, name }: ScanRequest): ImageScan {
  signal.throwIfAborted();
  const vulnerabilities: Vulnerability[] = [];
  let databaseAt = now;
  const packages = packagesOf(sbom.cyclonedx, name);
  for (const { kind, named, version } of packages) {
    const file = join(database, `${kind}.json`);
    if (!existsSync(file)) {
      throw new ProviderError(
        'ScanErrored',
        `the image has packages of ${kind}, and there are no advisories at ${file}`,
      );
    }
    const at = statSync(file).mtime;
    checkDatabaseAge(file, at, now, maxAgeMs);
    if (at < databaseAt) databaseAt = at;
    const advisories = JSON.parse(readFileSync(file, 'utf8')) as readonly FakeAdvisory[];
    for (const { id, alias, fixed } of advisories.filter((each) => each.name === named)) {
      if (version.localeCompare(fixed, undefined, { numeric: true }) >= 0) continue;
      vulnerabilities.push({ id, aliases: [alias], severity: 'critical', package: named, version, fixedIn: [fixed] });
    }
  }
  return {
    scanner: { name: scanner, version: '0.0.0' },
    databaseAt: databaseAt.toISOString(),
    scannedAt: now.toISOString(),
    packages: packages.length,
    vulnerabilities,
  };
}

function packagesOf(
  list: string,
  image: string,
): readonly { readonly kind: string; readonly named: string; readonly version: string }[] {
  try {
    const { components = [] } = JSON.parse(readFileSync(list, 'utf8')) as {
      readonly components?: readonly { readonly purl?: string }[];
    };
    return components.flatMap(({ purl }) => {
      const [, kind = '', named = '', version = ''] = /^pkg:([a-z]+)\/([^@]+)@([^?]+)/.exec(purl ?? '') ?? [];
      return kind === '' ? [] : [{ kind, named, version }];
    });
  } catch (cause) {
    throw new ProviderError('ScanErrored', `${image} could not be scanned: its list cannot be read`, { cause });
  }
}
