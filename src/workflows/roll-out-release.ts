import {
  CancellationScope,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  setHandler,
} from '@temporalio/workflow';
import { describeFailure, tellFailure } from '../domain/failures.ts';
import type { Plan } from '../domain/plan.ts';
import {
  type Ending,
  type Stop,
  automaticIsOff,
  blameFor,
  endingOfWatch,
  isWordOfProbe,
} from '../domain/roll-out-ending.ts';
import { sentences } from '../domain/sentences.ts';
import { call } from './call.ts';
import { readAbort, readRollback } from './inbound.ts';
import { abortSignal, deploymentId, plannedSignal, takeBackSignal } from './messages.ts';
import { isoNow } from './progress.ts';
import { read } from './proxies/deployment.ts';
import { RollOutCore } from './roll-out-core.ts';
import { settleRollOut } from './roll-out-settlement.ts';
import { backUp, registerDataUndo } from './stages/back-up.ts';
import { Grant } from './stages/grant.ts';
import { applyInfrastructure, planAll } from './stages/infrastructure.ts';
import { tellStarted } from './stages/notices.ts';
import { watchLive, watchStep } from './stages/watch.ts';
import { strategies } from './strategies/index.ts';
import type { RollOutInput, TurnReport } from './turn.ts';

/**
 * The exclusive part of a deployment: everything that changes the environment, the watch, and the undoing.
 *
 * A child of `environment`, which never runs two at once. Ends with a report in every case but its own termination.
 */
export async function rollOutRelease(input: RollOutInput): Promise<TurnReport> {
  const { cancelRequested } = CancellationScope.current();
  const rollOut = new RollOut(input);
  cancelRequested.catch(() => rollOut.stop({ kind: 'abort', by: 'Temporal', reason: 'cancelled there' }));
  return await CancellationScope.nonCancellable(() => rollOut.run());
}

interface PlanChanged {
  readonly kind: 'plan-changed';
  readonly plan: Plan;
}

/** The way forward, and the words that end it. What follows is `roll-out-settlement.ts`. */
class RollOut {
  readonly #core: RollOutCore;
  readonly #grant: Grant;
  /** The environment's word, where it is asked for already. */
  #asked: Promise<string | undefined> | undefined;
  readonly #work = new CancellationScope({ cancellable: true });
  #stop: Stop | undefined;
  #settling = false;

  constructor(input: RollOutInput) {
    this.#core = new RollOutCore(input);
    this.#grant = new Grant();
    setHandler(
      abortSignal,
      (raw) => {
        const { by, reason = 'no reason given', noRollback = false } = readAbort(raw);
        if (noRollback) this.#core.givenUp = true;
        this.stop({ kind: 'abort', by, reason, noRollback });
      },
      {
        description:
          'Stops it: before the first change at once, later by undoing. {"by": "…", "reason": "…", "noRollback": false}',
      },
    );
    setHandler(
      takeBackSignal,
      (raw) => {
        const message = readRollback(raw);
        if (message.ok) this.stop({ kind: 'take-back', by: message.value.by, reason: message.value.reason });
      },
      { description: 'Takes back what has been changed. Send `rollback` to the environment instead.' },
    );
  }

