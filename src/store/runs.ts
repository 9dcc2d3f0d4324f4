import { sql } from 'kysely';
import type { DeploymentRef } from '../domain/deployment.ts';
import type { Documentation } from '../domain/documentation.ts';
import type { Outcome, RunOutcome } from '../domain/outcome.ts';
import type { PublishedPackage } from '../domain/packages.ts';
import type { StartedBy } from '../domain/run-start.ts';
import type { ImageEvidence, ImageReport, RunInput, RunPhase, RunPlan, RunRef } from '../domain/run.ts';
import { publish } from './events.ts';
import { acceptRun } from './inbox.ts';
import { listDocumentation } from './kept-files.ts';
import { listPackages } from './packages.ts';
import { type Page, type PageRequest, before, omit, rowsToRead, toPage } from './page.ts';
import { type QueueView, readQueueViews } from './run-turns.ts';
import type { Db, Row } from './schema.ts';
import { type StageView, endLostStages, endOpenStages, readStages } from './stages.ts';
import { json } from './store.ts';
import { inTransaction } from './transaction.ts';

/** A run as lists show it. */
export interface RunSummary {
  readonly project: string;
  readonly number: number;
  readonly key: string;
  readonly kind: RunInput['event']['kind'];
  readonly ref: string;
  readonly commit: string;
  readonly author: string;
  readonly message: string | null;
  readonly phase: RunPhase;
  readonly version: string | null;
  readonly outcome: RunOutcome | null;
  readonly reason: string | null;
  readonly acceptedAt: string;
  readonly startedAt: string | null;
  readonly settledAt: string | null;
  /** Where it stands while it waits for its turn; null otherwise. */
  readonly queue: QueueView | null;
}

/** Everything the store has of one run. */
export interface RunRecord extends RunSummary {
  readonly input: RunInput;
  readonly plan: RunPlan | null;
  readonly definition: string | null;
  readonly stages: readonly StageView[];
  readonly images: readonly ImageReport[];
  /** Files of packages that it has published. */
  readonly packages: readonly PublishedPackage[];
  /** Documentation that its stages have generated, as long as it is kept. */
  readonly documentation: readonly Documentation[];
  readonly deployments: readonly (DeploymentRef & { readonly outcome: Outcome | null })[];
  /** The run of another project that started it. */
  readonly startedBy: StartedBy | null;
  /** Runs of other projects that its stages have started, in the order in which they did. */
  readonly starts: readonly StartedRunView[];
}

/** A run as the one that has started it shows it. */
export interface StartedRunView {
  readonly stage: string;
  readonly project: string;
  readonly number: number;
  readonly phase: RunPhase;
  readonly outcome: RunOutcome | null;
}

/**
 * The run of this input, made with the next number where nobody asked for it before (a workflow started past the API).
 *
 * @throws ProviderError `NotFound` - there is no such project.
 */
export async function openRun(db: Db, input: RunInput): Promise<RunRef> {
  const { project, key, number } = await acceptRun(db, input);
  await db
    .updateTable('runs')
    .set({ phase: 'preparing', startedAt: sql<string>`coalesce(started_at, now())` })
    .where('project', '=', project)
    .where('key', '=', key)
    .where('phase', 'in', ['accepted', 'awaiting-word'])
    .execute();
  return { project, key, number };
}

/** Who brought a run about: its event's author, and who asked for it by hand. Empty for a run that is not there. */
export async function readInvolved(db: Db, project: string, runKey: string): Promise<readonly string[]> {
  const row = await db
    .selectFrom('runs')
    .select('input')
    .where('project', '=', project)
    .where('key', '=', runKey)
    .executeTakeFirst();
  return row === undefined ? [] : involvedIn(row.input);
}

/** Each once, whoever asked first. */
export function involvedIn({ event, requestedBy }: RunInput): readonly string[] {
  return [...new Set([requestedBy ?? event.author, event.author])];
}

/** What `prepareRun` found out; idempotent. Comes late at times, and at the end once more: a run that has gone on stays where it is. */
export async function recordRunPlan(db: Db, plan: RunPlan): Promise<void> {
  await inTransaction(db, async (tx) => {
    const changed = await tx
      .updateTable('runs')
      .set({
        plan: json(plan),
        version: plan.version,
        definition: plan.definition,
        // Before it asks for its turn: who comes after it waits for it from here on, or does not.
        turnMode: plan.turn?.mode ?? 'parallel',
        message: plan.commit.message,
        phase: sql<RunPhase>`case when phase in ('accepted', 'preparing') then 'checking' else phase end`,
      })
      .where('project', '=', plan.run.project)
      .where('number', '=', plan.run.number)
      .returning('phase')
      .executeTakeFirst();
    if (changed === undefined) return;
    await publish(tx, [runEvent(plan.run, { phase: changed.phase, version: plan.version })]);
  });
}

