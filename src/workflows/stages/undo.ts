import type { DataRollback, RollbackReport, RollbackStep, RollbackStepName } from '../../domain/deployment.ts';
import { rollbackSteps, rollbackTargetsMs } from '../../domain/deployment.ts';
import { alarmLevel } from '../../domain/notice.ts';
import { describeFailure } from '../../domain/failures.ts';
import type { Verdict } from '../../domain/verdict.ts';
import { call } from '../call.ts';
import { dataLimits } from '../proxies/deployment.ts';
import { record } from '../proxies/record.ts';
import { compensation } from '../proxies/undo.ts';
import { between, isoNow } from '../progress.ts';
import type { UndoRecord } from '../saga.ts';
import type { Rollout } from '../strategies/strategy.ts';
import { exportLaterWrites, owesExport } from './data-back.ts';
import { type Initiated, Initiation } from './initiation.ts';
import { watchRollback } from './notices.ts';

/** Why something is taken back, and since when. */
export interface Trigger {
  readonly why: string;
  /** ISO 8601: when the verdict or the person's word fell; the clock of the rollback starts here. */
  readonly decidedAt: string;
  readonly manual: boolean;
}

export interface UndoResult {
  readonly report: RollbackReport;
  /** Every undo and the verification succeeded. */
  readonly complete: boolean;
  readonly data: DataRollback | undefined;
}

/** Takes back everything that was begun: traffic first, recorded while it moves, and reports under the seven headings. */
export async function undo(
  run: Rollout,
  trigger: Trigger,
  dataOf: () => DataRollback | undefined,
): Promise<UndoResult> {
  // Starts the first undo in this very moment; all that follows up to the await only rides along.
  const unwinding = run.saga.unwind(
    (done) => run.journal.add(asStep(done)),
    () => run.givenUp(),
  );
  const begun = isoNow();
  run.journal.enter('rolling-back', trigger.why);
  const initiated = new Initiation(initiate(run, trigger));
  const slow = watchRollback(
    run.journal,
    run.deployment,
    trigger.decidedAt,
    Promise.resolve(run.plan.policy.production),
  );
  const records = await unwinding;
  const back = dataOf();
  const [verified, { data, exported }] = await Promise.all([verify(run, back), exportOwed(run, back)]);
  const undone = [...records, ...exported, ...verified].every((one) => one.done);
  const closing = isoNow();
  const dropped = undone && data?.action !== 'held' ? await cleanUp(run) : [];
  const incidentId = await initiated.incident;
  const unlocks = undone && data?.action !== 'held' && !(run.done.moved && run.live === null);
  const kept = dropped.map(({ detail }) => detail);
  const cleaned = (await initiated.settle()) ? [initiated.asCleanUp(closing, kept, unlocks)] : dropped;
  const totalMs = Math.max(0, Date.now() - Date.parse(trigger.decidedAt));
  const heads: UndoRecord[] = [headed('detect', trigger.decidedAt, begun, trigger.why), initiated.asRecord()];
  const report: RollbackReport = {
    trigger: trigger.why,
    ...(run.live === null ? {} : { to: run.live.version }),
    steps: underHeadings([...heads, ...records, ...exported, ...verified, ...cleaned]),
    ...(run.done.backAt === undefined ? {} : { servingAfterMs: between(trigger.decidedAt, run.done.backAt) }),
    totalMs,
    ...(data === undefined ? {} : { data }),
    ...(incidentId === undefined ? {} : { incident: incidentId }),
  };
  slow.stop(totalMs);
  return { report, complete: undone, data };
}

/** A production rollback always opens an incident, elsewhere only one that nobody asked for; a release that never served opens none. */
function initiate(run: Rollout, trigger: Trigger): Initiated {
  if (!run.done.moved && !run.done.migrated) return { incident: Promise.resolve(undefined) };
  const { project, environment, number } = run.deployment;
  const told = run.journal.tell({
    event: 'rollback-triggered',
    level: alarmLevel(run.plan.policy.production),
    project,
    environment,
    key: `${project}/${environment}/${number}/rollback-triggered`,
    title: `${project} ${environment}: ${run.plan.identity.release.version} is being taken back`,
    lines: [trigger.why],
  });
  if (trigger.manual && !run.plan.policy.production) return { incident: Promise.resolve(undefined), told };
  const summary = `${run.plan.identity.release.version} was taken back: ${trigger.why}`;
  return { incident: recordIncident({ project, environment, number }, trigger.why, summary), told };
}

/** Opens an incident; a rollback goes on without when that fails for good. */
export async function recordIncident(
  deployment: { readonly project: string; readonly environment: string; readonly number: number },
  trigger: string,
  summary: string,
): Promise<string | undefined> {
  try {
    return await call(record.openIncident, 'opens the incident', { deployment, trigger, summary }, incidentLimits);
  } catch {
    return undefined;
  }
}

/** A store that is down delays the end of a rollback by this, and no more. */
const incidentLimits = { scheduleToCloseTimeout: 60_000 } as const;

const verifyRounds = 3;

