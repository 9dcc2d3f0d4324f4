import { Context } from '@temporalio/activity';
import type { DeploymentInput, DeploymentRef } from '../domain/deployment.ts';
import type { ProvenDecision } from '../domain/decision-proof.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import type { DecisionProofs } from '../effects/decision-proofs.ts';
import type { Spool } from '../effects/spool.ts';
import { appendAudit } from '../store/audit.ts';
import { recordDecisionRow } from '../store/decisions.ts';
import { openDeployment } from '../store/deployments.ts';
import { readEnvironment } from '../store/environments.ts';
import { type Fact, applyFacts } from '../store/facts.ts';
import { incidentId } from '../store/incidents.ts';
import type { Store } from '../store/store.ts';
import { deploymentId } from '../workflows/messages.ts';
import type { FactActivities, NoticeActivities } from './contracts.ts';
import { stepFact, tell as tellAll } from './told.ts';
import { deploymentNotice } from './notice-texts.ts';
import { inTransaction } from '../store/transaction.ts';

export interface FactDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly spool: Pick<Spool<Fact>, 'append'>;
  readonly sendNotice: NoticeActivities['sendNotice'];
  readonly proofs: DecisionProofs;
}

/** What is told of deployments. Phases, steps, outcomes and incidents go to the spool; decisions and new numbers need the store. */
export function createFactActivities({ store, spool, sendNotice, proofs }: FactDependencies): FactActivities {
  /** For people's eyes only: where even the spool has no room, the fact is lost and nothing else. */
  async function tell(key: string, fact: Fact): Promise<void> {
    try {
      await spool.append(key, fact);
    } catch {
      // The spool has told its own log of it.
    }
  }

  /** What must not be lost: a full spool is gone round, and if the store is away too, the activity is tried again. */
  async function keep(key: string, fact: Fact): Promise<void> {
    try {
      await spool.append(key, fact);
    } catch {
      const [refused] = await applyFacts(store.db, [{ key, fact }]);
      if (refused !== undefined) throw new ProviderError('Internal', `The fact ${key} was refused: ${refused.reason}`);
    }
  }

  return {
    recordFacts: (told) => tellAll(spool, told),

    recordLostMachine: ({ run, at, why }) =>
      tell(`run-anew/${run.project}/${run.number}/${at}`, { kind: 'run-anew', run, at, why }),

    recordPhase: ({ deployment, phase, detail }) =>
      tell(`phase/${nameOf(deployment)}/${phase}/${callId()}`, {
        kind: 'phase',
        deployment: refOf(deployment),
        phase,
        at: new Date().toISOString(),
        ...(detail === undefined ? {} : { detail }),
      }),

    recordStep: ({ deployment, key, step }) => {
      const { key: name, fact } = stepFact(deployment, key, step);
      return tell(name, fact);
    },

    recordDecision: ({ deployment, ...decision }) =>
      failing(async () => {
        const { by, verdict, counted, why, plan, comment, at, proof } = decision;
        // What is on record as proven is so by the key alone: whoever may write to the namespace can give this call any words.
        const proven =
          decision.proven &&
          proof !== undefined &&
          isAbout(proof, deploymentId(deployment), decision) &&
          proofs.whyNot(proof) === undefined;
        await inTransaction(store.db, async (tx) => {
          const recorded = await recordDecisionRow(tx, deployment, {
            by,
            verdict,
            counted,
            why: why ?? null,
            plan,
            comment: comment ?? null,
            proven,
            at,
          });
          if (!recorded) return;
          await appendAudit(tx, {
            actor: by,
            action: `decision.${verdict}`,
            object: deploymentId(deployment),
            detail: { counted, why: why ?? null, plan, proven },
          });
        });
      }),

    settleDeployment: ({ result, version, stepsKey }) =>
      failing(async () => {
        const steps = stepsKey === undefined ? [] : result.steps;
        // Before its end, and most of them for the second time: what was to be told by a call that nobody took is told here.
        const told = steps.map((step, index) => stepFact(result, `${stepsKey}/${index + 1}`, step));
        await Promise.all(told.map(({ key, fact }) => tell(key, fact)));
        await keep(`settled/${nameOf(result)}`, {
          kind: 'settled',
          result,
          version,
          at: new Date().toISOString(),
        });
        await sendNotice(await deploymentNotice(store.db, result, version));
      }),

    openRollback: ({ project, environment, requestId, to, by }) =>
      failing(async () => {
        const version = to ?? (await previousVersion(project, environment));
        const { input } = await openDeployment(store.db, {
          project,
          environment,
          version,
          requestedBy: by,
          author: by,
          priority: 'rollback',
          requestedAt: new Date().toISOString(),
          kind: 'rollback',
          request: `rollback:${requestId}`,
          startedBy: 'environment',
        });
        return input satisfies DeploymentInput;
      }),

    recordLive: ({ at, ...word }) =>
      failing(() =>
        keep(`live/${word.project}/${word.environment}/${at}`, { kind: 'live', ...word, at: new Date().toISOString() }),
      ),

    openIncident: ({ deployment, trigger, summary }) =>
      failing(async () => {
        await keep(`incident/${nameOf(deployment)}`, {
          kind: 'incident',
          deployment: refOf(deployment),
          trigger,
          summary,
          at: new Date().toISOString(),
        });
        return incidentId(deployment);
      }),
  };

  /** What a rollback goes to when nobody names a version: what was live before what is live. */
  async function previousVersion(project: string, environment: string): Promise<string> {
    const known = await readEnvironment(store.db, project, environment);
    if (known?.previous !== undefined && known.previous !== null) return known.previous.version;
    throw new ProviderError(
      'ReleaseMissing',
      `${project}/${environment} has no earlier release to go back to; deploy a version by hand.`,
    );
  }
}

function refOf({ project, environment, number }: DeploymentRef): DeploymentRef {
  return { project, environment, number };
}

function nameOf({ project, environment, number }: DeploymentRef): string {
  return `${project}/${environment}/${number}`;
}

/** The same for every attempt at this call, another one for every other call. */
function callId(): string {
  const { activityId, workflowExecution } = Context.current().info;
  return `${workflowExecution?.runId ?? ''}/${activityId}`;
}

async function failing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toFailure(error);
  }
}

/** Whether a proof, whatever it is worth, is of the decision that is to be recorded. */
function isAbout(
  proof: ProvenDecision,
  workflowId: string,
  decision: Omit<Parameters<FactActivities['recordDecision']>[0], 'deployment'>,
): boolean {
  const { by, verdict, plan, comment } = decision;
  return (
    proof.workflowId === workflowId &&
    proof.by === by &&
    proof.verb === verdict &&
    proof.about === plan &&
    proof.comment === comment
  );
}
