import { sql } from 'kysely';
import type {
  DeploymentInput,
  DeploymentPhase,
  DeploymentRef,
  DeploymentResult,
  StepRecord,
} from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import type { Release } from '../domain/release.ts';
import type { StoredDecision } from './decisions.ts';
import { deploymentEvent, whereRef } from './deployment-rows.ts';
import { ensureEnvironment } from './environments.ts';
import { publish } from './events.ts';
import { type Page, type PageRequest, before, rowsToRead, toPage } from './page.ts';
import { readPlan } from './plans.ts';
import { claimUse, lockForUse } from './registry-claims.ts';
import type { Db } from './schema.ts';
import { isViolation, json } from './store.ts';
import { inTransaction } from './transaction.ts';

/** A deployment as lists show it. */
export interface DeploymentSummary extends DeploymentRef {
  readonly kind: 'rollout' | 'rollback';
  readonly version: string;
  readonly runKey: string | null;
  readonly requestedBy: string;
  readonly author: string;
  readonly priority: DeploymentInput['priority'];
  readonly requestedAt: string;
  readonly phase: DeploymentPhase;
  readonly phaseDetail: string | null;
  readonly phaseAt: string;
  readonly planHash: string | null;
  readonly outcome: Outcome | null;
  readonly reason: string | null;
  readonly settledAt: string | null;
}

/** Everything the store has of one deployment. */
export interface DeploymentRecord extends DeploymentSummary {
  readonly input: DeploymentInput;
  readonly plan: Plan | null;
  readonly steps: readonly (StepRecord & { readonly key: string })[];
  readonly decisions: readonly StoredDecision[];
  readonly result: DeploymentResult | null;
}

export interface NewDeployment extends Omit<DeploymentInput, 'number'> {
  readonly kind: 'rollout' | 'rollback';
  /** Asking again with the same request gives the same deployment. */
  readonly request: string;
  /** Whose task it is to start the workflow. */
  readonly startedBy: 'run' | 'environment' | 'api';
}

/**
 * Opens a deployment with the next number of its environment, or gives the one that the same request opened before. The environment is
 * made where it is not known yet. From then on nothing removes the images of its release from their registry.
 *
 * @throws ProviderError `ImageBeingRemoved` (retried): retention is removing one of them just now. A rollback is never refused for that.
 */
export async function openDeployment(
  db: Db,
  asked: NewDeployment,
): Promise<{ readonly input: DeploymentInput; readonly created: boolean }> {
  const open = (): ReturnType<typeof insertDeployment> => inTransaction(db, (tx) => insertDeployment(tx, asked));
  try {
    return await open();
  } catch (error) {
    // The same request at the same moment: the other one has committed, so this time it is seen.
    if (!db.isTransaction && isViolation(error, '23505')) return await open();
    throw error;
  }
}

async function insertDeployment(
  db: Db,
  asked: NewDeployment,
): Promise<{ readonly input: DeploymentInput; readonly created: boolean }> {
  const { kind, request, startedBy, ...input } = asked;
  const { project, environment } = input;
  const images = await readImagesOf(db, project, input.version);
  // Before any row: who has a row and waits for this could be waited for in turn.
  await lockForUse(db, images.keys());
  await ensureEnvironment(db, project, environment);
  const { rows } = await sql<{ input: DeploymentInput; created: boolean }>`
    with known as (
      select d.input from deployments d
      where d.project = ${project} and d.environment = ${environment} and d.request = ${request}
    ), counted as (
      update environments set last_number = last_number + 1
      where project = ${project} and name = ${environment} and not exists (select 1 from known)
      returning last_number
    ), made as (
      insert into deployments (project, environment, number, kind, request, version, run_key, requested_by, author, priority,
        requested_at, input, started_by, phase_at)
      select ${project}, ${environment}, last_number, ${kind}, ${request}, ${input.version}, ${input.runKey ?? null},
        ${input.requestedBy}, ${input.author}, ${input.priority}, ${input.requestedAt}::timestamptz,
        ${json(input)}::jsonb || jsonb_build_object('number', last_number), ${startedBy}, ${input.requestedAt}::timestamptz
      from counted
      returning input
    )
    select input, true as created from made union all select input, false from known`.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error(`The environment ${project}/${environment} went away while it was counted.`);
  if (row.created) {
    await claimImages(db, row.input, images, kind);
    await publish(db, [deploymentEvent(row.input, { phase: 'planning', version: input.version })]);
  }
  return row;
}

