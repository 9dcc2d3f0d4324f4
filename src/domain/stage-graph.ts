import type { StagePlan } from './run.ts';

/**
 * How a stage came to its end. `blocked`: something that it needs failed, so it never ran. `skipped`: its own condition kept it from running,
 * which is no harm to what comes after it.
 */
export type StageEnd = 'passed' | 'failed' | 'skipped' | 'blocked';

/** Where a run is in its stages. */
export interface StageProgress {
  readonly ended: ReadonlyMap<string, StageEnd>;
  readonly running: ReadonlySet<string>;
  /** A stage has failed that lets nothing go on beside it. */
  readonly stopping: boolean;
  /** The run was aborted: only what runs always still does. */
  readonly aborted: boolean;
}

/** Name of a stage in the definition: of one that a matrix has made, that of the matrix. */
export function definedAs({ name, group }: Pick<StagePlan, 'name' | 'group'>): string {
  return group?.name ?? name;
}

function neededBy(stages: readonly StagePlan[], index: number): readonly StagePlan[] {
  const stage = stages[index];
  if (stage === undefined) return [];
  const { needs } = stage;
  if (needs !== undefined) return stages.filter((other) => needs.includes(definedAs(other)));
  // The stages of one matrix do not wait for each other.
  return stages.slice(0, index).filter((other) => definedAs(other) !== definedAs(stage));
}

/** What comes next. When both are empty and nothing runs, the stages are done. */
export interface NextStages {
  readonly start: readonly StagePlan[];
  readonly settle: readonly { readonly stage: StagePlan; readonly end: 'skipped' | 'blocked'; readonly why: string }[];
}

/** Stages that run at once where nothing else is said. Judgement. */
export const defaultConcurrency = 4;

/**
 * Which stages can start, and which will never.
 *
 * Every stage is decided once all that it needs has ended: a stage for `success` runs where none of that failed and nothing stops the run, one
 * for `failure` where some did, one for `always` in any case.
 *
 * @param concurrency - stages that run at once, at least 1.
 */
export function nextStages(
  stages: readonly StagePlan[],
  progress: StageProgress,
  concurrency: number = defaultConcurrency,
): NextStages {
  const { running } = progress;
  const ended = new Map(progress.ended);
  const settle: NextStages['settle'][number][] = [];
  const ready: StagePlan[] = [];
  // In the order of the plan, in which nothing comes before what it needs: so one pass settles whole chains.
  for (const [index, stage] of stages.entries()) {
    if (ended.has(stage.name) || running.has(stage.name)) continue;
    const needs = neededBy(stages, index).map(({ name }) => name);
    const verdict = judge(stage, needs, ended, progress);
    if (verdict === 'wait') continue;
    if (verdict === 'run') {
      ready.push(stage);
      continue;
    }
    ended.set(stage.name, verdict.end);
    settle.push({ stage, ...verdict });
  }
  const start: StagePlan[] = [];
  // What waits for another project's run is no work here.
  const isWork = ({ starts }: StagePlan): boolean => starts === undefined;
  let working = stages.filter((stage) => running.has(stage.name) && isWork(stage)).length;
  const busy = new Map<string, number>();
  for (const { name, group } of stages) {
    if (group !== undefined && running.has(name)) busy.set(group.name, (busy.get(group.name) ?? 0) + 1);
  }
  for (const stage of ready) {
    if (isWork(stage) && working >= Math.max(1, concurrency)) continue;
    const { group } = stage;
    if (group !== undefined) {
      const already = busy.get(group.name) ?? 0;
      if (already >= Math.max(1, group.limit)) continue;
      busy.set(group.name, already + 1);
    }
    if (isWork(stage)) working += 1;
    start.push(stage);
  }
  return { start, settle };
}

type Judgement = 'wait' | 'run' | { readonly end: 'skipped' | 'blocked'; readonly why: string };

function judge(
  stage: StagePlan,
  needs: readonly string[],
  ended: ReadonlyMap<string, StageEnd>,
  { stopping, aborted }: StageProgress,
): Judgement {
  const { outcome = 'success', skip } = stage;
  const bad = needs.find((name) => ended.get(name) === 'failed' || ended.get(name) === 'blocked');
  if (outcome === 'success') {
    if (aborted) return { end: 'blocked', why: 'The run was aborted.' };
    // What it needs is not waited for: nothing that it could still do would let it run.
    if (bad !== undefined) return { end: 'blocked', why: `It needs ${bad}, which did not pass.` };
    if (stopping) return { end: 'blocked', why: 'The run has failed.' };
  }
  if (needs.some((name) => !ended.has(name))) return 'wait';
  if (skip !== undefined) return { end: 'skipped', why: skip };
  if (outcome === 'failure') {
    if (aborted) return { end: 'skipped', why: 'The run was aborted.' };
    if (bad === undefined && !stopping) return { end: 'skipped', why: 'Nothing before it failed.' };
  }
  return 'run';
}