/** Where a run is now. Never moves one that has ended, and tells of no move that was none. */
export async function recordRunPhase(db: Db, run: RunRef, phase: RunPhase): Promise<void> {
  await inTransaction(db, async (tx) => {
    const changed = await tx
      .updateTable('runs')
      .set({ phase })
      .where('project', '=', run.project)
      .where('number', '=', run.number)
      .where('outcome', 'is', null)
      .where('phase', '<>', phase)
      .executeTakeFirst();
    if (changed.numUpdatedRows > 0n) await publish(tx, [runEvent(run, { phase })]);
  });
}

/**
 * Its machine was lost, which is its reason until it ends. Told late, when it has begun elsewhere or has ended, it moves nothing back.
 *
 * @param lost.why - with the time; a stage of which nothing was heard before cannot say it.
 */
export async function recordRunAnew(
  db: Db,
  run: RunRef,
  lost: { readonly at: string; readonly why: string },
): Promise<void> {
  await endLostStages(db, run, lost);
  await db
    .updateTable('runs')
    .set({ reason: lost.why })
    .where('project', '=', run.project)
    .where('number', '=', run.number)
    .where('outcome', 'is', null)
    .execute();
  const since = await db
    .selectFrom('stages')
    .select('name')
    .where('project', '=', run.project)
    .where('run', '=', run.number)
    .where('startedAt', '>', lost.at)
    .executeTakeFirst();
  if (since === undefined) await recordRunPhase(db, run, 'preparing');
}

/**
 * Holds runs until the end of the transaction. Whoever writes several rows of one does so first: two that take its stages and steps in
 * different orders would wait for each other, for the second that PostgreSQL takes to notice.
 *
 * @returns which of them have their outcome already.
 */
export async function holdRuns(
  tx: Db,
  runs: readonly Pick<RunRef, 'project' | 'number'>[],
): Promise<{ readonly isClosed: (run: Pick<RunRef, 'project' | 'number'>) => boolean }> {
  if (runs.length === 0) return { isClosed: () => false };
  const pairs = sql.join(runs.map(({ project, number }) => sql`(${project}, ${number}::integer)`));
  const { rows } = await sql<{ project: string; number: number; closed: boolean }>`
    select project, number, outcome is not null as closed from runs
    where (project, number) in (${pairs}) order by project, number for no key update`.execute(tx);
  const closed = new Set(rows.filter((row) => row.closed).map(({ project, number }) => `${project}/${number}`));
  return { isClosed: ({ project, number }) => closed.has(`${project}/${number}`) };
}

/** How CI ended. The first word holds: a repeated call changes nothing. */
export async function settleRunRow(
  db: Db,
  run: RunRef,
  end: { readonly outcome: RunOutcome; readonly reason: string },
): Promise<void> {
  const changed = await db
    .updateTable('runs')
    .set({ phase: 'closed', outcome: end.outcome, reason: end.reason, settledAt: sql<string>`now()` })
    .where('project', '=', run.project)
    .where('number', '=', run.number)
    .where('outcome', 'is', null)
    .executeTakeFirst();
  if (changed.numUpdatedRows === 0n) return;
  // What ran when its worker was lost, or could not go on, has said nothing more; without this it would be shown as running for ever.
  await endOpenStages(db, run, 'it had not ended when its run did');
  await publish(db, [runEvent(run, { phase: 'closed', ...end })]);
}

/** The images of a run; again the last word holds. */
export async function recordImages(db: Db, run: RunRef, images: readonly ImageReport[]): Promise<void> {
  for (const image of images) {
    await db
      .insertInto('images')
      .values({
        project: run.project,
        run: run.number,
        ...image,
        tags: json(image.tags),
        evidence: image.evidence === undefined ? null : json(image.evidence),
      })
      .onConflict((conflict) =>
        conflict.columns(['project', 'run', 'name']).doUpdateSet((set) => ({
          repository: set.ref('excluded.repository'),
          digest: set.ref('excluded.digest'),
          tags: set.ref('excluded.tags'),
          sizeBytes: set.ref('excluded.sizeBytes'),
          reused: set.ref('excluded.reused'),
          evidence: set.ref('excluded.evidence'),
          durationMs: set.ref('excluded.durationMs'),
        })),
      )
      .execute();
  }
}

export interface RunFilter {
  readonly project?: string | undefined;
  readonly ref?: string | undefined;
  readonly outcome?: RunOutcome | undefined;
  readonly open?: boolean | undefined;
}

