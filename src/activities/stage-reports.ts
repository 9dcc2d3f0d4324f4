import { resolveGateFloors } from '../definition/gates.ts';
import { blockedBy, lineOf } from '../domain/evidence.ts';
import type { StageReport } from '../domain/run.ts';
import { markReports } from '../providers/reports/file.ts';
import { gatesOfImages } from './image-licences.ts';
import { collectEvidence } from './reports.ts';
import type { Attempt } from './stage-attempt.ts';
import type { StepReports } from './stage-steps.ts';

/** Time to read the reports of a stage whose steps took all of its own, ms; less than what the workflow allows on top of it. */
const readingMs = 20_000;

/** Reports that were there before a step could write them. Where the stage goes on, what an earlier attempt at it wrote counts. */
export async function markBefore({ scope, spec }: Attempt, done: StepReports): Promise<ReadonlyMap<string, string>> {
  if (done.size > 0) return new Map();
  return await markReports(
    scope.source,
    (spec.reports ?? []).map(({ path }) => path),
  );
}

/**
 * What the reports of the stage mean: a gate that blocks fails a stage whose steps had all passed.
 *
 * @param before - see {@link markBefore}.
 * @throws `BlobsUnavailable` (retried), `DiskFull`: the evidence could not be kept
 */
export async function judgeReports(
  attempt: Attempt,
  report: StageReport,
  before: ReadonlyMap<string, string>,
): Promise<StageReport> {
  const { deps, known, run, spec, scope, redactor, signal, startedMs, due } = attempt;
  // Its condition kept it from running: there is nothing to judge.
  if (report.skipped === true) return report;
  const collected = await collectEvidence(deps.reports, {
    run,
    spec,
    stages: known.pipeline.stages,
    policies: known.pipeline.gates ?? [],
    floors: resolveGateFloors(known.pair.project),
    byImages: gatesOfImages(known.pipeline, attempt.plan),
    steps: new Set(report.steps.filter(({ skipped }) => skipped !== true).map(({ name }) => name)),
    source: scope.source,
    before,
    redactor,
    signal,
    keepsCoverage: known.pair.project.repository.coverage !== undefined,
    limitMs: Math.max(0, due.ms + spec.cleanUpMs - Date.now()) + readingMs,
  });
  if (collected === undefined) return report;
  const gates = collected.evidence.gates.map(lineOf);
  const blocked = report.verdict === 'passed' ? blockedBy(gates) : undefined;
  return { ...report, ...blocked, durationMs: Date.now() - startedMs, gates, evidence: collected.blob };
}
