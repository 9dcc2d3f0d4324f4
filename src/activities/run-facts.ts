import { text } from 'node:stream/consumers';
import { resolvePolicy } from '../definition/environment.ts';
import { definitionInvalid, loadProject, reviveDefinition } from '../definition/load.ts';
import type { DefinitionPair } from '../definition/pair.ts';
import { routesOf } from '../definition/routes.ts';
import type { DeploymentInput, DeploymentRef } from '../domain/deployment.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { type Urgency, isForeign, routeEvent, urgencyOf } from '../domain/routing.ts';
import { sentences } from '../domain/sentences.ts';
import type { StageEvidence } from '../domain/evidence.ts';
import type { ImageReport, RunInput, RunPlan, StageReport } from '../domain/run.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { openDeployment } from '../store/deployments.ts';
import type { PublishedPackage } from '../domain/packages.ts';
import { listPackages, recordPackages } from '../store/packages.ts';
import { readDefinition, readProject } from '../store/projects.ts';
import { readRelease, recordRelease } from '../store/releases.ts';
import { recordEvidence } from '../store/reports.ts';
import {
  holdRuns,
  involvedIn,
  openRun,
  readInvolved,
  recordImages,
  recordRunPhase,
  recordRunPlan,
  settleRunRow,
} from '../store/runs.ts';
import { recordStage } from '../store/stages.ts';
import type { Db } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { NoticeActivities, RunFactActivities } from './contracts.ts';
import { imagesEvidenceKey, imagesStage } from './image-gate.ts';
import { checkNotices } from './check-notices.ts';
import { forgeApiOf } from './forges.ts';
import { forkNotice, runNotice, scanNotice } from './notice-texts.ts';
import type { FreeTurn } from './run-turns.ts';
import { inTransaction } from '../store/transaction.ts';

export interface RunFactDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly sendNotice: NoticeActivities['sendNotice'];
  /** Where stages kept what their reports say. */
  readonly blobs: Pick<BlobStore, 'read'>;
  readonly freeTurn: FreeTurn;
}

type Settle = Parameters<RunFactActivities['settleRun']>[0];