  /** The first word counts; once the release is being settled none does. */
  stop(stop: Stop): void {
    if (this.#stop !== undefined || this.#settling) return;
    this.#stop = stop;
    this.#work.cancel();
  }

  async run(): Promise<TurnReport> {
    const { journal } = this.#core;
    journal.enter('preparing');
    const ending = await this.#goForward();
    if (ending.kind === 'plan-changed') {
      await journal.drained();
      return ending;
    }
    this.#settling = true;
    const report = await settleRollOut(this.#core, ending);
    if (report.kind === 'result') this.#core.result = report.result;
    journal.pass('closed', this.#core.result?.outcome);
    const told = journal.handOver();
    await journal.drained();
    return report.kind === 'result' ? { ...report, ...told, ...this.#newPolicy() } : report;
  }

  async #goForward(): Promise<Ending | PlanChanged> {
    try {
      const ending = await this.#work.run(() => this.#forward());
      // A word that came while the last activity was already ending still counts: nothing is settled yet.
      if (this.#stop !== undefined && ending.kind !== 'plan-changed') return this.#stopped(this.#stop);
      return ending;
    } catch (error) {
      if (this.#stop !== undefined) return this.#stopped(this.#stop);
      if (this.#holdsAfter(error)) return { kind: 'hold', reason: sentences(tellFailure(error), automaticIsOff) };
      return this.#bad(blameFor(error), isCancellation(error) ? 'It was cancelled.' : tellFailure(error));
    }
  }

  /** A probe with traffic has the say of a watch: where nothing rolls back by itself, it does not either. */
  #holdsAfter(error: unknown): boolean {
    if (!this.#core.done.moved || this.#core.requirePlan().policy.rollback.automatic) return false;
    return isWordOfProbe(error) && patched('2026-11-26-probes-hold');
  }

  #stopped(stop: Stop): Ending {
    return { kind: 'stopped', stop, at: isoNow() };
  }

  #bad(outcome: 'failed' | 'errored', reason: string): Ending {
    return { kind: 'bad', outcome, reason, decidedAt: isoNow() };
  }

  async #forward(): Promise<Ending | PlanChanged> {
    const core = this.#core;
    const { deployment, planHash } = core.input;
    const prepared = await this.#prepare();
    if ('kind' in prepared) return prepared;
    const plan = prepared;
    const another = planHash === undefined ? plan.policy.approval.required : plan.hash !== planHash;
    if (another) return { kind: 'plan-changed', plan };
    if (plan.estimate.problems.length > 0) {
      return this.#bad('errored', `It does not fit: ${sentences(...plan.estimate.problems)}`);
    }
    const run = core.context(plan);
    tellStarted(core.journal, deployment, plan);
    core.backup = await backUp(run);
    const refused = await (this.#asked ?? this.#grant.ask(deployment));
    if (refused !== undefined) return this.#bad('errored', sentences(`Nothing was changed: ${refused}`));
    await applyInfrastructure(run, () => (core.applied = true));
    registerDataUndo(run, (data) => (core.data = data));
    await strategies[plan.identity.strategy.kind].rollOut(run);
    const began = isoNow();
    const watched = await watchLive(run);
    if (watched !== undefined) core.watched = watchStep(watched, began);
    core.unhealthy = watched?.badProbe;
    if (watched === undefined) return { kind: 'passed', reason: `${deployment.version} is live.` };
    return endingOfWatch(plan.policy, watched.verdict, watched.reason, watched.decidedAt);
  }

  async #prepare(): Promise<Plan | Ending> {
    const { deployment, planHash } = this.#core.input;
    const { project, environment, number, version } = deployment;
    if (planHash === undefined) return await this.#prepareFirst();
    const [plan, facts] = await Promise.all([
      planAll(deployment, `plans ${version} again`, this.#core.journal),
      call(read.readEnvironment, 'reads what is live', { project, environment, number }),
    ]);
    this.#core.plan = plan;
    this.#core.live = facts.live;
    return plan;
  }

  /** As `#prepare`, where this is the first plan: it says itself what serves, and where there is none, that is as a deployment says it. */
  async #prepareFirst(): Promise<Plan | Ending> {
    const { deployment } = this.#core.input;
    const { project, environment, number, version } = deployment;
    try {
      const plan = await planAll(deployment, `plans ${version}`, this.#core.journal);
      this.#core.plan = plan;
      if (isNextToChange(plan) && patched('2026-11-26-asks-first')) this.#asked = this.#grant.ask(deployment);
      this.#tellPlan(plan);
      const ref = { project, environment, number };
      this.#core.live =
        plan.serving === undefined ? (await call(read.readEnvironment, 'reads what is live', ref)).live : plan.serving;
      return plan;
    } catch (error) {
      if (isCancellation(error)) throw error;
      const { status } = describeFailure(error);
      return this.#bad(status === 422 ? 'failed' : 'errored', `There is no plan: ${tellFailure(error)}`);
    }
  }

  /** Who has the turn without a plan hears of it here; before the outcome, for the end of the roll-out waits for it. */
  #tellPlan(plan: Plan): void {
    const { deployment } = this.#core.input;
    const handle = getExternalWorkflowHandle(deploymentId(deployment));
    this.#core.journal.background(handle.signal(plannedSignal, { number: deployment.number, plan }));
  }

  /** Where the environment gave the turn without a plan. */
  #newPolicy(): { readonly policy?: Plan['policy'] } {
    const { input, plan } = this.#core;
    if (input.planHash !== undefined || plan === undefined) return {};
    return { policy: plan.policy };
  }
}

/** Nothing stands between the plan and the first change: what everybody else is told need not be before the question that is waited for. */
function isNextToChange({ policy, estimate, serving }: Plan): boolean {
  const { database, configuration } = policy.backup;
  return (
    !policy.approval.required && estimate.problems.length === 0 && serving !== undefined && !database && !configuration
  );
}
