import type { CoverageFigures, ReportContent } from '../../domain/report.ts';
import { count, createFindings } from './findings.ts';
import { type ReportReader, type ReportSource, UnreadableReport, mostStreamedBytes } from './port.ts';
import { numberOf, readXml } from './xml.ts';

/** Coverage as Cobertura, coverage.py, Istanbul and many others write it (coverage-04.dtd). */
export const cobertura: ReportReader = {
  kind: 'cobertura',
  made: 'pytest --cov --cov-report=xml',
  maxBytes: mostStreamedBytes,
  read: async (source) => await readCobertura(source, 'Cobertura'),
};

/** Lines are counted, not believed: the totals at the top must agree with them where both are there. */
export async function readCobertura(source: ReportSource, name: string): Promise<ReportContent> {
  const lines = { covered: 0, total: 0 };
  const branches = { covered: 0, total: 0 };
  const files = new Set<string>();
  let declared: { readonly covered: number; readonly total: number } | undefined;
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
  // Some tools leave the lines out and write the totals only.
  const counted = lines.total > 0 ? lines : (declared ?? lines);
  return coverageContent(name, version, {
    lines: counted,
    ...(branches.total > 0 ? { branches } : {}),
    files: files.size,
  });
}

/** The content of any report of coverage. */
export function coverageContent(name: string, version: string | undefined, coverage: CoverageFigures): ReportContent {
  for (const { covered, total } of [coverage.lines, coverage.branches ?? { covered: 0, total: 0 }]) {
    if (covered > total) throw new UnreadableReport(`says that ${covered} of ${total} are covered`);
  }
  return {
    tool: { name, ...(version === undefined ? {} : { version: version.slice(0, 60) }) },
    lookedAt: `${count(coverage.lines.total, 'line')} in ${count(coverage.files, 'file')}`,
    ...createFindings('coverage').done(),
    coverage,
  };
}
