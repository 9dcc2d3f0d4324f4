import { sql } from 'kysely';
import type { DeploymentPhase, DeploymentRef, DeploymentResult, StepRecord } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import type { PublishedPackage } from '../domain/packages.ts';
import type { RunPhase, RunPlan, RunRef } from '../domain/run.ts';
import { deploymentEvent } from './deployment-rows.ts';
import { recordDeploymentStep, recordPhase } from './deployments.ts';
import { type OperatorWord, recordLive } from './operator-words.ts';
import { publish } from './events.ts';
import { openIncidentRow } from './incidents.ts';
import { type ArtifactRecord, type CacheUseRecord, recordArtifact, recordCacheUse } from './kept-files.ts';
import { type LogOwner, type LogSegment, addSegment, beginLog, closeLog } from './logs.ts';
import { type ProofRecord, recordProof } from './proofs.ts';
import { recordPackages } from './packages.ts';
import { deleteOld } from './retention.ts';
import { recordRunAnew, recordRunPhase, recordRunPlan, holdRuns } from './runs.ts';
import { type StageView, type StepView, recordStage, recordStep } from './stages.ts';
import { settleDeploymentRow } from './settlements.ts';
import { type Sample, recordSample } from './samples.ts';
import type { Db } from './schema.ts';
import { inTransaction } from './transaction.ts';

/**
 * Something that happened and is only told: it goes to the spool and from there to the store, so that no failure of the store fails or
 * delays what is being done.
 */
export type Fact =
  | { readonly kind: 'run-plan'; readonly plan: RunPlan }
  | { readonly kind: 'run-phase'; readonly run: RunRef; readonly phase: RunPhase }
  /** Its machine was lost, and it begins anew wherever it is taken. */
  | { readonly kind: 'run-anew'; readonly run: RunRef; readonly at: string; readonly why: string }
  | { readonly kind: 'stage'; readonly run: RunRef; readonly position: number; readonly stage: StageView }
  | {
      readonly kind: 'step';
      readonly run: RunRef;
      readonly stage: string;
      readonly position: number;
      readonly step: StepView;
    }
  | {
      readonly kind: 'phase';
      readonly deployment: DeploymentRef;
      readonly phase: DeploymentPhase;
      readonly detail?: string;
      readonly at: string;
    }
  | {
      readonly kind: 'deployment-step';
      readonly deployment: DeploymentRef;
      readonly key: string;
      readonly step: StepRecord;
    }
  | { readonly kind: 'settled'; readonly result: DeploymentResult; readonly version: string; readonly at: string }
  | {
      readonly kind: 'incident';
      readonly deployment: DeploymentRef;
      readonly trigger: string;
      readonly summary: string;
      readonly at: string;
    }
  | ({ readonly kind: 'live' } & OperatorWord)
  | ({ readonly kind: 'proof' } & ProofRecord)
  | { readonly kind: 'sample'; readonly deployment: DeploymentRef; readonly sample: Sample }
  | { readonly kind: 'artifact'; readonly artifact: ArtifactRecord }
  | {
      readonly kind: 'package';
      readonly run: RunRef;
      readonly published: PublishedPackage;
    }
  | { readonly kind: 'cache-use'; readonly use: CacheUseRecord }
  | { readonly kind: 'log-opened'; readonly owner: LogOwner; readonly at: string }
  | { readonly kind: 'log-segment'; readonly owner: LogOwner; readonly segment: LogSegment }
  | {
      readonly kind: 'log-closed';
      readonly owner: LogOwner;
      readonly at: string;
      readonly sizeBytes: number;
      readonly blob?: string;
    };

/** A fact with the key by which its second arrival is recognised. */
export interface KeyedFact {
  readonly key: string;
  readonly fact: Fact;
}

/** A fact that the tables do not take, however often it comes. */
export interface RefusedFact {
  readonly key: string;
  readonly reason: string;
}

/**
 * Takes facts into the tables, each once however often it arrives. After an error none of them counts and the same batch may come again.
 *
 * @returns facts that cannot be taken; they are passed over, for one of them must not keep the others waiting for ever.
 * @throws ProviderError `StoreUnavailable` (retried)
 */
export async function applyFacts(db: Db, facts: readonly KeyedFact[]): Promise<readonly RefusedFact[]> {
  if (facts.length === 0) return [];
  try {
    await applyTogether(db, facts);
    return [];
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    if (facts.length > 1) return await applyOneByOne(db, facts);
    const reason = error instanceof Error ? error.message : String(error);
    return facts.map(({ key }) => ({ key, reason }));
  }
}

