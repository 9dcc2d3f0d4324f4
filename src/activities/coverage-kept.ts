import { Readable } from 'node:stream';
import type { GatedReport } from '../domain/evidence.ts';
import type { ReportKind } from '../domain/report.ts';
import type { RunRef } from '../domain/run.ts';
import type { Redactor } from '../effects/redact.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { chunksOf, openInside } from '../providers/reports/file.ts';
import { UnreadableReport } from '../providers/reports/port.ts';
import { redacted } from './pages.ts';

/** Of one report, bytes. Judgement: Cobertura of a million lines is 60 MB, and that of most repositories 1 MB. */
export const mostCoverageBytes = 32 * 2 ** 20;

const coverageKinds: ReadonlySet<ReportKind> = new Set(['cobertura', 'lcov', 'coverage-py']);

export function isCoverage({ kind, state }: Pick<GatedReport, 'kind' | 'state'>): boolean {
  return state === 'read' && coverageKinds.has(kind);
}

/** @param position - of the report among those of its stage. */
export function coverageBlob({ project, number }: RunRef, stage: string, position: number): string {
  return `reports/${project}/${number}/${stage}.coverage/${position}`;
}

/**
 * Keeps reports of coverage as they are, without secrets, for their upload after the run. One that cannot be kept is named; it decides nothing.
 *
 * @returns what could not be kept, each with the reason.
 * @throws `BlobsUnavailable` (retried), `DiskFull`
 */
export async function keepCoverage(
  blobs: Pick<BlobStore, 'put' | 'remove'>,
  reports: readonly GatedReport[],
  work: {
    readonly run: RunRef;
    readonly spec: { readonly name: string };
    readonly source: string;
    readonly redactor: Redactor;
    readonly signal: AbortSignal;
  },
): Promise<readonly string[]> {
  const { run, spec, source, redactor, signal } = work;
  const lost: string[] = [];
  for (const [position, report] of reports.entries()) {
    if (!isCoverage(report)) continue;
    try {
      const file = await openInside(source, report.path, mostCoverageBytes);
      try {
        const content = Readable.from(redacted(chunksOf(file, signal), redactor));
        await blobs.put(coverageBlob(run, spec.name, position), content, { signal });
      } finally {
        await file.close();
      }
    } catch (error) {
      signal.throwIfAborted();
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!(error instanceof UnreadableReport) && !missing) throw error;
      // What an earlier attempt at the stage kept is not what this one measured.
      await blobs.remove(coverageBlob(run, spec.name, position));
      lost.push(
        `${report.path} is not uploaded: it ${error instanceof UnreadableReport ? error.message : 'is not there any more'}.`,
      );
    }
  }
  return lost;
}
