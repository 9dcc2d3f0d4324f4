import {
  CancellationScope,
  allHandlersFinished,
  condition,
  isCancellation,
  patched,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { DeploymentInput, DeploymentRef, DeploymentResult } from '../domain/deployment.ts';
import { describeFailure, failure, tellFailure } from '../domain/failures.ts';
import type { Plan } from '../domain/plan.ts';
import { sentences } from '../domain/sentences.ts';
import { bringHotfixBack } from './bring-hotfix-back.ts';
import { call } from './call.ts';
import { DeploymentApproval } from './deployment-approval.ts';
import { DeploymentCore } from './deployment-core.ts';
import { DeploymentTurn } from './deployment-turn.ts';
import { readAbort, readClosed } from './inbound.ts';
import { type AbortMessage, abortSignal, abortUpdate, deploymentId, deploymentQuery } from './messages.ts';
import { attributesOf } from './progress.ts';
import { discarding } from './proxies/deployment.ts';
import { following, record } from './proxies/record.ts';
import { telling } from './proxies/word.ts';
import { planAll } from './stages/infrastructure.ts';
import { startMergeBack } from './stages/start-merge-back.ts';

/** A plan that keeps changing is asked about this often; then something in it is not stable, and nobody can approve it. */
const maxAsks = 20;
/** The deployment before it in its route is started by the same run at the same moment, or by its sweeper, ms. Judgement. */
const startsWithinMs = 60_000;

/**
 * One release going to one environment: what people talk to. Plans, waits for approval, asks the environment for the turn and waits for the
 * outcome. Any number may wait at once.
 *
 * @returns how it ended; a rejection, an expiry or a failed release is a result, not a failure of this workflow.
 */
export async function deployRelease(input: DeploymentInput): Promise<DeploymentResult> {
  const { cancelRequested } = CancellationScope.current();
  const deployment = new Deployment(input);
  cancelRequested.catch(() => deployment.abort({ by: 'Temporal', reason: 'cancelled there' }));
  return await CancellationScope.nonCancellable(() => deployment.run());
}

/** The order of a deployment. Asking people is `deployment-approval.ts`, talking about the turn `deployment-turn.ts`. */
class Deployment {
  readonly #core: DeploymentCore;
  readonly #turn: DeploymentTurn;
  readonly #approval: DeploymentApproval;
  /** A plan was begun, of which something may be kept even though it never came to be one. */
  #planned = false;

  constructor(input: DeploymentInput) {
    this.#core = new DeploymentCore(input);
    setHandler(deploymentQuery, () => this.#core.view(), { description: 'Plan, approval and outcome' });
    this.#turn = new DeploymentTurn(this.#core);
    this.#approval = new DeploymentApproval(this.#core);
    setHandler(abortSignal, (raw) => this.abort(readAbort(raw)), {
      description: 'Stops it; what was changed is undone: {"by": "…", "reason": "…", "noRollback": false}',
    });
    setHandler(
      abortUpdate,
      (raw) => {
        this.abort(readAbort(raw));
        return { accepted: true } as const;
      },
      {
        validator: (raw: AbortMessage) => {
          const { result } = this.#core;
          if (result === undefined) return;
          throw failure('TooLate', `${readAbort(raw).by} is too late: it has ended ${result.outcome}.`);
        },
      },
    );
  }

  abort(abort: AbortMessage): void {
    this.#core.abort(abort);
  }

  async run(): Promise<DeploymentResult> {
    const { journal, input, forge } = this.#core;
    const { project, environment, version } = input;
    upsertSearchAttributes(attributesOf({ project, environment, phase: 'planning', version }));
    if (!this.#takesTurnFirst) journal.enter('planning', 'reads what would change');
    const result = await this.#decide();
    this.#core.result = result;
    const settled = { result, version, ...this.#stepsKey(result) };
    await journal.call(record.settleDeployment, `${result.outcome}: ${result.reason}`, settled);
    const { plan } = this.#core;
    if (plan?.mergesBack === true) await this.#mergeBack(result);
    const published = plan?.releases === true ? this.#publish(result, plan) : undefined;
    journal.pass('closed', result.outcome);
    await Promise.all([published, this.#discardPlans(), forge.drained()]);
    await journal.drained();
    await condition(() => allHandlersFinished() && this.#approval.recorded);
    return result;
  }

  /** Of whom the steps of the result are: this workflow, or whoever had the turn. */
  #stepsKey(result: DeploymentResult): { readonly stepsKey?: string } {
    const own = this.#core.journal.handOver();
    const { settled } = this.#turn;
    if (settled?.kind !== 'result' || settled.result !== result) return own;
    const { stepsKey } = settled;
    return stepsKey === undefined ? {} : { stepsKey };
  }

  async #decide(): Promise<DeploymentResult> {
    const core = this.#core;
    const { after } = core.input;
    const early = after === undefined ? undefined : await this.#awaitTheOneBefore(after);
    if (early !== undefined) return early;
    core.ask = 1;
    const first = this.#takesTurnFirst ? await this.#turn.takeFirst() : undefined;
    if (first !== undefined && 'outcome' in first) return first;
    let plan = first;
    for (core.ask = first === undefined ? 1 : 2; core.ask <= maxAsks; core.ask += 1) {
      const planned: Plan | DeploymentResult = plan ?? (await this.#makePlan());
      if ('outcome' in planned) return planned;
      const next = await this.#tryPlan(planned);
      if ('outcome' in next) return next;
      plan = next;
    }
    return core.end(
      'errored',
      `The plan changed ${maxAsks} times in a row: something in it is not stable. Look at the two last plans.`,
    );
  }

  /** A hotfix that is live is asked back into the branches it did not come from; whoever comes after it in the route waits for none of it. */
  async #mergeBack({ outcome, project, environment, number }: DeploymentResult): Promise<void> {
    const { runKey, version } = this.#core.input;
    if (outcome !== 'succeeded' || runKey === undefined) return;
    const input = { deployment: { project, environment, number }, version, runKey };
    if (patched('2026-11-27-merge-back-told')) await startMergeBack(bringHotfixBack, input);
    else await call(telling.mergeBack, 'asks the hotfix back into its branches', input).catch(() => undefined);
  }

  /** Saved plans hold secrets: none outlives its deployment. What cannot be removed now is removed by retention. */
  async #discardPlans(): Promise<void> {
    const { plan, input } = this.#core;
    const may = plan === undefined ? this.#planned : plan.infrastructure !== undefined;
    if (!may || !patched('2026-11-26-plans-discarded')) return;
    const { project, environment, number } = input;
    const ref = { project, environment, number };
    await call(discarding.ensurePlansDiscarded, 'removes its saved plans', ref).catch(() => undefined);
  }

  /** What is live in production is a release at the forge too. */
  async #publish({ outcome, project, environment, number }: DeploymentResult, plan: Plan): Promise<void> {
    const { runKey, version } = this.#core.input;
    if (outcome !== 'succeeded') return;
    const deployment = { project, environment, number };
    const input = { deployment, version, plan: plan.hash, ...(runKey === undefined ? {} : { runKey }) };
    await call(telling.publishRelease, 'makes the release at the forge', input).catch(() => undefined);
  }

  /** @returns the result when it ends here, because the environment before it in its route has not succeeded. */
  async #awaitTheOneBefore(after: DeploymentRef): Promise<DeploymentResult | undefined> {
    const name = `${after.environment} #${after.number}`;
    this.#core.journal.enter('queued', `for ${name}`);
    try {
      const input = { workflowId: deploymentId(after), startsWithinMs };
      const closed = await this.#core.work.run(() => call(following.awaitTurnClosed, `waits for ${name}`, input));
      const { outcome, reason } = readClosed(closed);
      if (outcome === 'succeeded') {
        this.#core.journal.enter('planning', 'reads what would change');
        return undefined;
      }
      return this.#core.end(
        'aborted',
        `${name} ended ${outcome ?? 'without a result'}, so nothing goes further: ${reason}`,
      );
    } catch (error) {
      if (this.#core.stop !== undefined) return this.#core.aborted(this.#core.stop);
      return this.#core.end('errored', `How ${name} ended could not be found out: ${tellFailure(error)}`);
    }
  }

  /** Who waits for nobody has no use for a plan before the turn: it would be made again with the turn in hand. */
  get #takesTurnFirst(): boolean {
    return this.#core.input.waitsForNobody === true && patched('2026-11-26-turn-first');
  }

  /** @returns the result, or the plan that has to be approved instead. */
  async #tryPlan(plan: Plan): Promise<DeploymentResult | Plan> {
    this.#core.plan = plan;
    if (plan.estimate.problems.length > 0)
      return this.#core.end('errored', `It does not fit: ${sentences(...plan.estimate.problems)}`);
    this.#turn.forget(!this.#takesTurnFirst);
    this.#turn.countFromNow();
    if (this.#turn.settled !== undefined) return this.#turn.read(this.#turn.settled);
    if (this.#core.holds) return await this.#approveWithTurn();
    const refused = await this.#approval.askPeople(plan);
    if (refused !== undefined) return refused;
    this.#turn.countFromNow();
    return await this.#takeTurn();
  }

  async #makePlan(): Promise<Plan | DeploymentResult> {
    this.#planned = true;
    try {
      return await this.#core.work.run(() =>
        planAll(this.#core.input, `plans ${this.#core.input.version}`, this.#core.journal),
      );
    } catch (error) {
      if (this.#core.stop !== undefined) return this.#core.aborted(this.#core.stop);
      const { status } = describeFailure(error);
      const reason = isCancellation(error) ? 'It was cancelled.' : `There is no plan: ${tellFailure(error)}`;
      return this.#core.end(status === 422 ? 'failed' : 'errored', reason);
    }
  }

  async #takeTurn(): Promise<DeploymentResult | Plan> {
    const core = this.#core;
    if (core.stop !== undefined) return core.aborted(core.stop);
    core.journal.enter('queued');
    await this.#turn.request(true);
    return await this.#turn.awaitOutcome();
  }

  /** `turn: hold`: first the turn, then a plan of what is live by then, then people. */
  async #approveWithTurn(): Promise<DeploymentResult | Plan> {
    const core = this.#core;
    core.journal.enter('queued', 'for the turn, to be decided on with it in hand');
    await this.#turn.request(false);
    const early = await this.#turn.awaitEnvironment(() => core.granted, false);
    if (early !== undefined) return early;
    const planned = await this.#makePlan();
    if (!('outcome' in planned)) core.plan = planned;
    const refused = 'outcome' in planned ? planned : await this.#approval.askPeople(planned);
    const told = await this.#turn.proceed(refused === undefined);
    if (refused !== undefined) return refused;
    core.journal.enter('rolling-out');
    if (!told) await this.#turn.request(true);
    return await this.#turn.awaitOutcome();
  }
}
