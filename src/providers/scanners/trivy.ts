import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import type { NotLookedUp, Vulnerability, VulnerabilitySeverity } from '../../domain/image-scan.ts';
import { runTool } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { checkDatabaseAge } from './database-age.ts';
import { countNotLookedUp, isOfSystem, purlOf, readBill } from './package-kinds.ts';
import type { ImageScanner } from './port.ts';
import { programVersion } from './program-version.ts';

const callMs = 300_000;
const maxOutputBytes = 64 * 1024 * 1024;

/**
 * Looks up by trivy in its own database, fetched before into its cache folder (`trivy image --download-db-only --cache-dir …`). The age is
 * what `db/metadata.json` in it says.
 *
 * @param program - path of trivy; asked at each use.
 */
export function createTrivyScanner(program: (signal?: AbortSignal) => Promise<string>): ImageScanner {
  return {
    name: 'trivy',
    async scan({ name, sbom, database, maxAgeMs, now, signal }) {
      const trivy = await program(signal);
      const databaseAt = await readDatabaseTime(database);
      checkDatabaseAge(join(database, 'db'), databaseAt, now, maxAgeMs);
      const failed = (why: string): ProviderError =>
        new ProviderError('ScanErrored', `${name} could not be scanned: ${why}`, { details: { image: name } });
      const { exitCode, stdout, stderr, timedOut, truncated } = await withScratch('trivy', (scratch) =>
        runTool({
          command: [
            ...([trivy, 'sbom', '--format', 'json', '--quiet', '--scanners', 'vuln', '--list-all-pkgs'] as const),
            ...['--cache-dir', database, '--skip-db-update', '--skip-java-db-update', '--offline-scan', sbom.cyclonedx],
          ],
          env: { TMPDIR: scratch, TRIVY_DISABLE_VEX_NOTICE: 'true', TRIVY_SKIP_VERSION_CHECK: 'true' },
          cwd: scratch,
          home: scratch,
          timeoutMs: callMs,
          maxOutputBytes,
          signal,
        }),
      );
      if (timedOut) throw failed(`trivy took longer than ${callMs / 60_000} minutes`);
      if (exitCode !== 0) throw failed(lastLine(stderr));
      if (truncated) throw failed('it found more than can be read');
      const { packages, vulnerabilities, system } = readReport(stdout, failed);
      const version = await programVersion(trivy, signal);
      return {
        scanner: { name: 'trivy', version },
        databaseAt: databaseAt.toISOString(),
        scannedAt: now.toISOString(),
        packages,
        notLookedUp: system ? [] : await packagesOfSystem(sbom.cyclonedx, name),
        vulnerabilities,
      };
    },
  };
}

async function readDatabaseTime(database: string): Promise<Date> {
  const file = join(database, 'db', 'metadata.json');
  try {
    const { UpdatedAt } = JSON.parse(await readFile(file, 'utf8')) as { readonly UpdatedAt?: string };
    return new Date(UpdatedAt ?? '');
  } catch (error) {
    throw new ProviderError('ScanErrored', `there are no advisories at ${database}: ${file} cannot be read`, {
      details: { file },
      cause: error,
    });
  }
}

interface Report {
  readonly SchemaVersion?: number;
  readonly Metadata?: { readonly OS?: { readonly EOSL?: boolean } };
  readonly Results?: readonly {
    /** `os-pkgs` for those of the system, where trivy knows it. */
    readonly Class?: string;
    readonly Packages?: readonly unknown[];
    readonly Vulnerabilities?: readonly {
      readonly VulnerabilityID: string;
      readonly PkgName: string;
      readonly InstalledVersion: string;
      readonly FixedVersion?: string;
      readonly Severity?: string;
      readonly VendorIDs?: readonly string[];
    }[];
  }[];
}

function readReport(
  stdout: string,
  failed: (why: string) => ProviderError,
): {
  readonly packages: number;
  readonly vulnerabilities: readonly Vulnerability[];
  /** Packages of the system were looked up, in advisories that are still written. */
  readonly system: boolean;
} {
  let report: Report;
  try {
    report = JSON.parse(stdout) as Report;
  } catch {
    throw failed('what trivy printed is no JSON');
  }
  if (report.SchemaVersion !== 2) throw failed(`its report is of form ${String(report.SchemaVersion)}, and 2 is known`);
  const results = report.Results ?? [];
  return {
    system: report.Metadata?.OS?.EOSL !== true && results.some(({ Class }) => Class === 'os-pkgs'),
    packages: results.reduce((sum, { Packages = [] }) => sum + Packages.length, 0),
    vulnerabilities: results.flatMap(({ Vulnerabilities = [] }) =>
      Vulnerabilities.map((found) => ({
        id: found.VulnerabilityID,
        aliases: found.VendorIDs ?? [],
        severity: severityOf(found.Severity),
        package: found.PkgName,
        version: found.InstalledVersion,
        fixedIn: (found.FixedVersion ?? '')
          .split(',')
          .map((each) => each.trim())
          .filter((each) => each !== ''),
      })),
    ),
  };
}

/** What nothing is known of where trivy did not recognise the system, or nobody maintains it any more. */
async function packagesOfSystem(file: string, image: string): Promise<readonly NotLookedUp[]> {
  const { components = [] } = await readBill(file, image);
  return countNotLookedUp(components.flatMap((component) => purlOf(component) ?? []).filter(isOfSystem));
}

function severityOf(said: string | undefined): VulnerabilitySeverity {
  const severity = said?.toLowerCase();
  return severity === 'critical' || severity === 'high' || severity === 'medium' || severity === 'low'
    ? severity
    : 'unknown';
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 1_000) || 'it gave no reason';
}
