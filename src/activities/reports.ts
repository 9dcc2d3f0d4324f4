import { setTimeout as delay } from 'node:timers/promises';
import type { ReportSpec, StageSpec } from '../definition/specs/stage.ts';
import type { GatedReport, StageEvidence } from '../domain/evidence.ts';
import { type GateName, type GatePolicy } from '../domain/gate.ts';
import { judgeGate } from '../domain/gate-verdict.ts';
import { asksForLicences } from '../domain/licence.ts';
import { type Report, type ReportKind, licenceKinds } from '../domain/report.ts';
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
  /** What the project asks by itself; conditions of the repository do not keep that from being judged. */
  readonly floors: readonly GatePolicy[];
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
function policiesOf({ spec, stages, policies, floors, byImages = [] }: StageWork): readonly GatePolicy[] {
  const here = feedsOf([withoutIdle(spec)]);
  const everywhere = feedsOf(stages);
  const inThisRun = feedsOf(stages.filter(hasWork).map(withoutIdle));
  const last = lastToJudge(stages)?.name === spec.name;
  return policies.flatMap((policy) => {
    // These look at an environment, so a plan judges them.
    if (policy.gate === 'access-control' || policy.gate === 'compliance') return [];
    const floor = floors.find(({ gate }) => gate === policy.gate);
    // What a condition keeps from running feeds nothing in this run, and a release without it is stopped in planning, where all reports are there:
    // enough for what the repository asks of itself. A condition is the repository's too, so it cannot put away what the project asks.
    const fedBy = (byProject: boolean): ReadonlySet<ReportKind> | undefined =>
      (byProject ? inThisRun : everywhere).get(policy.gate);
    const own = here.get(policy.gate);
    const orphaned =
      last && policy.demanded && fedBy(floor?.demanded === true) === undefined && !byImages.includes(policy.gate);
    const lost = policy.reports.filter((kind) => fedBy(floor?.reports.includes(kind) === true)?.has(kind) !== true);
    if (own === undefined && !orphaned && !(last && lost.length > 0)) return [];
    const reports = policy.reports.filter((kind) => own?.has(kind) === true || (last && lost.includes(kind)));
    const namesLicences = (feeds: ReadonlySet<ReportKind> | undefined): boolean =>
      licenceKinds.some((kind) => feeds?.has(kind) === true);
    // Another stage names them and judges them, or the lists of the images do.
    const elsewhere =
      !namesLicences(own) &&
      (byImages.includes('dependencies') ||
        namesLicences(fedBy(floor !== undefined && asksForLicences(floor.licences))));
    return [{ ...policy, reports, ...(elsewhere ? { licences: { allow: null, deny: [] } } : {}) }];
  });
}

/** The stage that answers for gates which no stage of the run feeds; undefined where no stage runs when all is well. */
export function lastToJudge(stages: readonly StageSpec[]): StageSpec | undefined {
  // One that starts another project's run has no steps, and no workspace to judge in.
  return stages.findLast(hasWork);
}

/** Whether anything of the stage is run where nothing fails. */
function hasWork(stage: StageSpec): boolean {
  return runsWhenAllIsWell(stage) && stage.steps.some(runsWhenAllIsWell);
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
