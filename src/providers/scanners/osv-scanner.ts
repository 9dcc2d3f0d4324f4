import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import type { ImageScan, NotLookedUp, Vulnerability, VulnerabilitySeverity } from '../../domain/image-scan.ts';
import { runTool } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { checkDatabaseAge } from './database-age.ts';
import { type Purl, countNotLookedUp, isOfSystem, purlOf, readBill } from './package-kinds.ts';
import type { ImageScanner } from './port.ts';
import { programVersion } from './program-version.ts';

/** Databases of a whole ecosystem are read at each scan. Judgement. */
const callMs = 300_000;
const maxOutputBytes = 64 * 1024 * 1024;
/** Its exit codes: nothing found, something found, nothing to look at. Everything else is a failure. */
const codes = { clean: 0, found: 1, nothing: 128 } as const;

/**
 * Ecosystems of OSV by the type of a package's URL, as far as syft names them; the folders of the database are called so. Packages of other kinds
 * have no advisories there.
 *
 * @see https://ossf.github.io/osv-schema/#defined-ecosystems
 */
const ecosystems: Readonly<Record<string, string>> = {
  cargo: 'crates.io',
  composer: 'Packagist',
  conan: 'ConanCenter',
  gem: 'RubyGems',
  golang: 'Go',
  hackage: 'Hackage',
  hex: 'Hex',
  maven: 'Maven',
  npm: 'npm',
  nuget: 'NuGet',
  pub: 'Pub',
  pypi: 'PyPI',
};
/** Of the packages of a distribution, by the namespace of their URL. */
const distributions: Readonly<Record<string, string>> = {
  alpine: 'Alpine',
  debian: 'Debian',
  ubuntu: 'Ubuntu',
  rocky: 'Rocky Linux',
  almalinux: 'AlmaLinux',
  redhat: 'Red Hat',
  wolfi: 'Wolfi',
  chainguard: 'Chainguard',
};

/**
 * Looks up by osv-scanner in a local copy of the OSV database: `<folder>/osv-scanner/<ecosystem>/all.zip`, as it is published at
 * `https://osv-vulnerabilities.storage.googleapis.com/<ecosystem>/all.zip`. The age of a part is the time of its file.
 *
 * @param program - path of osv-scanner; asked at each use, and may take long the first time.
 */
export function createOsvScanner(program: (signal?: AbortSignal) => Promise<string>): ImageScanner {
  return {
    name: 'osv-scanner',
    async scan({ name, sbom, database, maxAgeMs, now, signal }) {
      const osv = await program(signal);
      const { wanted, list, notLookedUp } = await readKnown(sbom.cyclonedx, name);
      const databaseAt = await checkParts(database, [...wanted.keys()], now, maxAgeMs);
      const looked = [...wanted.values()].reduce((sum, count) => sum + count, 0);
      const version = await programVersion(osv, signal);
      const scan = {
        scanner: { name: 'osv-scanner', version },
        databaseAt: databaseAt.toISOString(),
        scannedAt: now.toISOString(),
        packages: looked,
        notLookedUp,
      };
      // It calls it an error when there is nothing to look up.
      if (looked === 0) return { ...scan, vulnerabilities: [] };
      const { exitCode, stdout, stderr, timedOut, truncated } = await withScratch('osv', async (scratch) => {
        const file = join(scratch, 'sbom.cdx.json');
        await writeFile(file, list);
        return await runTool({
          command: [
            ...([osv, 'scan', 'source', '--format', 'json', '--offline', '--offline-vulnerabilities'] as const),
            ...['--verbosity', 'warn', '--local-db-path', database, '--lockfile', file],
          ],
          env: { OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY: database },
          cwd: scratch,
          home: scratch,
          timeoutMs: callMs,
          maxOutputBytes,
          signal,
        });
      });
      const failed = (why: string): ProviderError =>
        new ProviderError('ScanErrored', `${name} could not be scanned: ${why}`, {
          details: { image: name, exitCode },
        });
      if (timedOut) throw failed(`osv-scanner took longer than ${callMs / 60_000} minutes`);
      if (exitCode === codes.nothing) throw failed('osv-scanner saw no package, although there are some');
      if (exitCode !== codes.clean && exitCode !== codes.found) throw failed(lastLine(stderr));
      // With a part of the database missing it goes on without it and ends as if all were well.
      if (/could not load db|unable to fetch|failed to load/i.test(stderr)) throw failed(lastLine(stderr));
      if (truncated) throw failed('it found more than can be read');
      const vulnerabilities = readFindings(stdout, failed);
      if (exitCode === codes.found && vulnerabilities.length === 0)
        throw failed('it found something and does not say what');
      return { ...scan, vulnerabilities } satisfies ImageScan;
    },
  };
}

/**
 * What of a list has advisories, how many packages that are of each ecosystem, and what is left out: osv-scanner takes a binary of no known origin for one
 * of OSS-Fuzz.
 */
