import { type Client, type WorkflowExecutionDescription, WorkflowNotFoundError } from '@temporalio/client';
import pLimit from 'p-limit';
import type { AbandonedDeployment, AbandonedRun, ClosedWorkflow } from '../domain/abandoned.ts';
import type { DeploymentRef, DeploymentResult } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import { type Outcome, type RunOutcome, outcomes } from '../domain/outcome.ts';
import type { RunRef } from '../domain/run.ts';
import {
  type EndedRun,
  type OpenDeployment,
  type OpenRun,
  endAbandonedDeployment,
  endAbandonedRun,
  openDeployments,
  openRuns,
} from '../store/abandoned.ts';
import type { Store } from '../store/store.ts';
import { deploymentId, environmentId, owedQuery, rollbackId, rolloutId, runId } from '../workflows/messages.ts';
import { beating, typed } from './changes.ts';
import type { AbandonedPage, AbandonedRequest, NoticeActivities, UpkeepActivities } from './contracts.ts';
import { deploymentNotice, runNotice } from './notice-texts.ts';

export interface AbandonedDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly temporal: Client;
  readonly sendNotice: NoticeActivities['sendNotice'];
  /** Who waits for the turn of a run that was ended. */
  readonly freeTurn: (project: string, ref: string) => Promise<void>;
}

/** Rows of a page: as many as Temporal lists workflows at once, so that one list serves nearly all of them. */
const pageSize = 1_000;
/** Of one question to Temporal, ms; a query waits for a worker. */
const askMs = 5_000;
/** Of the whole list, ms. */
const listMs = 30_000;
const atOnce = 10;
/** Roll-outs of one deployment that are asked for by their id; more are known by the list. As in `turn.ts`. */
const mostAsks = 5;
const workflowTypes = ['runPipeline', 'deployRelease', 'rollOutRelease', 'rollbackRelease'] as const;

type Reconciling = Pick<UpkeepActivities, 'readAbandoned' | 'settleAbandoned'>;

/** Finds and ends the rows whose workflows cannot end them any more. */
export function createAbandonedActivities(deps: AbandonedDependencies): Reconciling {
  const { store, temporal, sendNotice, freeTurn } = deps;
  return {
    readAbandoned: (request) =>
      beating(async (signal) => await readPage(store, createTemporalView(temporal, request.graceMs), request, signal)),

    settleAbandoned: (end) =>
      typed(async () => {
        if (end.kind === 'run') {
          const { run, outcome, reason } = end;
          const ended = await endRun({ store, sendNotice }, run, { outcome, reason }, end.why);
          if (ended !== undefined) await freeTurn(run.project, ended.input.event.ref);
          return ended !== undefined;
        }
        const { result, version, why } = end;
        const ended = await endAbandonedDeployment(store.db, result, version, why, deploymentId(result));
        if (ended) await sendNotice(await deploymentNotice(store.db, result, version));
        return ended;
      }),
  };
}

/** Ends runs one by one in the place of their workflows, for whoever waits for them. */
export interface RunEnder {
  /**
   * @returns undefined while its workflow may say something; `closing` while what it was running may not have heard that it is over.
   * @throws ProviderError `TemporalUnavailable`
   */
  find(
    run: Pick<OpenRun, 'project' | 'key' | 'number' | 'phase'>,
    graceMs: number,
  ): Promise<AbandonedRun | 'closing' | undefined>;
  /** As the reconciler would: audited, and told. */
  end(run: AbandonedRun, end: { readonly outcome: RunOutcome; readonly reason: string }): Promise<void>;
}

export function createRunEnder(deps: Omit<AbandonedDependencies, 'freeTurn'>): RunEnder {
  return {
    async find(run, graceMs) {
      const view = createTemporalView(deps.temporal, graceMs);
      const found = await view.look(runId(run.project, run.key));
      if (found === 'open') return undefined;
      return found === 'closing' ? 'closing' : toAbandoned(run, found);
    },
    async end({ project, key, number, workflow }, end) {
      await endRun(deps, { project, key, number }, end, { workflow });
    },
  };
}

async function endRun(
  { store, sendNotice }: Pick<AbandonedDependencies, 'store' | 'sendNotice'>,
  run: RunRef,
  end: { readonly outcome: RunOutcome; readonly reason: string },
  why: Parameters<typeof endAbandonedRun>[3],
): Promise<EndedRun | undefined> {
  const ended = await endAbandonedRun(store.db, run, end, why, runId(run.project, run.key));
  // Also after an earlier attempt had written it: a notice goes out once, whoever asks for it.
  if (ended !== undefined) await sendNotice(runNotice(settledRun(run, end, ended)));
  return ended;
}

