import { type CoverageFigures, type ReportContent, type Share, ratioOf } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings } from './findings.ts';
import { type ReportReader, type ReportSource, UnreadableReport, mostStreamedBytes } from './port.ts';
import { numberOf, readXml } from './xml.ts';

/** Coverage as Cobertura, coverage.py, Istanbul and many others write it (coverage-04.dtd). */
export const cobertura: ReportReader = {
  kind: 'cobertura',
  made: 'pytest --cov --cov-report=xml',
  maxBytes: mostStreamedBytes,
  read: async (source) => await readCobertura(source, 'Cobertura'),
};

/**
 * Lines are counted, not believed. Where there are totals at the top as well, no line that they count may be missing; tools that list a line of two
 * classes twice have more lines than that, and then the lesser share holds.
 */
export async function readCobertura(source: ReportSource, name: string): Promise<ReportContent> {
  const lines = { covered: 0, total: 0 };
  const branches = { covered: 0, total: 0 };
  const files = new Set<string>();
  let declared: Share | undefined;
  let version: string | undefined;
  let classes = 0;
  await readXml(source, {
    roots: ['coverage'],
    maxBytes: mostStreamedBytes,
    handler: {
      open(path, attributes, place) {
        const element = path.at(-1);
        if (path.length === 1) {
          version = attributes['version'];
          const total = numberOf(attributes, 'lines-valid', place);
          const covered = numberOf(attributes, 'lines-covered', place);
          if (total !== undefined && covered !== undefined) declared = { covered, total };
        }
        if (element === 'class') {
          classes += 1;
          // Beyond that the number of classes stands for that of files.
          if (files.size < 100_000) files.add(attributes['filename'] ?? String(classes));
        }
        // Those of methods are in the list of their class again.
        if (element !== 'line' || path.at(-3) !== 'class') return;
        lines.total += 1;
        if ((numberOf(attributes, 'hits', place) ?? 0) > 0) lines.covered += 1;
        const [, hit, all] = /\((\d+)\/(\d+)\)/.exec(attributes['condition-coverage'] ?? '') ?? [];
        branches.covered += Number(hit ?? 0);
        branches.total += Number(all ?? 0);
      },
    },
  });
  if (declared !== undefined && lines.total > 0 && lines.total < declared.total) {
    throw notAllListed(
      'lines',
      declared.total,
      lines.total,
      'Write the report with all of its lines, or with none of them.',
    );
  }
  // Some tools leave the lines out and write the totals only.
  const measured = lines.total === 0 ? (declared ?? lines) : lesserShare(lines, declared ?? lines);
  return coverageContent(name, version, {
    lines: measured,
    ...(branches.total > 0 ? { branches } : {}),
    files: files.size,
  });
}

/** Where what is listed and what a report counts itself differ, nothing is missing and yet one of them flatters. */
export function lesserShare(listed: Share, declared: Share): Share {
  return (ratioOf(declared) ?? 1) < (ratioOf(listed) ?? 1) ? declared : listed;
}

/** @param what - `lines`, `branches`, with where they are where that helps. */
export function notAllListed(
  what: string,
  found: number,
  listed: number,
  remedy: string,
  place?: string,
): UnreadableReport {
  return new UnreadableReport(`counts ${found} ${what} and lists ${listed} of them`, {
    remedy,
    ...(place === undefined ? {} : { place }),
  });
}

/** The content of any report of coverage. */
export function coverageContent(name: string, version: string | undefined, coverage: CoverageFigures): ReportContent {
  for (const { covered, total } of [coverage.lines, coverage.branches ?? { covered: 0, total: 0 }]) {
    if (covered > total) throw new UnreadableReport(`says that ${covered} of ${total} are covered`);
  }
  return {
    tool: { name, ...(version === undefined ? {} : { version: version.slice(0, 60) }) },
    lookedAt: `${counted(coverage.lines.total, 'line')} in ${counted(coverage.files, 'file')}`,
    ...createFindings('coverage').done(),
    coverage,
  };
}