/** Digests of the images of a release, by repository; none where the store does not know it. */
async function readImagesOf(db: Db, project: string, version: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const release = await db
    .selectFrom('releases')
    .select('images')
    .where('project', '=', project)
    .where('version', '=', version)
    .executeTakeFirst();
  const found = new Map<string, readonly string[]>();
  for (const { repository, digest } of release?.images ?? []) {
    found.set(repository, [...(found.get(repository) ?? []), digest]);
  }
  return found;
}

async function claimImages(
  db: Db,
  deployment: DeploymentRef,
  images: ReadonlyMap<string, readonly string[]>,
  kind: NewDeployment['kind'],
): Promise<void> {
  for (const [repository, digests] of images) {
    if ((await claimUse(db, { user: { deployment }, repository, digests })) || kind === 'rollback') continue;
    throw new ProviderError(
      'ImageBeingRemoved',
      `Retention is removing ${repository}@${digests.join(', ')} from the registry just now.`,
      { details: { repository } },
    );
  }
}

/** Temporal has the workflow of this deployment. */
export async function markDeploymentStarted(db: Db, ref: DeploymentRef): Promise<void> {
  await whereRef(
    db.updateTable('deployments').set({ startedAt: sql<string>`coalesce(started_at, now())` }),
    ref,
  ).execute();
}

/** Deployments asked for by hand that Temporal is not known to have. */
export async function deploymentsToStart(
  db: Db,
  options: { readonly olderThanMs: number; readonly limit: number },
): Promise<readonly DeploymentInput[]> {
  const rows = await db
    .selectFrom('deployments')
    .select('input')
    .where('startedBy', '=', 'api')
    .where('startedAt', 'is', null)
    .where('outcome', 'is', null)
    .where('requestedAt', '<', sql<string>`now() - make_interval(secs => ${options.olderThanMs / 1000})`)
    .orderBy('id')
    .limit(options.limit)
    .execute();
  return rows.map((row) => row.input);
}

/** Where a deployment is; an older word than the one recorded, and any word after the outcome, changes nothing. */
export async function recordPhase(
  db: Db,
  ref: DeploymentRef,
  phase: { readonly phase: DeploymentPhase; readonly detail?: string | undefined; readonly at: string },
): Promise<boolean> {
  const changed = await whereRef(
    db
      .updateTable('deployments')
      .set({ phase: phase.phase, phaseDetail: phase.detail ?? null, phaseAt: phase.at })
      .where('outcome', 'is', null)
      .where('phaseAt', '<=', phase.at),
    ref,
  ).executeTakeFirst();
  return changed.numUpdatedRows > 0n;
}