function settledRun(
  run: RunRef,
  end: { readonly outcome: RunOutcome; readonly reason: string },
  { input, stages }: EndedRun,
): Parameters<typeof runNotice>[0] {
  return {
    run,
    input,
    number: run.number,
    deployments: [],
    images: [],
    ...end,
    stages: stages.map(({ verdict, detail, durationMs, steps, ...stage }) => ({
      ...stage,
      verdict: verdict ?? 'errored',
      durationMs: durationMs ?? 0,
      ...(detail === null ? {} : { detail }),
      steps: steps.map((step) => ({
        name: step.name,
        startedAt: step.startedAt,
        verdict: step.verdict ?? 'errored',
        durationMs: step.durationMs ?? 0,
        ...(step.detail === null ? {} : { detail: step.detail }),
      })),
    })),
  };
}

async function readPage(
  store: Pick<Store, 'db'>,
  view: TemporalView,
  { of, graceMs, after }: AbandonedRequest,
  signal: AbortSignal,
): Promise<AbandonedPage> {
  const limit = pLimit(atOnce);
  const page = { olderThanMs: graceMs, after, limit: pageSize };
  const look = async <R extends { readonly id: number }, A>(
    rows: readonly R[],
    judge: (row: R) => Promise<A | undefined>,
  ): Promise<{ readonly abandoned: readonly A[]; readonly next: number | null; readonly looked: number }> => {
    if (rows.length > 0) await view.readRunning();
    const found = await Promise.all(
      rows.map((row) =>
        limit(async () => {
          signal.throwIfAborted();
          return await judge(row);
        }),
      ),
    );
    return {
      abandoned: found.filter((one) => one !== undefined),
      next: rows.length < pageSize ? null : (rows.at(-1)?.id ?? null),
      looked: rows.length,
    };
  };
  return of === 'runs'
    ? await look(await openRuns(store.db, page), (row) => judgeRun(view, row))
    : await look(await openDeployments(store.db, page), (row) => judgeDeployment(view, row));
}

async function judgeRun(view: TemporalView, row: OpenRun): Promise<AbandonedRun | undefined> {
  const found = await view.find(runId(row.project, row.key));
  return found === 'open' ? undefined : toAbandoned(row, found);
}

function toAbandoned(
  { project, key, number, phase }: Pick<OpenRun, 'project' | 'key' | 'number' | 'phase'>,
  found: Found,
): AbandonedRun {
  const returned = readEnd(found.returned);
  return {
    kind: 'run',
    project,
    key,
    number,
    phase,
    workflow: found.workflow,
    ...(returned === undefined
      ? {}
      : { returned: { outcome: returned.outcome as RunOutcome, reason: returned.reason } }),
  };
}

/** @returns undefined while anybody is left who may still end it, start it, or go on with it. */
async function judgeDeployment(view: TemporalView, row: OpenDeployment): Promise<AbandonedDeployment | undefined> {
  const { project, environment, number, version, phase } = row;
  const ref: DeploymentRef = { project, environment, number };
  const rollback = row.kind === 'rollback';
  const found = await view.find(rollback ? rollbackId(ref) : deploymentId(ref));
  if (found === 'open') return undefined;
  if (!rollback && found.workflow.status === 'unknown' && (await willBeStarted(view, row))) return undefined;
  const turn = rollback ? undefined : await view.findTurn(ref);
  if (turn === 'open') return undefined;
  if (await view.isOwed(ref)) return undefined;
  // The requester knows best; when it went silently, the turn that it was waiting for may have reported all the same.
  const returned = readResult(found.returned, ref) ?? readResult(turn?.returned, ref);
  return {
    kind: 'deployment',
    ...ref,
    rollback,
    version,
    phase,
    workflow: found.workflow,
    ...(turn === undefined ? {} : { turn: turn.workflow }),
    ...(returned === undefined ? {} : { returned }),
  };
}

/** Whoever opened it may not have come to start it. */
async function willBeStarted(view: TemporalView, row: OpenDeployment): Promise<boolean> {
  if (row.startedBy === 'api') return row.startedAt === null;
  return row.runKey !== null && (await view.find(runId(row.project, row.runKey))) === 'open';
}

interface Found {
  readonly workflow: ClosedWorkflow;
  readonly returned?: unknown;
}

/** What Temporal says of workflows; what closed a moment ago counts as open, for its words may be on their way. */
interface TemporalView {
  /** Lists what is open, so that only the rest has to be asked about one by one. The list may be late, so it only ever says `open`. */
  readRunning(): Promise<void>;
  find(workflowId: string): Promise<Found | 'open'>;
  /** The same, and `closing` for what closed a moment ago. */
  look(workflowId: string): Promise<Found | 'open' | 'closing'>;
  /** The last roll-out of a deployment; undefined when it never had the turn. */
  findTurn(ref: DeploymentRef): Promise<Found | 'open' | undefined>;
  /** Whether the environment will still see to its end, or cannot be asked. */
  isOwed(ref: DeploymentRef): Promise<boolean>;
}

