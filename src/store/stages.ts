/** The stages and steps of runs, as they go on and as they have ended. */
import { sql } from 'kysely';
import type { RunRef, StageReport, StepReport } from '../domain/run.ts';
import type { Db, Row } from './schema.ts';

/** A stage as it stands; verdicts and durations are null while it runs. */
export interface StageView {
  readonly name: string;
  readonly verdict: StageReport['verdict'] | null;
  readonly detail: string | null;
  readonly startedAt: string;
  readonly durationMs: number | null;
  readonly steps: readonly StepView[];
}

export interface StepView {
  readonly name: string;
  readonly verdict: StepReport['verdict'] | null;
  readonly exitCode: number | null;
  readonly detail: string | null;
  readonly startedAt: string;
  readonly durationMs: number | null;
}

/** Who says how a stage or step stands: a worker on the way, or the run with its end. */
type Says = 'fact' | 'end';

/**
 * A stage, running or done; of each name the word of the attempt that began last holds. A worker that was killed may have left words on its disk,
 * verdicts too, which arrive when another attempt has begun elsewhere, or has ended.
 *
 * @param says - `end`: it is the word of the run itself, which is none of an earlier attempt whatever the clocks of two machines say. Default: `fact`.
 */
export async function recordStage(
  db: Db,
  run: RunRef,
  position: number,
  stage: StageView,
  says: Says = 'fact',
): Promise<void> {
  await db
    .insertInto('stages')
    .values({
      project: run.project,
      run: run.number,
      position,
      name: stage.name,
      verdict: stage.verdict,
      detail: stage.detail,
      startedAt: stage.startedAt,
      durationMs: stage.durationMs,
    })
    .onConflict((conflict) =>
      conflict
        .columns(['project', 'run', 'name'])
        .doUpdateSet((set) => ({
          position: set.ref('excluded.position'),
          verdict: set.ref('excluded.verdict'),
          detail: set.ref('excluded.detail'),
          startedAt: set.ref('excluded.startedAt'),
          durationMs: set.ref('excluded.durationMs'),
        }))
        .where(isNews('stages', says)),
    )
    .execute();
  await recordSteps(
    db,
    run,
    stage.name,
    stage.steps.map((step, position) => ({ ...step, position })),
    says,
  );
}

/** One step of a stage, running or done. */
export async function recordStep(db: Db, run: RunRef, stage: string, position: number, step: StepView): Promise<void> {
  await recordSteps(db, run, stage, [{ ...step, position }], 'fact');
}

async function recordSteps(
  db: Db,
  run: RunRef,
  stage: string,
  steps: readonly (StepView & { readonly position: number })[],
  says: Says,
): Promise<void> {
  if (steps.length === 0) return;
  await db
    .insertInto('steps')
    .values(steps.map((step) => ({ ...step, project: run.project, run: run.number, stage })))
    .onConflict((conflict) =>
      conflict
        .columns(['project', 'run', 'stage', 'name'])
        .doUpdateSet((set) => ({
          position: set.ref('excluded.position'),
          verdict: set.ref('excluded.verdict'),
          exitCode: set.ref('excluded.exitCode'),
          detail: set.ref('excluded.detail'),
          startedAt: set.ref('excluded.startedAt'),
          durationMs: set.ref('excluded.durationMs'),
        }))
        .where(isNews('steps', says)),
    )
    .execute();
}

/** What began later is; of what began at the same time a verdict, or anything while there is none. */
function isNews(table: 'stages' | 'steps', says: Says) {
  if (says === 'end') return sql<boolean>`true`;
  const known = (column: string) => sql.ref(`${table}.${column}`);
  return sql<boolean>`(excluded.started_at > ${known('startedAt')} or (excluded.started_at = ${known('startedAt')}
    and (excluded.verdict is not null or ${known('verdict')} is null)))`;
}

/** What ran of a run on a machine that was lost: it is known to run no more, and to begin anew. What has begun since then stays as it is. */
export async function endLostStages(
  db: Db,
  run: RunRef,
  lost: { readonly at: string; readonly why: string },
): Promise<void> {
  const durationMs = sql<number>`(extract(epoch from ${lost.at}::timestamptz - started_at) * 1000)::bigint`;
  for (const table of ['stages', 'steps'] as const) {
    await db
      .updateTable(table)
      .set({ verdict: 'inconclusive', detail: lost.why, durationMs })
      .where('project', '=', run.project)
      .where('run', '=', run.number)
      .where('verdict', 'is', null)
      .where('startedAt', '<=', lost.at)
      .execute();
  }
}

/** Stages and steps without a verdict: nothing more will come of them. @param why - where they do not say it themselves. */
export async function endOpenStages(db: Db, run: RunRef, why: string): Promise<void> {
  const detail = sql<string>`coalesce(detail, ${why}::text)`;
  const durationMs = sql<number>`(extract(epoch from now() - started_at) * 1000)::bigint`;
  for (const table of ['stages', 'steps'] as const) {
    await db
      .updateTable(table)
      .set({ verdict: 'errored', detail, durationMs })
      .where('project', '=', run.project)
      .where('run', '=', run.number)
      .where('verdict', 'is', null)
      .execute();
  }
}

/** The steps of a stage of which anything is known. */
export async function readStepNames(db: Db, run: RunRef, stage: string): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('steps')
    .select('name')
    .where('project', '=', run.project)
    .where('run', '=', run.number)
    .where('stage', '=', stage)
    .execute();
  return new Set(rows.map(({ name }) => name));
}

/** The stages of a run in the order in which they ran. */
export async function readStages(db: Db, project: string, number: number): Promise<readonly StageView[]> {
  const [stages, steps] = await Promise.all([
    db
      .selectFrom('stages')
      .selectAll()
      .where('project', '=', project)
      .where('run', '=', number)
      .orderBy('position')
      .orderBy('startedAt')
      .execute(),
    db
      .selectFrom('steps')
      .selectAll()
      .where('project', '=', project)
      .where('run', '=', number)
      .orderBy('position')
      .execute(),
  ]);
  return stages.map((stage) => ({
    name: stage.name,
    verdict: stage.verdict,
    detail: stage.detail,
    startedAt: stage.startedAt,
    durationMs: stage.durationMs,
    steps: steps.filter((step) => step.stage === stage.name).map(toStepView),
  }));
}

function toStepView({ name, verdict, exitCode, detail, startedAt, durationMs }: Row<'steps'>): StepView {
  return { name, verdict, exitCode, detail, startedAt, durationMs };
}