/** The end of CI: what it made, and where that goes. */
export function createRunFactActivities({
  store,
  sendNotice,
  blobs,
  freeTurn,
}: RunFactDependencies): RunFactActivities {
  return {
    async openForkRun(input) {
      try {
        const stored = await readProject(store.db, input.project);
        if (stored === undefined) throw new ProviderError('NotFound', `There is no project ${input.project}.`);
        const loaded = loadProject({ file: 'project.yaml', text: stored.text });
        if (!loaded.ok) throw definitionInvalid(loaded.problems);
        const { forks: rule, timeout: timeoutMs } = loaded.value.pullRequests;
        const run = await openRun(store.db, input);
        if (rule === 'ask') {
          await recordRunPhase(store.db, run, 'awaiting-word');
          await sendNotice(forkNotice(input, run.number, timeoutMs));
        }
        return { run, rule, timeoutMs, tellsForge: forgeApiOf(loaded.value) !== undefined };
      } catch (error) {
        throw toFailure(error);
      }
    },

    async settleRun(settle) {
      try {
        const { number, deployments, packages, reason } = await settleRun(store.db, blobs, settle);
        const settled = { ...settle, number, deployments, packages, reason };
        await sendNotice(runNotice(settled));
        const alert = scanNotice(settled);
        const more = [...checkNotices(settled), ...(alert === undefined ? [] : [alert])];
        // At once: where nobody answers each is waited for, and the deployments wait for all of them.
        await Promise.all([...more.map(sendNotice), freeTurn(settle.input.project, settle.input.event.ref)]);
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
): Promise<{
  readonly number: number;
  readonly deployments: readonly DeploymentInput[];
  readonly packages: readonly PublishedPackage[];
  readonly reason: string;
}> {
  const { input, plan, stages, images, outcome } = settle;
  // A plan may be of an older Slipway, which asked no route where the code is from.
  const goesNowhere = isForeign(input.event);
  const refused = goesNowhere && outcome === 'succeeded' ? (plan?.environments ?? []) : [];
  const reason =
    refused.length === 0
      ? settle.reason
      : sentences(
          settle.reason,
          `It is not deployed to ${refused.join(', ')}: a pull request from a fork goes nowhere`,
        );
  // By its key: where preparing failed, the workflow has no number.
  const run = await openRun(db, input);
  const definition = plan === undefined ? undefined : await readDefinition(db, plan.definition);
  const pair = definition === undefined ? undefined : reviveDefinition(definition);
  const { priority, emergency } = urgencyOfRun(input, plan, pair);
  const evidence = await Promise.all(stages.map((stage) => readEvidence(blobs, stage)));
  const ofImages = plan === undefined ? undefined : await readImagesEvidence(blobs, { ...plan, run }, images);
  const { opened: deployments, packages } = await inTransaction(db, async (tx) => {
    await holdRuns(tx, [run]);
    if (plan !== undefined) await recordRunPlan(tx, { ...plan, run });
    for (const [position, stage] of stages.entries()) {
      const steps = stage.steps.map((step) => ({
        ...step,
        exitCode: step.exitCode ?? null,
        detail: step.detail ?? null,
      }));
      const { name, verdict, startedAt, durationMs, detail = null } = stage;
      await recordStage(tx, run, position, { name, verdict, startedAt, durationMs, detail, steps }, 'end');
    }
    for (const [index, stage] of stages.entries()) {
      const shown = evidence[index];
      // With the outcome or not at all: a deployment is planned by what is recorded here.
      if (shown !== undefined) await recordEvidence(tx, run, stage.name, shown);
    }
    if (ofImages !== undefined) await recordEvidence(tx, run, imagesStage, ofImages);
    await recordImages(tx, run, images);
    await recordPackages(tx, run, settle.packages ?? []);
    const opened: DeploymentInput[] = [];
    if (plan !== undefined && outcome === 'succeeded' && !goesNowhere) {
      const release = await ensureRelease(tx, settle, plan, run.number);
      for (const environment of release === undefined ? [] : plan.environments) {
        const { input: deployment } = await openDeployment(tx, {
          project: run.project,
          environment,
          version: release?.version ?? plan.version,
          runKey: run.key,
          runNumber: run.number,
          requestedBy: input.requestedBy ?? input.event.author,
          author: release?.author ?? input.event.author,
          involved: release?.involved ?? [],
          priority,
          requestedAt: new Date().toISOString(),
          kind: 'rollout',
          request: `run:${run.key}`,
          startedBy: 'run',
          // In the order of the route: each waits for the one before it.
          ...(opened.length === 0 ? {} : { after: refOf(opened.at(-1)) }),
          ...(emergency ? { emergency } : {}),
          ...(waitsForNobody(pair, environment) ? { waitsForNobody: true as const } : {}),
        });
        opened.push(deployment);
      }
    }
    await settleRunRow(tx, run, { outcome, reason });
    // Also what a run had published that was aborted in the middle of it.
    return { opened, packages: await listPackages(tx, run.project, run.number) };
  });
  return { number: run.number, deployments, packages, reason };
}

async function readEvidence(
  blobs: RunFactDependencies['blobs'],
  { evidence }: Pick<StageReport, 'evidence'>,
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

/** What the gate of the images went by; there too where it stopped them, so that people see why. */
async function readImagesEvidence(
  blobs: RunFactDependencies['blobs'],
  { run, buildImages }: RunPlan,
  images: readonly ImageReport[],
): Promise<StageEvidence | undefined> {
  if (buildImages === 'none') return undefined;
  const judged = images.some(({ evidence }) => evidence?.gate !== undefined || evidence?.licences !== undefined);
  try {
    return await readEvidence(blobs, { evidence: imagesEvidenceKey(run) });
  } catch (error) {
    // A run whose images never came to be scanned has none; one that says that they were judged must show it.
    const nothing =
      error instanceof ProviderError && error.cause instanceof ProviderError && error.cause.type === 'NotFound';
    if (judged || !nothing) throw error;
    return undefined;
  }
}

/** The release that a run has made or was asked to deploy, with everybody who has had a hand in it; undefined when it has none. */
async function ensureRelease(
  db: Db,
  { input, images }: Settle,
  plan: RunPlan,
  build: number,
): Promise<{ readonly version: string; readonly author: string; readonly involved: readonly string[] } | undefined> {
  const own = involvedIn(input);
  if (input.release !== undefined) {
    const recorded = await readRelease(db, input.project, input.release);
    if (recorded === undefined) {
      throw new ProviderError('ImageNotFound', `There is no release ${input.release} of ${input.project}.`);
    }
    const { version, author, runKey } = recorded;
    const builders = runKey === null ? [] : await readInvolved(db, input.project, runKey);
    return { version, author, involved: [...new Set([...own, ...builders])] };
  }
  if (plan.skipped !== undefined) return undefined;
  const complete = plan.images.every((name) => images.some((image) => image.name === name));
  if (plan.images.length > 0 && (plan.buildImages !== 'push' || !complete)) return undefined;
  // A commit without a name in it is whose who brought it.
  const author = plan.commit.author === '' ? input.event.author : plan.commit.author;
  await recordRelease(db, {
    project: input.project,
    version: plan.version,
    build,
    commit: plan.commit.sha,
    images: images.map(toReleaseImage),
    definition: plan.definition,
    migrations: [],
    runKey: input.key,
    author,
  });
  return { version: plan.version, author, involved: own };
}

function toReleaseImage({ name, repository, digest }: ImageReport): {
  readonly name: string;
  readonly repository: string;
  readonly digest: string;
} {
  return { name, repository, digest };
}

/** Of the route by which the run went; a plan of an older Slipway does not have it, and is asked by its definition without the changed paths. */
function urgencyOfRun(input: RunInput, plan: RunPlan | undefined, pair: DefinitionPair | undefined): Urgency {
  if (plan?.urgency !== undefined) return plan.urgency;
  if (pair === undefined) return { priority: 'routine' };
  const decision = routeEvent(input.event, routesOf(pair.project));
  return decision.kind === 'ignored' ? { priority: 'routine' } : urgencyOf(decision.route);
}

/** Planning infrastructure takes minutes, in which nobody else shall have to wait for the turn. */
function waitsForNobody(pair: DefinitionPair | undefined, name: string): boolean {
  const environment = pair?.project.environments[name];
  if (pair === undefined || environment === undefined) return false;
  const plansLong = pair.repository.infrastructure !== undefined && environment.infrastructure !== undefined;
  return !plansLong && !resolvePolicy(pair, name, environment).approval.required;
}

function refOf(deployment: DeploymentInput | undefined): DeploymentRef {
  if (deployment === undefined) throw new TypeError('there is no deployment before the first');
  const { project, environment, number } = deployment;
  return { project, environment, number };
}