const summaryColumns = [
  'project',
  'number',
  'key',
  'kind',
  'ref',
  'commit',
  'author',
  'message',
  'phase',
  'version',
  'outcome',
  'reason',
  'acceptedAt',
  'startedAt',
  'settledAt',
] as const;

/** Newest first. */
export async function listRuns(db: Db, filter: RunFilter, page: PageRequest): Promise<Page<RunSummary>> {
  const from = before(page);
  let query = db.selectFrom('runs').select(['id', ...summaryColumns]);
  if (filter.project !== undefined) query = query.where('project', '=', filter.project);
  if (filter.ref !== undefined) query = query.where('ref', '=', filter.ref);
  if (filter.outcome !== undefined) query = query.where('outcome', '=', filter.outcome);
  if (filter.open === true) query = query.where('outcome', 'is', null);
  if (filter.open === false) query = query.where('outcome', 'is not', null);
  if (from !== undefined) query = query.where('id', '<', from);
  const rows = await query.orderBy('id', 'desc').limit(rowsToRead(page)).execute();
  const queueOf = await readQueueViews(
    db,
    rows.filter(({ phase }) => phase === 'queued'),
  );
  return toPage(
    rows.map((row) => ({ ...row, queue: queueOf(row) })),
    page,
  );
}

/** One run with all that belongs to it. */
export async function readRun(db: Db, project: string, number: number): Promise<RunRecord | undefined> {
  const run = await db
    .selectFrom('runs')
    .select([...summaryColumns, 'input', 'plan', 'definition'])
    .where('project', '=', project)
    .where('number', '=', number)
    .executeTakeFirst();
  if (run === undefined) return undefined;
  const [queueOf, stages, starts, packages, documentation, images, deployments] = await Promise.all([
    readQueueViews(db, run.phase === 'queued' ? [run] : []),
    readStages(db, project, number),
    readStarts(db, project, number),
    listPackages(db, project, number),
    listDocumentation(db, project, number),
    db
      .selectFrom('images')
      .selectAll()
      .where('project', '=', project)
      .where('run', '=', number)
      .orderBy('name')
      .execute(),
    db
      .selectFrom('deployments')
      .select(['project', 'environment', 'number', 'outcome'])
      .where('project', '=', project)
      .where('runKey', '=', run.key)
      .orderBy('id')
      .execute(),
  ]);
  const startedBy = run.input.startedBy ?? null;
  return {
    ...run,
    queue: queueOf(run),
    stages,
    images: images.map(toImageReport),
    packages,
    documentation,
    deployments,
    startedBy,
    starts,
  };
}

async function readStarts(db: Db, project: string, number: number): Promise<readonly StartedRunView[]> {
  // As the index `runs_started_by` has it.
  const { rows } = await sql<StartedRunView>`
    select input #>> '{startedBy,stage}' as stage, project, number, phase, outcome from runs
    where input #>> '{startedBy,project}' is not null and input #>> '{startedBy,project}' = ${project}
      and (input #>> '{startedBy,number}')::integer = ${number}::integer
    order by id`.execute(db);
  return rows;
}

/** What is known of the images of a run, by their name; nothing of those that an older Slipway made. */
export async function readImageEvidence(
  db: Db,
  project: string,
  number: number,
): Promise<Readonly<Record<string, ImageEvidence>>> {
  const rows = await db
    .selectFrom('images')
    .select(['name', 'evidence'])
    .where('project', '=', project)
    .where('run', '=', number)
    .execute();
  return Object.fromEntries(
    rows.flatMap(({ name, evidence }) => (evidence === null ? [] : [[name, evidence] as const])),
  );
}

function toImageReport(row: Row<'images'>): ImageReport {
  const { evidence, ...image } = omit(row, 'project', 'run');
  return evidence === null ? image : { ...image, evidence };
}

function runEvent(run: RunRef, data: Readonly<Record<string, unknown>>): Parameters<typeof publish>[1][number] {
  return { kind: 'run', project: run.project, run: run.number, data };
}

/** A run by its key, as far as its event goes. */
export async function readRunByKey(
  db: Db,
  project: string,
  key: string,
): Promise<{ readonly number: number; readonly ref: string; readonly commit: string } | undefined> {
  return await db
    .selectFrom('runs')
    .select(['number', 'ref', 'commit'])
    .where('project', '=', project)
    .where('key', '=', key)
    .executeTakeFirst();
}

/** The commit of the newest run of a ref that an event or a schedule brought: by hand somebody may have an older one run. */
export async function readNewestCommit(db: Db, project: string, ref: string): Promise<string | undefined> {
  const newest = await db
    .selectFrom('runs')
    .select('commit')
    .where('project', '=', project)
    .where('ref', '=', ref)
    .where(sql`input ->> 'requestedBy'`, 'is', null)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return newest?.commit;
}