async function readKnown(
  file: string,
  image: string,
): Promise<{
  readonly wanted: ReadonlyMap<string, number>;
  readonly list: string;
  readonly notLookedUp: readonly NotLookedUp[];
}> {
  const document = await readBill(file, image);
  const wanted = new Map<string, number>();
  const left: Purl[] = [];
  const components = (document.components ?? []).filter((component) => {
    const purl = purlOf(component);
    if (purl === undefined) return false;
    const ecosystem = isOfSystem(purl) ? distributions[purl.namespace] : ecosystems[purl.type];
    if (ecosystem === undefined) {
      left.push(purl);
      return false;
    }
    wanted.set(ecosystem, (wanted.get(ecosystem) ?? 0) + 1);
    return true;
  });
  return {
    wanted,
    list: JSON.stringify({ ...document, components, dependencies: [] }),
    notLookedUp: countNotLookedUp(left),
  };
}

/** @returns when the oldest part that is needed was renewed; now, where none is needed. */
async function checkParts(database: string, wanted: readonly string[], now: Date, maxAgeMs: number): Promise<Date> {
  let oldest = now;
  for (const ecosystem of wanted) {
    const file = join(database, 'osv-scanner', ecosystem, 'all.zip');
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) {
      throw new ProviderError(
        'ScanErrored',
        `the image has packages of ${ecosystem}, and there are no advisories at ${file}`,
        {
          details: { ecosystem, file },
        },
      );
    }
    checkDatabaseAge(file, found.mtime, now, maxAgeMs);
    if (found.mtime < oldest) oldest = found.mtime;
  }
  return oldest;
}

interface Output {
  readonly results?: readonly {
    readonly packages?: readonly {
      readonly package: { readonly name: string; readonly version: string };
      readonly vulnerabilities?: readonly Advisory[];
      readonly groups?: readonly {
        readonly ids: readonly string[];
        readonly aliases?: readonly string[];
        readonly max_severity?: string;
      }[];
    }[];
  }[];
}

interface Advisory {
  readonly id: string;
  readonly database_specific?: { readonly severity?: string };
  readonly affected?: readonly {
    readonly package?: { readonly name?: string };
    readonly ranges?: readonly { readonly events?: readonly { readonly fixed?: string }[] }[];
  }[];
}

function readFindings(stdout: string, failed: (why: string) => ProviderError): readonly Vulnerability[] {
  let output: Output;
  try {
    output = JSON.parse(stdout) as Output;
  } catch {
    throw failed('what osv-scanner printed is no JSON');
  }
  return (output.results ?? []).flatMap(({ packages = [] }) =>
    packages.flatMap(({ package: { name, version }, vulnerabilities = [], groups = [] }) =>
      groups.map((group): Vulnerability => {
        const advisories = vulnerabilities.filter(({ id }) => group.ids.includes(id));
        const [id = 'unknown', ...others] = group.ids;
        return {
          id,
          aliases: [...new Set([...others, ...(group.aliases ?? [])])].filter((alias) => alias !== id),
          severity: severityOf(group.ids, group.max_severity, advisories),
          package: name,
          version,
          fixedIn: fixesOf(name, advisories),
        };
      }),
    ),
  );
}

/** Of CVSS where there is a score, else in the words of the database. A package that was made to do harm has no score, and is the worst. */
function severityOf(
  ids: readonly string[],
  score: string | undefined,
  advisories: readonly Advisory[],
): VulnerabilitySeverity {
  if (ids.some((id) => id.startsWith('MAL-'))) return 'critical';
  const value = Number(score === undefined || score === '' ? Number.NaN : score);
  // https://www.first.org/cvss/v3-1/specification-document, section 5.
  if (value >= 9) return 'critical';
  if (value >= 7) return 'high';
  if (value >= 4) return 'medium';
  if (value > 0) return 'low';
  const words: Readonly<Record<string, VulnerabilitySeverity>> = {
    CRITICAL: 'critical',
    HIGH: 'high',
    MODERATE: 'medium',
    MEDIUM: 'medium',
    LOW: 'low',
  };
  const said = advisories.flatMap(
    ({ database_specific }) => words[database_specific?.severity?.toUpperCase() ?? ''] ?? [],
  );
  return (['critical', 'high', 'medium', 'low'] as const).find((severity) => said.includes(severity)) ?? 'unknown';
}

function fixesOf(name: string, advisories: readonly Advisory[]): readonly string[] {
  const fixes = advisories.flatMap(({ affected = [] }) =>
    affected
      .filter((each) => each.package?.name === undefined || each.package.name === name)
      .flatMap(({ ranges = [] }) => ranges.flatMap(({ events = [] }) => events.flatMap(({ fixed }) => fixed ?? []))),
  );
  return [...new Set(fixes)];
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 1_000) || 'it gave no reason';
}