/** One step of the timeline; the first word for a key holds. */
export async function recordDeploymentStep(db: Db, ref: DeploymentRef, key: string, step: StepRecord): Promise<void> {
  await db
    .insertInto('deploymentSteps')
    .values({
      project: ref.project,
      environment: ref.environment,
      number: ref.number,
      key,
      name: step.name,
      verdict: step.verdict,
      detail: step.detail ?? null,
      startedAt: step.startedAt,
      durationMs: Math.round(step.durationMs),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export interface DeploymentFilter {
  readonly project?: string | undefined;
  readonly environment?: string | undefined;
  readonly outcome?: Outcome | undefined;
  readonly open?: boolean | undefined;
  readonly runKey?: string | undefined;
}

const summaryColumns = [
  'project',
  'environment',
  'number',
  'kind',
  'version',
  'runKey',
  'requestedBy',
  'author',
  'priority',
  'requestedAt',
  'phase',
  'phaseDetail',
  'phaseAt',
  'planHash',
  'outcome',
  'reason',
  'settledAt',
] as const;

/** Newest first. */
export async function listDeployments(
  db: Db,
  filter: DeploymentFilter,
  page: PageRequest,
): Promise<Page<DeploymentSummary>> {
  const from = before(page);
  let query = db.selectFrom('deployments').select(['id', ...summaryColumns]);
  if (filter.project !== undefined) query = query.where('project', '=', filter.project);
  if (filter.environment !== undefined) query = query.where('environment', '=', filter.environment);
  if (filter.runKey !== undefined) query = query.where('runKey', '=', filter.runKey);
  if (filter.outcome !== undefined) query = query.where('outcome', '=', filter.outcome);
  if (filter.open === true) query = query.where('outcome', 'is', null);
  if (filter.open === false) query = query.where('outcome', 'is not', null);
  if (from !== undefined) query = query.where('id', '<', from);
  const rows = await query.orderBy('id', 'desc').limit(rowsToRead(page)).execute();
  return toPage(rows, page);
}

/** Inputs of the deployments of a run, in the order in which they were opened. */
export async function deploymentsOfRun(db: Db, project: string, runKey: string): Promise<readonly DeploymentInput[]> {
  const rows = await db
    .selectFrom('deployments')
    .select('input')
    .where('project', '=', project)
    .where('runKey', '=', runKey)
    .where('startedBy', '=', 'run')
    .orderBy('id')
    .execute();
  return rows.map((row) => row.input);
}

/** One deployment with all that belongs to it. */
export async function readDeployment(db: Db, ref: DeploymentRef): Promise<DeploymentRecord | undefined> {
  const row = await whereRef(
    db.selectFrom('deployments').select([...summaryColumns, 'input', 'result']),
    ref,
  ).executeTakeFirst();
  if (row === undefined) return undefined;
  const [plan, steps, decisions] = await Promise.all([
    readPlan(db, ref, row.planHash ?? undefined),
    whereRef(db.selectFrom('deploymentSteps').selectAll(), ref).orderBy('startedAt').orderBy('key').execute(),
    whereRef(
      db.selectFrom('decisions').select(['by', 'verdict', 'counted', 'why', 'plan', 'comment', 'proven', 'at']),
      ref,
    )
      .orderBy('id')
      .execute(),
  ]);
  return {
    ...row,
    plan: plan ?? null,
    decisions,
    steps: steps.map(({ key, name, verdict, detail, startedAt, durationMs }) => ({
      key,
      name,
      verdict,
      startedAt,
      durationMs,
      ...(detail === null ? {} : { detail }),
    })),
  };
}

/** The last deployment of an environment that went wrong, for the risk of the next one. */
export async function lastFailed(
  db: Db,
  environment: { readonly project: string; readonly environment: string },
): Promise<DeploymentSummary | undefined> {
  return await db
    .selectFrom('deployments')
    .select(summaryColumns)
    .where('project', '=', environment.project)
    .where('environment', '=', environment.environment)
    .where('outcome', 'in', ['failed', 'errored', 'rolled-back', 'rollback-failed', 'rollback-unavailable', 'held'])
    .orderBy('id', 'desc')
    .executeTakeFirst();
}

/**
 * The version by which the same images, or without images the same commit, last succeeded in an environment. Equal inputs of a build are
 * equal images, so a merge or a tag of what was there before is found.
 */
export async function succeededWith(
  db: Db,
  environment: { readonly project: string; readonly environment: string },
  release: Pick<Release, 'commit' | 'images'>,
): Promise<string | undefined> {
  const images = release.images.map(({ name, digest }) => ({ name, digest }));
  const row = await db
    .selectFrom('deployments as d')
    .innerJoin('releases as r', (join) =>
      join.onRef('r.project', '=', 'd.project').onRef('r.version', '=', 'd.version'),
    )
    .select('d.version')
    .where('d.project', '=', environment.project)
    .where('d.environment', '=', environment.environment)
    .where('d.kind', '=', 'rollout')
    .where('d.outcome', '=', 'succeeded')
    .where(
      images.length === 0
        ? sql<boolean>`r.commit = ${release.commit}`
        : sql<boolean>`r.images @> ${json(images)}::jsonb`,
    )
    .orderBy('d.id', 'desc')
    .executeTakeFirst();
  return row?.version;
}

/** What an environment's workflow may have forgotten: deployments without an outcome, and the newest ones whatever became of them. */
export async function turnsOf(
  db: Db,
  project: string,
  environment: string,
  newest: number,
): Promise<
  readonly {
    readonly kind: 'rollout' | 'rollback';
    readonly input: DeploymentInput;
    readonly outcome: Outcome | null;
  }[]
> {
  const rows = await db
    .selectFrom('deployments')
    .select(['id', 'kind', 'input', 'outcome'])
    .where('project', '=', project)
    .where('environment', '=', environment)
    .orderBy('id', 'desc')
    .limit(newest)
    .execute();
  const oldest = rows.at(-1)?.id ?? 0;
  const open = await db
    .selectFrom('deployments')
    .select(['id', 'kind', 'input', 'outcome'])
    .where('project', '=', project)
    .where('environment', '=', environment)
    .where('outcome', 'is', null)
    .where('id', '<', oldest)
    .execute();
  return [...rows, ...open];
}