function createTemporalView(temporal: Client, graceMs: number): TemporalView {
  const running = new Set<string>();
  const owed = new Map<string, Promise<readonly number[] | 'not-said'>>();
  const asking = <T>(work: () => Promise<T>): Promise<T> => temporal.withDeadline(Date.now() + askMs, work);

  async function describe(workflowId: string): Promise<WorkflowExecutionDescription | undefined> {
    try {
      return await asking(() => temporal.workflow.getHandle(workflowId).describe());
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw unavailable(error);
    }
  }

  async function find(workflowId: string): Promise<Found | 'open'> {
    const found = await look(workflowId);
    return found === 'closing' ? 'open' : found;
  }

  async function look(workflowId: string): Promise<Found | 'open' | 'closing'> {
    if (running.has(workflowId)) return 'open';
    const described = await describe(workflowId);
    if (described === undefined) return { workflow: { workflowId, status: 'unknown' } };
    const status = closed[described.status.name];
    const { closeTime, runId: execution } = described;
    if (status === undefined) return 'open';
    if (closeTime !== undefined && Date.now() - closeTime.getTime() < graceMs) return 'closing';
    const workflow = { workflowId, status, ...(closeTime === undefined ? {} : { closedAt: closeTime.toISOString() }) };
    if (status !== 'completed') return { workflow };
    const handle = temporal.workflow.getHandle(workflowId, execution, { followRuns: false });
    try {
      return { workflow, returned: await asking(() => handle.result() as Promise<unknown>) };
    } catch (error) {
      throw unavailable(error);
    }
  }

  return {
    find,
    look,
    async readRunning() {
      const types = workflowTypes.map((type) => `"${type}"`).join(', ');
      const query = `ExecutionStatus = "Running" AND WorkflowType IN (${types})`;
      try {
        await temporal.withDeadline(Date.now() + listMs, async () => {
          const open = temporal.workflow.list({ query, pageSize: 1_000 });
          for await (const { workflowId } of open) running.add(workflowId);
        });
      } catch (error) {
        throw unavailable(error);
      }
    },

    async findTurn(ref) {
      const later = `${rolloutId(ref)}.`;
      for (const id of running) if (id === rolloutId(ref) || id.startsWith(later)) return 'open';
      const ids = Array.from({ length: mostAsks }, (_, index) => rolloutId(ref, index + 1));
      const found = await Promise.all(ids.map(find));
      if (found.includes('open')) return 'open';
      return found
        .filter((one) => one !== 'open')
        .filter(({ workflow }) => workflow.status !== 'unknown')
        .at(-1);
    },

    async isOwed({ project, environment, number }) {
      const id = environmentId(project, environment);
      let asked = owed.get(id);
      if (asked === undefined) {
        asked = readOwed(id);
        owed.set(id, asked);
      }
      const numbers = await asked;
      return numbers === 'not-said' || numbers.includes(number);
    },
  };

  async function readOwed(id: string): Promise<readonly number[] | 'not-said'> {
    const described = await describe(id);
    // Nobody of that name is there to see to anything; a closed one answers queries, but what it remembers is nobody's task any more.
    if (described === undefined || closed[described.status.name] !== undefined) return [];
    try {
      return await asking(() => temporal.workflow.getHandle(id).query(owedQuery));
    } catch {
      return 'not-said';
    }
  }
}

/** Statuses after which nothing comes; a workflow that continued as new goes on under the same id. */
const closed: Readonly<Partial<Record<string, ClosedWorkflow['status']>>> = {
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  TERMINATED: 'terminated',
  TIMED_OUT: 'timed-out',
};

function unavailable(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ProviderError('TemporalUnavailable', `Temporal could not say what is open: ${message}`, { cause: error });
}

function readEnd(value: unknown): { readonly outcome: Outcome; readonly reason: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { outcome, reason } = value as { readonly outcome?: unknown; readonly reason?: unknown };
  return outcomes.includes(outcome as Outcome) && typeof reason === 'string'
    ? { outcome: outcome as Outcome, reason }
    : undefined;
}

/** The result of a deployment, as `deployRelease` returns it or as a turn reports it. */
function readResult(value: unknown, ref: DeploymentRef): DeploymentResult | undefined {
  const inner =
    typeof value === 'object' && value !== null && 'kind' in value && 'result' in value ? value.result : value;
  if (readEnd(inner) === undefined) return undefined;
  const result = inner as DeploymentResult;
  return result.number === ref.number && Array.isArray(result.steps) ? { ...result, ...ref } : undefined;
}
