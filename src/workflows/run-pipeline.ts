import {
  CancellationScope,
  ContinueAsNew,
  allHandlersFinished,
  condition,
  continueAsNew,
  patched,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { DeploymentInput } from '../domain/deployment.ts';
import { failure, tellFailure } from '../domain/failures.ts';
import type { Anew, RunInput, RunPlan, RunRef, StagePlan, StageReport } from '../domain/run.ts';
import { type RunEnding, outcomeOfFailure, succeededReason } from '../domain/run-ending.ts';
import { supersededSentence } from '../domain/run-turn.ts';
import { sentences } from '../domain/sentences.ts';
import { call } from './call.ts';
import { deployRelease } from './deploy-release.ts';
import { ForgeTeller, isTaken } from './forge-teller.ts';
import { readAbort, readSupersede } from './inbound.ts';
import {
  type AbortMessage,
  type RunView,
  abortRunSignal,
  abortRunUpdate,
  runQuery,
  supersedeSignal,
  turnFreedSignal,
} from './messages.ts';
import { attributesOf, enterPhase, took } from './progress.ts';
import { note, record } from './proxies/record.ts';
import { long, tidy } from './proxies/run.ts';
import { showing } from './proxies/word.ts';
import { Check } from './stages/check.ts';
import { ForkAllowance } from './stages/fork-allowance.ts';
import { isMachineGone, isUntaken, onMachine, tellLost, untaken } from './stages/machine.ts';
import { Products } from './stages/products.ts';
import { showRun } from './stages/run-page.ts';
import { RunTurn } from './stages/run-turn.ts';
import { startDeployment } from './stages/start-deployment.ts';
import { Starts } from './stages/start-run.ts';

/** How often a run begins anew because its machine is gone. */
const maxCheckouts = 3;

/**
 * CI of one event: checkout, stages, images; then one deployment for each environment of its route.
 *
 * Does not wait for the deployments. A run of one stage without images has three activities in a row and nothing beside them.
 *
 * @param carried - what it remembers of the history before, where the wait for its turn was long.
 * @returns how CI ended; a failed stage is a result, not a failure of this workflow.
 */
export async function runPipeline(input: RunInput, carried?: RunCarried): Promise<RunEnding> {
  const { cancelRequested } = CancellationScope.current();
  const run = new Run(input, carried);
  cancelRequested.catch(() => run.abort({ by: 'Temporal', reason: 'cancelled there' }));
  return await CancellationScope.nonCancellable(() => run.run());
}

/** A run that goes on waiting for its turn in a new history. Plain data; grows by optional fields only. */
export interface RunCarried {
  /** Since when it waits, ISO 8601. */
  readonly since?: string;
  readonly allowed?: RunView['allowed'];
  readonly toTell?: RunRef;
  /** Begins a new history behind so many events as well. Default: when Temporal suggests it. */
  readonly maxHistoryEvents?: number;
}

class Run {
  readonly #input: RunInput;
  readonly #work = new CancellationScope({ cancellable: true });
  readonly #forge: ForgeTeller;
  #plan: RunPlan | undefined;
  #phase: RunView['phase'] = 'preparing';
  #stages: readonly StageReport[] = [];
  #check: Check | undefined;
  readonly #starts: Starts;
  readonly #word: ForkAllowance;
  readonly #products = new Products((phase) => this.#enter(phase));
  #deployments: readonly DeploymentInput[] = [];
  readonly #turn: RunTurn;
  readonly #carried: RunCarried;
  /** Its project is known to tell its forge nothing. */
  #isQuiet = false;
  /** It is to end so, whatever it is at. */
  #stop: RunEnding | undefined;

  constructor(input: RunInput, carried: RunCarried = {}) {
    this.#input = input;
    this.#carried = carried;
    this.#turn = new RunTurn({
      ...carried,
      onWait: (sentence) => this.#wait(sentence),
      letGo: () => this.#releaseWorkspace(),
      goOnAnew: (since) => this.#goOnAnew(since),
    });
    this.#forge = new ForgeTeller(input.event);
    this.#starts = new Starts({ by: input, workflow: runPipeline, onStart: () => this.#show() });
    setHandler(runQuery, () => this.#view(), { description: 'Stages, images and deployments of this run' });
    this.#word = new ForkAllowance({
      event: input.event,
      forge: this.#forge,
      allowed: carried.allowed,
      toTell: carried.toTell,
      waits: () => this.#stop === undefined && ['preparing', 'awaiting-word'].includes(this.#phase),
      onAllow: () => this.#show(),
      enter: () => this.#enter('awaiting-word'),
    });
    setHandler(turnFreedSignal, () => this.#turn.free(), { description: 'Looks whether its turn has come' });
    setHandler(supersedeSignal, (raw) => this.#supersede(readSupersede(raw)), {
      description: 'A newer run of the ref takes its place: {"by": 43}',
    });
    setHandler(abortRunSignal, (raw) => this.abort(readAbort(raw)), {
      description: 'Stops it: {"by": "…", "reason": "…"}',
    });
    setHandler(
      abortRunUpdate,
      (raw) => {
        this.abort(readAbort(raw));
        return { accepted: true } as const;
      },
      {
        validator: (raw: AbortMessage) => {
          if (this.#phase !== 'settling' && this.#phase !== 'closed') return;
          throw failure('TooLate', `${readAbort(raw).by} is too late: the run has ended its work.`);
        },
      },
    );
  }

  abort(abort: AbortMessage): void {
    if (this.#phase === 'settling' || this.#phase === 'closed') return;
    if (this.#stop !== undefined) {
      // Whoever says it twice does not want to wait for the cleaning up either.
      this.#check?.hurry();
      return;
    }
    this.#stop = aborted(abort);
    this.#work.cancel();
  }

  #supersede(by: number | undefined): void {
    if (by === undefined || this.#stop !== undefined || this.#phase === 'settling' || this.#phase === 'closed') return;
    this.#stop = { outcome: 'superseded', reason: supersededSentence(by) };
    this.#work.cancel();
  }

  async run(): Promise<RunEnding> {
    this.#show();
    const ending = await this.#goThrough();
    this.#enter('settling');
    // What a comment shows of reports and gates is in the store with the end of the run, and not before.
    const commentsLater =
      this.#plan?.tellsForge === true &&
      this.#input.event.pullRequest !== undefined &&
      // Of what was not run the store has nothing to show.
      isTaken(this.#plan) &&
      patched('2026-11-26-comment-of-record');
    this.#forge.update(this.#plan, this.#stages, ending, commentsLater ? 'later' : 'now');
    if (this.#plan === undefined && this.#word.toTell !== undefined) {
      this.#forge.updateAlone(this.#word.toTell, 'error', `${ending.outcome}: ${ending.reason}`);
    }
    // Of a run that deploys the checkout goes when its deployments are on their way, for which its end would wake this workflow once more.
    const tidiesLast =
      (this.#plan?.environments.length ?? 0) > 0 && ending.outcome === 'succeeded' && patched('2026-11-26-tidies-last');
    const tidied = tidiesLast ? undefined : this.#releaseWorkspace();
    const { deployments } = await call(record.settleRun, `${ending.outcome}: ${ending.reason}`, {
      run: this.#plan?.run ?? { project: this.#input.project, key: this.#input.key, number: 0 },
      input: this.#input,
      ...(this.#plan === undefined ? {} : { plan: this.#plan }),
      stages: this.#stages,
      images: this.#products.images,
      ...this.#products.published(),
      ...ending,
    });
    this.#deployments = deployments;
    if (commentsLater) this.#forge.comment(this.#stages, ending);
    // What ends so early may be all that there is of the commit: without a word its change looks as if nothing had to be run.
    const isUntold =
      this.#plan === undefined && this.#word.toTell === undefined && !this.#isQuiet && !isByHand(this.#input);
    if (isUntold && patched('2026-11-27-told-without-a-plan')) this.#forge.updateUnplanned(this.#input, ending);
    await Promise.all([
      ...deployments.map((deployment) => startDeployment(deployRelease, deployment)),
      tidied ?? this.#releaseWorkspace(),
      this.#forge.drained(),
      this.#tellFindings(),
    ]);
    this.#enter('closed', ending);
    if (!allHandlersFinished()) await condition(allHandlersFinished);
    return ending;
  }

  async #goThrough(): Promise<RunEnding> {
    try {
      const ending = await this.#work.run(() =>
        this.#input.event.fork === true && this.#carried.since === undefined
          ? this.#onceAllowed()
          : this.#withMachine(),
      );
      return this.#stop ?? ending;
    } catch (error) {
      if (error instanceof ContinueAsNew) throw error;
      if (this.#stop !== undefined) return this.#stop;
      return { outcome: outcomeOfFailure(error), reason: tellFailure(error) };
    }
  }

  /** The code of a fork is anybody's: nothing of it is fetched before somebody who may has looked at this very commit. */
  async #onceAllowed(): Promise<RunEnding> {
    if (!patched('2026-11-26-forks-ask')) return await this.#withMachine();
    const { run, rule, timeoutMs, tellsForge } = await call(
      record.openForkRun,
      'asks what is done with forks',
      this.#input,
    );
    if (tellsForge) this.#word.toTell = run;
    else this.#isQuiet = true;
    if (rule === 'deny') return { outcome: 'rejected', reason: 'The project runs no pull requests from forks.' };
    if (rule === 'ask' && !(await this.#word.given(run, timeoutMs))) {
      return { outcome: 'expired', reason: `Nobody allowed the commit to be run within ${took(timeoutMs)}.` };
    }
    return await this.#withMachine();
  }

  /** Begins anew elsewhere when the machine that has the checkout does not answer any more. */
  async #withMachine(): Promise<RunEnding> {
    let anew: Anew | undefined;
    for (let checkout = 1; ; checkout += 1) {
      try {
        return await this.#forward(anew);
      } catch (error) {
        const hasNoMachine = isUntaken(error);
        if (!hasNoMachine && !isMachineGone(error)) throw error;
        const isTold = patched('2026-11-26-machine-lost');
        if (isTold && hasNoMachine) throw untaken(prepareLimits.scheduleToCloseTimeout, new Date());
        if (!isMachineGone(error) || checkout === maxCheckouts) throw error;
        this.#stages = [];
        if (isTold) anew = await this.#lost(error, checkout + 1);
      }
    }
  }

  /** Tells people, who would see its stages run on for as long as there is no other machine. */
  async #lost(error: unknown, checkout: number): Promise<Anew | undefined> {
    if (this.#plan === undefined) return undefined;
    const { run, workspace } = this.#plan;
    const at = new Date();
    const why = tellLost(error, workspace, at);
    const told = `${why} The run begins anew on the next machine that takes it.`;
    await call(note.recordLostMachine, why, { run, at: at.toISOString(), why: told }).catch(() => undefined);
    return { checkout, why };
  }

  async #prepare(anew?: Anew): Promise<RunPlan> {
    this.#enter('preparing');
    const { ref, after } = this.#input.event;
    const input = anew === undefined ? this.#input : { ...this.#input, anew };
    const plan = await call(long.prepareRun, `checks out ${after.slice(0, 10)} of ${ref}`, input, prepareLimits);
    this.#plan = plan;
    return plan;
  }

  async #forward(anew: Anew | undefined): Promise<RunEnding> {
    let plan = await this.#prepare(anew);
    if (plan.turn !== undefined) {
      const taken = await this.#turn.take(plan, plan.turn);
      if (taken.kind === 'ended') return { outcome: taken.outcome, reason: taken.reason };
      if (!taken.prepared) plan = await this.#prepare(anew);
    }
    return await this.#checkAndBuild(plan);
  }

  async #checkAndBuild(plan: RunPlan): Promise<RunEnding> {
    const { project } = this.#input;
    upsertSearchAttributes(attributesOf({ project, phase: 'checking', version: plan.version }));
    this.#phase = 'checking';
    this.#show();
    this.#forge.update(plan, this.#stages);
    this.#check = new Check({
      plan,
      runStage: (stage) => this.#runStage(plan, stage),
      onReport: (reports) => {
        this.#stages = reports;
        this.#forge.update(plan, reports);
        this.#show();
      },
      isMachineGone,
      whyStopped: () => (this.#stop?.outcome === 'superseded' ? this.#stop.reason : 'The run was aborted.'),
    });
    const ending = await this.#check.run();
    if (ending !== undefined) return ending;
    const products = this.#products;
    await products.buildImages(plan);
    await products.publishPackages(plan);
    await products.pushImages(plan, this.#stages);
    return { outcome: 'succeeded', reason: succeededReason(plan, this.#stages, products.images, products.packages) };
  }

  #wait(sentence: string): void {
    this.#enter('queued');
    if (this.#plan !== undefined) this.#forge.updateWaiting(this.#plan, sentence);
  }

  /** Nothing of it is anywhere but in the rows of the store: the checkout was given back, and no stage has begun. */
  async #goOnAnew(since: string): Promise<never> {
    await this.#forge.drained();
    if (!allHandlersFinished()) await condition(allHandlersFinished);
    return await continueAsNew<typeof runPipeline>(this.#input, {
      ...this.#carried,
      since,
      ...(this.#word.allowed === undefined ? {} : { allowed: this.#word.allowed }),
      ...(this.#word.toTell === undefined ? {} : { toTell: this.#word.toTell }),
    });
  }

  async #runStage(plan: RunPlan, stage: StagePlan): Promise<StageReport> {
    const { timeoutMs, name, steps, starts } = stage;
    if (starts !== undefined) {
      // Nothing of it is on the machine.
      return await this.#starts.run(plan, stage, starts, () => this.#check?.isMachineGone === true);
    }
    return await call(
      long.runStage,
      `${name}: ${steps.join(', ')}`,
      { run: plan.run, plan, stage: name },
      onMachine(plan, timeoutMs),
    );
  }

  async #releaseWorkspace(): Promise<void> {
    if (this.#plan === undefined) return;
    const { run, workspace } = this.#plan;
    const place = { taskQueue: workspace.queue, scheduleToStartTimeout: 10_000 };
    await call(tidy.releaseWorkspace, 'removes the checkout', { run, workspace }, place).catch(() => undefined);
  }

  /** Of every run that was prepared, also one that failed: that is where something was found. Nothing fails for it. */
  async #tellFindings(): Promise<void> {
    const plan = this.#plan;
    if (plan?.tellsFindings !== true || plan.skipped !== undefined) return;
    const { run, definition, commit } = plan;
    const told = { run, definition, commit: commit.sha, ref: this.#input.event.ref };
    await call(showing.tellFindings, 'tells the forge what was found', told).catch(() => undefined);
  }

  /** Always beside an activity that is called or the end, so that the attribute makes an event and no task of its own. */
  #enter(phase: RunView['phase'], ending?: RunEnding): void {
    if (phase !== this.#phase && patched('2026-11-25-run-phase')) enterPhase(phase);
    this.#phase = phase;
    this.#show(ending);
  }

  #view(): RunView {
    return {
      ...(this.#plan === undefined ? {} : { plan: this.#plan }),
      phase: this.#phase,
      ...(this.#turn.place === undefined ? {} : { queue: this.#turn.place }),
      ...(this.#word.allowed === undefined ? {} : { allowed: this.#word.allowed }),
      stages: this.#stages,
      starts: this.#starts.list,
      deployments: this.#deployments.map(({ project, environment, number }) => ({ project, environment, number })),
    };
  }

  #show(ending?: RunEnding): void {
    showRun({
      input: this.#input,
      plan: this.#plan,
      phase: this.#phase,
      place: this.#turn.place,
      allowed: this.#word.allowed,
      stages: this.#stages,
      starts: this.#starts.list,
      images: this.#products.images,
      packages: this.#products.packages,
      deployments: this.#deployments,
      ending,
    });
  }
}

const prepareLimits = { startToCloseTimeout: 600_000, scheduleToCloseTimeout: 1_800_000 } as const;

/** Whoever asked for it has the answer. The commit may be any that they named, and no later run of it would clear what is told there. */
function isByHand({ event, startedBy }: RunInput): boolean {
  return event.kind === 'manual' && startedBy === undefined;
}

function aborted(abort: AbortMessage): RunEnding {
  return { outcome: 'aborted', reason: sentences(`${abort.by} aborted it: ${abort.reason ?? 'no reason given'}`) };
}
