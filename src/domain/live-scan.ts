import type { ScanVerdict, Vulnerability, VulnerabilitySeverity } from './image-scan.ts';
import { counted } from './counted.ts';
import { type UpkeepRound, mostLines } from './upkeep.ts';
import { type Verdict, worst } from './verdict.ts';

/** One advisory that counts, about what runs. */
export interface LiveFinding {
  /** The same in every scan of every image: {@link findingKey}. */
  readonly key: string;
  readonly severity: VulnerabilitySeverity;
  /** As people read it. */
  readonly line: string;
}

/** What a scan of an image that runs found. */
export interface LiveImageScan {
  readonly name: string;
  readonly digest: string;
  readonly scan: ScanVerdict;
  /** Those that count, worst first, at most {@link mostFindings}. */
  readonly findings: readonly LiveFinding[];
  /** Keys of what was found when it was built; null where that is not known. */
  readonly known: readonly string[] | null;
}

/** In a history, for each image. Judgement: 300 are 60 kB, and nobody reads more. */
export const mostFindings = 300;

/** Where a release stands. */
export type LiveRole = 'live' | 'previous';

export interface ScannedRelease {
  readonly role: LiveRole;
  readonly version: string;
  readonly images: readonly LiveImageScan[];
}

/** What the round before had found; null where there was none. */
export type KnownFindings = readonly string[] | null;

/** Names an advisory about a package, whatever image it is in. */
export function findingKey({ id, package: name, version }: Pick<Vulnerability, 'id' | 'package' | 'version'>): string {
  return `${id} ${name} ${version}`;
}

export interface LiveScan {
  readonly round: UpkeepRound;
  /** Known neither when the release was built nor by the round before: what people are told of. */
  readonly fresh: readonly LiveFinding[];
}

/** Puts the scans of an environment's releases together. */
export function judgeLiveScan(
  place: { readonly project: string; readonly environment: string },
  releases: readonly ScannedRelease[],
  before: KnownFindings,
): LiveScan {
  const images = releases.flatMap((release) => release.images.map((image) => ({ ...image, release })));
  const seen = new Set(before ?? []);
  const fresh = new Map<string, LiveFinding>();
  const keys = new Set<string>();
  const shown = images.map(({ release, name, digest, scan, findings, known }) => {
    const since = findings.filter(({ key }) => known?.includes(key) !== true);
    for (const finding of findings) keys.add(finding.key);
    for (const finding of since) if (!seen.has(finding.key)) fresh.set(finding.key, finding);
    return {
      role: release.role,
      version: release.version,
      name,
      digest,
      scan,
      knownAtBuild: known !== null,
      newSinceBuild: since.map(({ line }) => line),
    };
  });
  const verdict: Verdict = worst(images.map(({ scan }) => scan.verdict));
  // Without a scan nothing was seen, and what was known before is still known.
  if (images.some(({ scan }) => scan.verdict === 'errored')) for (const key of seen) keys.add(key);
  const lines = shown.flatMap(({ role, version, name, scan, newSinceBuild }) => {
    const what = `${role} ${version}, ${name}`;
    const by =
      scan.scanner === undefined
        ? ''
        : ` (${scan.scanner.name} ${scan.scanner.version}, advisories of ${scan.databaseAt ?? 'an unknown day'})`;
    return [
      `${what}: ${scan.verdict}, ${scan.reason}${by}`,
      ...newSinceBuild.map((line) => `${what}: new since it was built: ${line}`),
    ];
  });
  return {
    fresh: [...fresh.values()],
    round: {
      kind: 'scan',
      subject: `${place.project}/${place.environment}`,
      ...place,
      verdict,
      summary: summaryOf(shown, fresh.size),
      lines: lines.slice(0, mostLines),
      detail: { images: shown, keys: [...keys] },
    },
  };
}

interface ShownImage {
  readonly scan: ScanVerdict;
  readonly newSinceBuild: readonly string[];
}

function summaryOf(images: readonly ShownImage[], fresh: number): string {
  if (images.length === 0) return 'nothing is live';
  const with_ = (verdict: Verdict): number => images.filter(({ scan }) => scan.verdict === verdict).length;
  const since = images.reduce((sum, { newSinceBuild }) => sum + newSinceBuild.length, 0);
  const parts = [
    `${counted(images.length, 'image')} looked at`,
    ...(with_('failed') > 0 ? [`${with_('failed')} with advisories that count`] : []),
    ...(with_('errored') > 0 ? [`${with_('errored')} could not be scanned`] : []),
    ...(with_('inconclusive') > 0 ? [`${with_('inconclusive')} with nothing that the database knows`] : []),
    ...(since > 0 ? [`${since} advisories new since the build`] : []),
    ...(fresh > 0 ? [`${fresh} of them for the first time`] : []),
  ];
  return parts.join(', ');
}

/** How bad it is that these are new. */
export function isCriticalFinding(findings: readonly LiveFinding[]): boolean {
  return findings.some(({ severity }) => severity === 'critical');
}