async function applyOneByOne(db: Db, facts: readonly KeyedFact[]): Promise<readonly RefusedFact[]> {
  const refused: RefusedFact[] = [];
  for (const fact of facts) refused.push(...(await applyFacts(db, [fact])));
  return refused;
}

async function applyTogether(db: Db, facts: readonly KeyedFact[]): Promise<void> {
  await inTransaction(db, async (tx) => {
    const { rows } = await sql<{ key: string }>`
      insert into facts (key) select distinct unnest(${facts.map((each) => each.key)}::text[])
      on conflict do nothing returning key`.execute(tx);
    const unseen = new Set(rows.map((row) => row.key));
    const { isClosed } = await holdRuns(
      tx,
      facts.flatMap(({ fact }) => runsOf(fact)),
    );
    for (const { key, fact } of facts) {
      // A worker that was away for long may say that something begins of a run that was ended without it.
      if (unseen.delete(key) && !(isBeginning(fact) && isClosed(fact.run))) await applyFact(tx, fact);
    }
  });
}

function isBeginning(fact: Fact): fact is Extract<Fact, { readonly kind: 'stage' | 'step' }> {
  return (fact.kind === 'stage' && fact.stage.verdict === null) || (fact.kind === 'step' && fact.step.verdict === null);
}

function runsOf(fact: Fact): readonly RunRef[] {
  switch (fact.kind) {
    case 'run-plan':
      return [fact.plan.run];
    case 'run-phase':
    case 'run-anew':
    case 'stage':
    case 'step':
      return [fact.run];
    default:
      return [];
  }
}

async function applyFact(tx: Db, fact: Fact): Promise<void> {
  switch (fact.kind) {
    case 'run-plan':
      await recordRunPlan(tx, fact.plan);
      return;
    case 'run-phase':
      await recordRunPhase(tx, fact.run, fact.phase);
      return;
    case 'run-anew':
      await recordRunAnew(tx, fact.run, fact);
      return;
    case 'stage':
      await recordStage(tx, fact.run, fact.position, fact.stage);
      await publish(tx, [
        {
          kind: 'run',
          project: fact.run.project,
          run: fact.run.number,
          data: { stage: fact.stage.name, verdict: fact.stage.verdict },
        },
      ]);
      return;
    case 'step':
      await recordStep(tx, fact.run, fact.stage, fact.position, fact.step);
      await publish(tx, [
        {
          kind: 'run',
          project: fact.run.project,
          run: fact.run.number,
          data: { stage: fact.stage, step: fact.step.name, verdict: fact.step.verdict },
        },
      ]);
      return;
    case 'phase':
      if (await recordPhase(tx, fact.deployment, fact)) {
        await publish(tx, [deploymentEvent(fact.deployment, { phase: fact.phase, detail: fact.detail ?? null })]);
      }
      return;
    case 'deployment-step':
      await recordDeploymentStep(tx, fact.deployment, fact.key, fact.step);
      await publish(tx, [deploymentEvent(fact.deployment, { step: fact.step.name, verdict: fact.step.verdict })]);
      return;
    case 'settled':
      await settleDeploymentRow(tx, fact.result, fact.version, fact.at);
      return;
    case 'incident':
      await openIncidentRow(tx, fact.deployment, fact);
      return;
    case 'live':
      await recordLive(tx, fact);
      return;
    case 'proof':
      await recordProof(tx, fact);
      return;
    case 'sample':
      await recordSample(tx, fact.deployment, fact.sample);
      return;
    case 'artifact':
      await recordArtifact(tx, fact.artifact);
      return;
    case 'package':
      await recordPackages(tx, fact.run, [fact.published]);
      return;
    case 'cache-use':
      await recordCacheUse(tx, fact.use);
      return;
    case 'log-opened':
      await beginLog(tx, fact.owner, fact.at);
      return;
    case 'log-segment':
      await addSegment(tx, fact.owner, fact.segment);
      return;
    case 'log-closed':
      await closeLog(tx, fact.owner, fact);
      return;
  }
}

/** Keys of facts that cannot arrive again: the spool has long forgotten them. @returns how many were removed. */
export async function forgetOldFacts(db: Db, keptDays = 30): Promise<number> {
  return await deleteOld(db, 'facts', 'at', keptDays);
}