async function verify(run: Rollout, data: DataRollback | undefined): Promise<UndoRecord[]> {
  if (!run.done.moved && !run.done.migrated) return [];
  const began = isoNow();
  const details: string[] = [];
  let done = true;
  if (run.live !== null) {
    const serving = await verifyServing(run, run.live.slot, run.live.version);
    done = serving.done;
    details.push(serving.detail);
  }
  if (run.backup?.blob !== undefined) {
    const checked = await verifyData(run, data?.action === 'swapped');
    done = done && checked.done;
    details.push(checked.detail);
  }
  const recorded = { ...headed('verify', began, isoNow(), details.join('; ')), done };
  run.journal.add(asStep(recorded));
  return [recorded];
}

/** Beside the verification: neither waits for the other. */
async function exportOwed(
  run: Rollout,
  data: DataRollback | undefined,
): Promise<{ readonly data: DataRollback | undefined; readonly exported: readonly UndoRecord[] }> {
  const { backup } = run;
  if (backup === undefined || !owesExport(data)) return { data, exported: [] };
  const began = isoNow();
  const known = await exportLaterWrites(data, { ...run.nextChange(true), backup }, () => run.givenUp());
  const { unexported } = known;
  const detail = unexported ?? 'what was written since the backup is exported';
  const exported = { ...headed('restore-data', began, isoNow(), detail), done: unexported === undefined };
  run.journal.add(asStep(exported));
  return { data: known, exported: [exported] };
}

interface Check {
  readonly done: boolean;
  readonly detail: string;
}

type Place = Pick<Rollout, 'deployment'>;

/** Probes the release through the router, a few rounds, for a release that just got its traffic back may need a moment. */
export async function verifyServing(run: Place, slot: Rollout['slot'], version: string): Promise<Check> {
  const { project, environment, number } = run.deployment;
  let detail = '';
  for (let round = 1; round <= verifyRounds; round += 1) {
    try {
      const input = { project, environment, number, slot, version, through: 'router' } as const;
      const report = await call(compensation.runProbes, `verifies ${version}`, input);
      if (report.verdict === 'passed' || report.probes.length === 0)
        return { done: true, detail: `${version} answers` };
      detail = report.probes.map((probe) => `${probe.name} ${probe.verdict}: ${probe.detail}`).join(', ');
    } catch (error) {
      detail = describeFailure(error).message;
    }
  }
  return { done: false, detail: `${version} does not pass its probes: ${detail}` };
}

async function verifyData(run: Rollout, swapped: boolean): Promise<Check> {
  const { backup, deployment } = run;
  if (backup === undefined) return { done: true, detail: 'no data' };
  try {
    const { project, environment, number } = deployment;
    const input = { project, environment, number, backup, swapped };
    // After a swap every table is counted.
    const step = await call(compensation.verifyData, 'verifies the data', input, swapped ? dataLimits : {});
    return {
      done: step.verdict === 'passed' || step.verdict === 'inconclusive',
      detail: step.detail ?? `data ${step.verdict}`,
    };
  } catch (error) {
    return { done: false, detail: describeFailure(error).message };
  }
}

/** Drops the copy that proved the backup. A copy that stays costs disk, not an outcome. */
export async function cleanUp(run: Pick<Rollout, 'backup' | 'nextChange' | 'journal'>): Promise<UndoRecord[]> {
  if (run.backup?.proof === undefined) return [];
  const began = isoNow();
  try {
    await run.journal.call(compensation.ensureProofDropped, 'drops the proof copy', run.nextChange());
    return [headed('clean-up', began, isoNow(), 'the proof copy is dropped')];
  } catch (error) {
    return [
      headed(
        'clean-up',
        began,
        isoNow(),
        `the proof copy ${run.backup.proof} stays: ${describeFailure(error).message}`,
      ),
    ];
  }
}

/** The seven headings in their order; what was not needed says so. */
export function underHeadings(records: readonly UndoRecord[]): RollbackStep[] {
  return rollbackSteps.map((name) => {
    const own = records.filter((one) => one.heading === name);
    const first = own[0];
    return {
      name,
      targetMs: rollbackTargetsMs[name],
      verdict: verdictOf(own),
      startedAt: first?.startedAt ?? records[0]?.startedAt ?? isoNow(),
      durationMs: own.reduce((sum, one) => sum + one.durationMs, 0),
      detail: own.length === 0 ? 'not needed' : own.map((one) => one.detail).join('; '),
    };
  });
}

export function headed(heading: RollbackStepName, from: string, to: string, detail: string): UndoRecord {
  return { heading, done: true, startedAt: from, durationMs: between(from, to), detail };
}

export function asStep(one: UndoRecord): {
  name: string;
  verdict: Verdict;
  startedAt: string;
  durationMs: number;
  detail: string;
} {
  const { heading, startedAt, durationMs, detail } = one;
  return { name: `undo: ${heading}`, verdict: verdictOf([one]), startedAt, durationMs, detail };
}

function verdictOf(records: readonly UndoRecord[]): Verdict {
  return records.every((one) => one.done) ? 'passed' : 'failed';
}
