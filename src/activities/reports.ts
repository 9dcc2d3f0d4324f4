import { setTimeout as delay } from 'node:timers/promises';
import type { ReportSpec, StageSpec } from '../definition/specs.ts';
import type { GatedReport, StageEvidence } from '../domain/evidence.ts';
import { type GateName, type GatePolicy } from '../domain/gate.ts';
import { judgeGate } from '../domain/gate-verdict.ts';
import type { Report, ReportKind } from '../domain/report.ts';
import type { RunRef } from '../domain/run.ts';
import type { Redactor } from '../effects/redact.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { readReports } from '../providers/reports/file.ts';
import { keepCoverage } from './coverage-kept.ts';
import { keepPages } from './pages.ts';

/** What reading the reports of a stage needs beside the files. */
export interface ReportHands {
  readonly blobs: Pick<BlobStore, 'put' | 'remove'>;
  /**
   * Fingerprints of the findings of the last release before this run; undefined where there was none.
   *
   * @throws `StoreUnavailable`
   */
  readonly readBaseline: (run: RunRef) => Promise<ReadonlySet<string> | undefined>;
}

export interface StageWork {
  readonly run: RunRef;
  readonly spec: StageSpec;
  /** All stages of the pipeline, in order. */
  readonly stages: readonly StageSpec[];
  readonly policies: readonly GatePolicy[];
  /** Gates that the images of the run answer for, beside or instead of stages. */
  readonly byImages?: readonly GateName[];
  /** Names of the steps that were run. */
  readonly steps: ReadonlySet<string>;
  /** Absolute path of the checkout. */
  readonly source: string;
  /** Files that were there before the steps began. */
  readonly before: ReadonlyMap<string, string>;
  readonly redactor: Redactor;
  readonly signal: AbortSignal;
  /** Longest that the reading may take; what was not read by then is errored. */
  readonly limitMs: number;
  /** Reports of coverage are kept as they are too, for their upload. Default: no. */
  readonly keepsCoverage?: boolean;
}

/** Of all reports of a stage together; findings beyond that are counted and not listed. Judgement: 5 MB. */
const mostFindings = 10_000;

/**
 * Reads what a stage left behind, judges the gates that it feeds and keeps all of it as a blob.
 *
 * A gate belongs to the stages that write reports for it; one that a document names and no stage feeds is judged by the last stage, as errored.
 *
 * @returns undefined where the stage has no reports and no gate to answer for.
 * @throws `BlobsUnavailable` (retried), `DiskFull`: the evidence must be there before anybody acts on it
 */
export async function collectEvidence(
  hands: ReportHands,
  work: StageWork,
): Promise<{ readonly evidence: StageEvidence; readonly blob: string } | undefined> {
  const { run, spec, redactor } = work;
  const gates = policiesOf(work);
  // The reports of a step that never came to run are not there, and the stage has failed already.
  const asked = (spec.reports ?? []).filter(({ step }) => step === undefined || work.steps.has(step));
  if (gates.length === 0 && asked.length === 0) return undefined;

  const reports = await readAll(asked, work);
  const baseline = await baselineFor(hands, run, gates);
  const at = new Date().toISOString();
  const judged = gates.flatMap((policy) => {
    const own = reports.filter(({ gate }) => gate === policy.gate);
    return judgeGate({ policy, reports: own, at, ...(baseline === undefined ? {} : { baseline }) }) ?? [];
  });
  const { pages, lost } = await keepPages(
    hands.blobs,
    asked.filter(({ kind }) => kind === 'html'),
    work,
  );
  const notKept = work.keepsCoverage === true ? await keepCoverage(hands.blobs, reports, work) : [];
  const evidence: StageEvidence = {
    ...{ reports, gates: judged, pages },
    lost: [...lost, ...notKept].map((line) => redactor.text(line)),
  };
  const blob = `reports/${run.project}/${run.number}/${spec.name}.json`;
  await hands.blobs.put(blob, Buffer.from(JSON.stringify(evidence)));
  return { evidence, blob };
}

