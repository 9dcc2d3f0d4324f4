import { text } from 'node:stream/consumers';
import { reviveDefinition } from '../definition/load.ts';
import { routesOf } from '../definition/routes.ts';
import type { DeploymentInput, Priority } from '../domain/deployment.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { routeEvent } from '../domain/routing.ts';
import type { StageEvidence } from '../domain/evidence.ts';
import type { ImageReport, RunInput, RunPlan, StageReport } from '../domain/run.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { openDeployment } from '../store/deployments.ts';
import { readDefinition } from '../store/projects.ts';
import { readRelease, recordRelease } from '../store/releases.ts';
import { recordEvidence } from '../store/reports.ts';
import { holdRuns, openRun, recordImages, recordRunPlan, recordStage, settleRunRow } from '../store/runs.ts';
import type { Db } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { NoticeActivities, RunFactActivities } from './contracts.ts';
import { runNotice } from './notice-texts.ts';
import { inTransaction } from '../store/transaction.ts';

export interface RunFactDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly sendNotice: NoticeActivities['sendNotice'];
  /** Where stages kept what their reports say. */
  readonly blobs: Pick<BlobStore, 'read'>;
}

type Settle = Parameters<RunFactActivities['settleRun']>[0];

/** The end of CI: what it made, and where that goes. */
export function createRunFactActivities({ store, sendNotice, blobs }: RunFactDependencies): RunFactActivities {
  return {
    async settleRun(settle) {
      try {
        const { number, deployments } = await settleRun(store.db, blobs, settle);
        await sendNotice(runNotice({ ...settle, number, deployments }));
        return { deployments };
      } catch (error) {
        // Without the project nothing can be written of the run, and nothing can come of it.
        if (error instanceof ProviderError && error.type === 'NotFound') return { deployments: [] };
        throw toFailure(error);
      }
    },
  };
}

async function settleRun(
  db: Db,
  blobs: RunFactDependencies['blobs'],
  settle: Settle,
): Promise<{ readonly number: number; readonly deployments: readonly DeploymentInput[] }> {
  const { input, plan, stages, images, outcome, reason } = settle;
  // By its key: where preparing failed, the workflow has no number.
  const run = await openRun(db, input);
  const priority = plan === undefined ? 'routine' : await priorityOf(db, input, plan);
  const evidence = await Promise.all(stages.map((stage) => readEvidence(blobs, stage)));
  const deployments = await inTransaction(db, async (tx) => {
    await holdRuns(tx, [run]);
    if (plan !== undefined) await recordRunPlan(tx, { ...plan, run });
    for (const [position, stage] of stages.entries()) {
      await recordStage(tx, run, position, {
        name: stage.name,
        verdict: stage.verdict,
        startedAt: stage.startedAt,
        durationMs: stage.durationMs,
        detail: stage.detail ?? null,
        steps: stage.steps.map((step) => ({
          ...step,
          exitCode: step.exitCode ?? null,
          detail: step.detail ?? null,
        })),
      });
    }
    for (const [index, stage] of stages.entries()) {
      const shown = evidence[index];
      // With the outcome or not at all: a deployment is planned by what is recorded here.
      if (shown !== undefined) await recordEvidence(tx, run, stage.name, shown);
    }
    await recordImages(tx, run, images);
    const opened: DeploymentInput[] = [];
    if (plan !== undefined && outcome === 'succeeded') {
      const version = await ensureRelease(tx, settle, plan, run.number);
      for (const environment of version === undefined ? [] : plan.environments) {
        const { input: deployment } = await openDeployment(tx, {
          project: run.project,
          environment,
          version: version ?? plan.version,
          runKey: run.key,
          requestedBy: input.event.author,
          author: input.event.author,
          priority,
          requestedAt: new Date().toISOString(),
          kind: 'rollout',
          request: `run:${run.key}`,
          startedBy: 'run',
        });
        opened.push(deployment);
      }
    }
    await settleRunRow(tx, run, { outcome, reason });
    return opened;
  });
  return { number: run.number, deployments };
}

async function readEvidence(
  blobs: RunFactDependencies['blobs'],
  { evidence }: StageReport,
): Promise<StageEvidence | undefined> {
  if (evidence === undefined) return undefined;
  try {
    return JSON.parse(await text(await blobs.read(evidence))) as StageEvidence;
  } catch (error) {
    if (error instanceof ProviderError && error.type !== 'NotFound') throw error;
    // Without it a gate could pass for want of data: the run stays open until the blobs that its worker wrote are here.
    throw new ProviderError('BlobsUnavailable', `What the run showed (${evidence}) cannot be read here.`, {
      cause: error,
    });
  }
}

/** The release that a run has made or was asked to deploy; undefined when it has none. */
async function ensureRelease(
  db: Db,
  { input, images }: Settle,
  plan: RunPlan,
  build: number,
): Promise<string | undefined> {
  if (input.release !== undefined) {
    const recorded = await readRelease(db, input.project, input.release);
    if (recorded === undefined) {
      throw new ProviderError('ImageNotFound', `There is no release ${input.release} of ${input.project}.`);
    }
    return recorded.version;
  }
  const complete = plan.images.every((name) => images.some((image) => image.name === name));
  if (plan.images.length > 0 && (plan.buildImages !== 'push' || !complete)) return undefined;
  await recordRelease(db, {
    project: input.project,
    version: plan.version,
    build,
    commit: plan.commit.sha,
    images: images.map(toReleaseImage),
    definition: plan.definition,
    migrations: [],
    runKey: input.key,
    author: input.event.author,
  });
  return plan.version;
}

function toReleaseImage({ name, repository, digest }: ImageReport): {
  readonly name: string;
  readonly repository: string;
  readonly digest: string;
} {
  return { name, repository, digest };
}

/** Of the route by which the run went, as its own definition has it. */
async function priorityOf(db: Db, input: RunInput, plan: RunPlan): Promise<Priority> {
  const known = await readDefinition(db, plan.definition);
  if (known === undefined) return 'routine';
  const decision = routeEvent(input.event, routesOf(reviveDefinition(known).project));
  return decision.kind === 'run' ? decision.route.priority : 'routine';
}