/** The gates that this stage answers for, each asking for no other kinds than it can have. */
function policiesOf({ spec, stages, policies, byImages = [] }: StageWork): readonly GatePolicy[] {
  const here = feedsOf([withoutIdle(spec)]);
  const everywhere = feedsOf(stages);
  // What a condition keeps from running feeds nothing in this run. A release without it is stopped in planning, where all reports are there.
  const last = stages.findLast(runsWhenAllIsWell)?.name === spec.name;
  return policies.flatMap((policy) => {
    // These look at an environment, so a plan judges them.
    if (policy.gate === 'access-control' || policy.gate === 'compliance') return [];
    const own = here.get(policy.gate);
    const any = everywhere.get(policy.gate);
    const orphaned = last && any === undefined && policy.demanded && !byImages.includes(policy.gate);
    if (own === undefined && !orphaned && !(last && policy.reports.some((kind) => any?.has(kind) !== true))) return [];
    const reports = policy.reports.filter((kind) => own?.has(kind) === true || (last && any?.has(kind) !== true));
    return [{ ...policy, reports }];
  });
}

function runsWhenAllIsWell({ skip, outcome }: Pick<StageSpec, 'skip' | 'outcome'>): boolean {
  return skip === undefined && outcome !== 'failure';
}

/** The stage without reports of steps that do not run in a run in which all is well. */
function withoutIdle(spec: StageSpec): StageSpec {
  const idle = new Set(spec.steps.filter((step) => !runsWhenAllIsWell(step)).map(({ name }) => name));
  return { ...spec, reports: (spec.reports ?? []).filter(({ step }) => step === undefined || !idle.has(step)) };
}

function feedsOf(stages: readonly StageSpec[]): ReadonlyMap<GateName, ReadonlySet<ReportKind>> {
  const feeds = new Map<GateName, Set<ReportKind>>();
  for (const { kind, gate } of stages.flatMap(({ reports = [] }) => reports)) {
    if (kind === 'html' || gate === undefined) continue;
    feeds.set(gate, (feeds.get(gate) ?? new Set()).add(kind));
  }
  return feeds;
}

async function readAll(asked: readonly ReportSpec[], work: StageWork): Promise<readonly GatedReport[]> {
  const { source, before, redactor, signal, limitMs } = work;
  const late = new AbortController();
  const inTime = AbortSignal.any([signal, late.signal]);
  const over = new AbortController();
  void delay(limitMs, undefined, { signal: over.signal }).then(
    () => late.abort(),
    () => undefined,
  );
  const found: GatedReport[] = [];
  let listed = 0;
  try {
    for (const { kind, path, gate, base } of asked) {
      if (kind === 'html' || gate === undefined) continue;
      let reports: readonly Report[];
      try {
        reports = await readReports({ root: source, before }, { kind, path, base }, inTime);
      } catch (error) {
        if (signal.aborted || !late.signal.aborted) throw error;
        reports = [tooLate(kind, path, limitMs)];
      }
      for (const report of reports) {
        const kept = report.state === 'read' ? report.findings.slice(0, mostFindings - listed) : [];
        listed += kept.length;
        const bounded = report.state === 'read' ? { ...report, findings: kept } : report;
        // Tests print what they were given: a token of a step may stand in any message.
        found.push({ ...redactor.value(bounded), kind, path: report.path, gate });
      }
    }
    return found;
  } finally {
    over.abort();
  }
}

function tooLate(kind: ReportKind, path: string, limitMs: number): Report {
  return {
    state: 'errored',
    kind,
    path,
    problem: {
      reason: `could not be read within ${Math.round(limitMs / 1_000)} s`,
      place: path,
      remedy: 'Let the tool write less, or give the stage a longer `timeout`.',
    },
  };
}

async function baselineFor(
  { readBaseline }: ReportHands,
  run: RunRef,
  gates: readonly GatePolicy[],
): Promise<ReadonlySet<string> | 'unreadable' | undefined> {
  if (!gates.some(({ baseline }) => baseline === 'last-release')) return undefined;
  // No failure of the store fails a stage; what cannot be compared is errored instead of new or known.
  return await readBaseline(run).catch(() => 'unreadable' as const);
}
