import {
  CancellationScope,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { BackupReport, Change } from '../activities/contracts.ts';
import type { DataRollback, DeploymentResult, StepRecord } from '../domain/deployment.ts';
import { type FailureType, describeFailure, failure, failureType, tellFailure } from '../domain/failures.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { sentences } from '../domain/sentences.ts';
import type { Verdict } from '../domain/verdict.ts';
import { namesNumber, readAbort, readRollback } from './inbound.ts';
import { Journal } from './journal.ts';
import {
  abortSignal,
  changeGrantedSignal,
  changingSignal,
  deploymentId,
  environmentId,
  plannedSignal,
  takeBackSignal,
} from './messages.ts';
import { call } from './call.ts';
import { change, read } from './proxies/deployment.ts';
import { isoNow, showPage } from './progress.ts';
import { Saga } from './saga.ts';
import { backUp, registerDataUndo } from './stages/back-up.ts';
import { applyInfrastructure, infrastructureStays, planAll } from './stages/infrastructure.ts';
import { tellStarted, tellUnhealthy } from './stages/notices.ts';
import { freeSlot, patientOf } from './stages/roll-out.ts';
import { type Trigger, cleanUp, undo } from './stages/undo.ts';
import { watchLive, watchStep } from './stages/watch.ts';
import { strategies } from './strategies/index.ts';
import type { Done, Rollout } from './strategies/strategy.ts';
import type { RollOutInput, TurnReport } from './turn.ts';

/** How long the environment may take to say whether the turn is still ours before it is asked again, ms; and how often it is asked. */
const grantMs = 2_000;
const grantRounds = 30;

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

type Stop =
  | { readonly kind: 'abort'; readonly by: string; readonly reason: string; readonly noRollback?: boolean }
  | { readonly kind: 'take-back'; readonly by: string; readonly reason: string };

type Ending =
  | { readonly kind: 'passed'; readonly reason: string; readonly watch?: Verdict }
  | { readonly kind: 'hold'; readonly reason: string; readonly watch?: Verdict }
  | {
      readonly kind: 'bad';
      readonly outcome: 'failed' | 'errored';
      readonly reason: string;
      readonly decidedAt: string;
      readonly watch?: Verdict;
    }
  | { readonly kind: 'stopped'; readonly stop: Stop; readonly at: string }
  | { readonly kind: 'plan-changed'; readonly plan: Plan };

/** Failures that say the release is bad; every other says that something around it is. */
const badRelease: readonly FailureType[] = [
  'ContainerUnhealthy',
  'MigrationFailed',
  'MigrationIncompatible',
  'InfrastructureFailed',
  'ImageNotSigned',
  'AttestationInvalid',
  'ImageVulnerable',
  'GateBlocked',
  'ReleaseDegraded',
  'EnvironmentFileInvalid',
  'DefinitionInvalid',
  'SecretMissing',
];

/** What a probe throws: the release is bad, or nobody knows. */
const probeVerdicts: readonly FailureType[] = ['ReleaseDegraded', 'MetricsUnavailable'];
const automaticIsOff = 'Automatic rollback is off here: roll back, or unlock with what is live.';

class RollOut {
  readonly #input: RollOutInput;
  readonly #journal: Journal;
  readonly #saga = new Saga();
  readonly #done: Done = { started: false, migrated: false, moved: false };
  readonly #work = new CancellationScope({ cancellable: true });
  #step = 0;
  #plan: Plan | undefined;
  #result: DeploymentResult | undefined;
  #live: LiveRelease | null = null;
  #backup: BackupReport | undefined;
  #data: DataRollback | undefined;
  #granted: { readonly go: boolean; readonly reason: string } | undefined;
  #stop: Stop | undefined;
  /** Written down when traffic is on its way, not before. */
  #watched: StepRecord | undefined;
  /** What a probe said that ended the watch; told with it. */
  #unhealthy: string | undefined;
  #leave = false;
  #settling = false;
  /** The infrastructure may have been changed. */
  #applied = false;

  constructor(input: RollOutInput) {
    this.#input = input;
    this.#journal = new Journal(input.deployment, `rollout.${input.ask}`, () => this.#show());
    setHandler(changeGrantedSignal, (word) => {
      if (!namesNumber(word)) return;
      this.#granted ??= { go: word.go, reason: word.reason ?? 'the turn went to another deployment' };
    });
    setHandler(
      abortSignal,
      (raw) => {
        const { by, reason = 'no reason given', noRollback = false } = readAbort(raw);
        if (noRollback) this.#leave = true;
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
    this.#journal.enter('preparing');
    const ending = await this.#goForward();
    if (ending.kind === 'plan-changed') {
      await this.#journal.drained();
      return ending;
    }
    const report = await this.#end(ending);
    if (report.kind === 'result') this.#result = report.result;
    this.#journal.pass('closed', this.#result?.outcome);
    const told = this.#journal.handOver();
    await this.#journal.drained();
    return report.kind === 'result' ? { ...report, ...told, ...this.#newPolicy() } : report;
  }

  async #goForward(): Promise<Ending> {
    try {
      const ending = await this.#work.run(() => this.#forward());
      // A word that came while the last activity was already ending still counts: nothing is settled yet.
      if (this.#stop !== undefined && ending.kind !== 'plan-changed') return this.#stopped(this.#stop);
      return ending;
    } catch (error) {
      if (this.#stop !== undefined) return this.#stopped(this.#stop);
      if (this.#holdsAfter(error)) return { kind: 'hold', reason: sentences(tellFailure(error), automaticIsOff) };
      return {
        kind: 'bad',
        outcome: badRelease.includes(failureType(error)) ? 'failed' : 'errored',
        reason: isCancellation(error) ? 'It was cancelled.' : tellFailure(error),
        decidedAt: isoNow(),
      };
    }
  }

  /** A probe with traffic has the say of a watch: where nothing rolls back by itself, it does not either. */
  #holdsAfter(error: unknown): boolean {
    if (!this.#done.moved || this.#requirePlan().policy.rollback.automatic) return false;
    return probeVerdicts.includes(failureType(error)) && patched('2026-11-26-probes-hold');
  }

  #stopped(stop: Stop): Ending {
    return { kind: 'stopped', stop, at: isoNow() };
  }

  async #forward(): Promise<Ending> {
    const { deployment, planHash } = this.#input;
    const prepared = await this.#prepare();
    if ('kind' in prepared) return prepared;
    const plan = prepared;
    const another = planHash === undefined ? plan.policy.approval.required : plan.hash !== planHash;
    if (another) return { kind: 'plan-changed', plan };
    if (plan.estimate.problems.length > 0) {
      return this.#bad('errored', `It does not fit: ${sentences(...plan.estimate.problems)}`);
    }
    const run = this.#context(plan);
    tellStarted(this.#journal, this.#input.deployment, plan);
    this.#backup = await backUp(run);
    const refused = await this.#askToChange();
    if (refused !== undefined) return this.#bad('errored', sentences(`Nothing was changed: ${refused}`));
    await applyInfrastructure(run, () => (this.#applied = true));
    registerDataUndo(run, (data) => (this.#data = data));
    await strategies[plan.identity.strategy.kind].rollOut(run);
    const began = isoNow();
    const watched = await watchLive(run);
    if (watched !== undefined) this.#watched = watchStep(watched, began);
    this.#unhealthy = watched?.badProbe;
    if (watched === undefined) return { kind: 'passed', reason: `${deployment.version} is live.` };
    return this.#judge(watched.verdict, watched.reason, watched.decidedAt);
  }

  async #prepare(): Promise<Plan | Ending> {
    const { deployment, planHash } = this.#input;
    const { project, environment, number, version } = deployment;
    if (planHash === undefined) return await this.#prepareFirst();
    const [plan, facts] = await Promise.all([
      planAll(deployment, `plans ${version} again`, this.#journal),
      call(read.readEnvironment, 'reads what is live', { project, environment, number }),
    ]);
    this.#plan = plan;
    this.#live = facts.live;
    return plan;
  }

  /** As `#prepare`, where this is the first plan: it says itself what serves, and where there is none, that is as a deployment says it. */
  async #prepareFirst(): Promise<Plan | Ending> {
    const { deployment } = this.#input;
    const { project, environment, number, version } = deployment;
    try {
      const plan = await planAll(deployment, `plans ${version}`, this.#journal);
      this.#plan = plan;
      this.#tellPlan(plan);
      const ref = { project, environment, number };
      this.#live =
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
    const { deployment } = this.#input;
    const handle = getExternalWorkflowHandle(deploymentId(deployment));
    this.#journal.background(handle.signal(plannedSignal, { number: deployment.number, plan }));
  }

  /** Asks the environment, whose turn it is; one that was ended and begun anew may know nothing of this roll-out, or not yet. */
  async #askToChange(): Promise<string | undefined> {
    const { project, environment, number } = this.#input.deployment;
    const handle = getExternalWorkflowHandle(environmentId(project, environment));
    const from = workflowInfo().workflowId;
    for (let round = 1; this.#granted === undefined && round <= grantRounds; round += 1) {
      try {
        await handle.signal(changingSignal, { number, from });
      } catch {
        return 'the workflow of the environment does not run';
      }
      await condition(() => this.#granted !== undefined, grantMs, { summary: 'asks whether the turn is still ours' });
    }
    if (this.#granted === undefined) return 'the environment did not answer';
    return this.#granted.go ? undefined : this.#granted.reason;
  }

  #judge(verdict: Verdict, reason: string, decidedAt: string): Ending {
    const { watch, rollback } = this.#requirePlan().policy;
    switch (verdict) {
      case 'passed':
        return { kind: 'passed', reason: sentences(reason), watch: verdict };
      case 'inconclusive':
        return watch.onInconclusive === 'succeed'
          ? { kind: 'passed', reason: sentences(reason, 'The watch had nothing to judge by.'), watch: verdict }
          : {
              kind: 'hold',
              reason: sentences(reason, 'The watch had nothing to judge by: roll back, or unlock with what is live.'),
              watch: verdict,
            };
      case 'errored':
        return {
          kind: 'hold',
          reason: sentences(reason, 'Whether it is well is not known: roll back, or unlock with what is live.'),
          watch: verdict,
        };
      case 'failed':
        return rollback.automatic
          ? { kind: 'bad', outcome: 'failed', reason, decidedAt, watch: verdict }
          : {
              kind: 'hold',
              reason: sentences(reason, automaticIsOff),
              watch: verdict,
            };
    }
  }

  #bad(outcome: 'failed' | 'errored', reason: string): Ending {
    return { kind: 'bad', outcome, reason, decidedAt: isoNow() };
  }

  async #end(ending: Exclude<Ending, { kind: 'plan-changed' }>): Promise<TurnReport> {
    this.#settling = true;
    switch (ending.kind) {
      case 'passed':
        return await this.#succeed(ending);
      case 'hold':
        return this.#report('held', ending.reason, {
          live: this.#newLive(),
          previous: this.#live,
          ...(ending.watch === undefined ? {} : { watch: ending.watch }),
          hold: ending.reason,
        });
      case 'bad':
        return this.#done.started
          ? await this.#takeBack(ending, { why: ending.reason, decidedAt: ending.decidedAt, manual: false })
          : await this.#unchanged(ending.outcome, ending.reason);
      case 'stopped': {
        const { stop, at } = ending;
        const reason =
          stop.kind === 'abort'
            ? sentences(`${stop.by} aborted it: ${stop.reason}`)
            : sentences(`${stop.by} rolled it back: ${stop.reason}`);
        if (!this.#done.started) return await this.#unchanged('aborted', reason);
        if (stop.kind === 'abort' && stop.noRollback === true) return this.#leftAsItIs(reason);
        return await this.#takeBack(ending, { why: reason, decidedAt: at, manual: true });
      }
    }
  }

  #writeWatch(): void {
    if (this.#watched !== undefined) this.#journal.add(this.#watched);
    this.#watched = undefined;
    if (this.#unhealthy !== undefined) {
      tellUnhealthy(this.#journal, patientOf(this.#context(this.#requirePlan())), 'watch', this.#unhealthy);
    }
    this.#unhealthy = undefined;
  }

  async #succeed(ending: Extract<Ending, { kind: 'passed' }>): Promise<TurnReport> {
    this.#writeWatch();
    this.#journal.enter('settling');
    const { version } = this.#input.deployment;
    const run = this.#context(this.#requirePlan());
    const traffic = { ...run.nextChange(), slot: run.slot, backup: null };
    await this.#journal.step(
      'settle',
      () =>
        this.#journal.call(change.ensureTraffic, `${version} alone, without a backup`, traffic).then(
          () => undefined,
          // The release serves and was watched; a backup entry too many in the router's file is no reason to call it bad.
          (error: unknown) => describeFailure(error).message,
        ),
      (left) =>
        left === undefined
          ? { verdict: 'passed' }
          : { verdict: 'inconclusive', detail: `still has its backup: ${left}` },
    );
    // One after the other: the fence refuses the earlier number once the later one has begun.
    await cleanUp(run);
    const { watch, reason } = ending;
    return this.#report('succeeded', reason, {
      live: this.#newLive(),
      previous: this.#live,
      ...(watch === undefined ? {} : { watch }),
    });
  }

  /** Ended before the first change. */
  async #unchanged(outcome: Outcome, reason: string): Promise<TurnReport> {
    if (this.#plan !== undefined) await cleanUp(this.#context(this.#plan));
    const stays = this.#applied ? sentences(reason, infrastructureStays) : reason;
    return this.#report(outcome, stays, { live: this.#live, previous: null, untouched: true });
  }

  #leftAsItIs(reason: string): TurnReport {
    const hold = sentences(reason, 'What was half done stays as it is: say what is live with `unlock`, or roll back.');
    const live = this.#done.moved ? this.#newLive() : this.#live;
    return this.#report('held', hold, { live, previous: this.#done.moved ? this.#live : null, hold });
  }

  async #takeBack(ending: Extract<Ending, { kind: 'bad' | 'stopped' }>, trigger: Trigger): Promise<TurnReport> {
    const plan = this.#requirePlan();
    const run = this.#context(plan);
    const watch = ending.kind === 'bad' && ending.watch !== undefined ? { watch: ending.watch } : {};
    const closed = strategies[plan.identity.strategy.kind].pointOfNoReturn(run);
    if (closed !== undefined) {
      const hold = sentences(
        trigger.why,
        `It stays as it is, for ${closed}`,
        'Decide with `rollback`, or `unlock` with what is live.',
      );
      const live = this.#done.moved ? this.#newLive() : this.#live;
      return this.#report('held', hold, { live, previous: this.#live, hold, ...watch });
    }
    const undoing = undo(run, trigger, () => this.#data);
    this.#writeWatch();
    const result = await undoing;
    this.#data = result.data;
    const { outcome, reason } = this.#judgeUndo(ending, trigger, result.complete);
    const hold = ['rollback-failed', 'rollback-unavailable', 'held'].includes(outcome) ? reason : undefined;
    return this.#report(outcome, reason, {
      live: this.#live,
      previous: null,
      rollback: result.report,
      ...(hold === undefined ? {} : { hold, ...this.#unfinishedData(result.complete) }),
      ...watch,
    });
  }

  #judgeUndo(
    ending: Extract<Ending, { kind: 'bad' | 'stopped' }>,
    trigger: Trigger,
    complete: boolean,
  ): { readonly outcome: Outcome; readonly reason: string } {
    const { why } = trigger;
    if (!complete) {
      return {
        outcome: 'rollback-failed',
        reason: sentences(
          why,
          'Not everything could be taken back: the report says what. Then `retry`, `reconcile` or `unlock`.',
        ),
      };
    }
    if (this.#data?.action === 'held') {
      return { outcome: 'held', reason: sentences(why, `The data waits for a person's word: ${this.#data.detail}`) };
    }
    if (ending.kind === 'stopped' && ending.stop.kind === 'abort')
      return { outcome: 'aborted', reason: sentences(why) };
    if (this.#done.moved) {
      return this.#live === null
        ? {
            outcome: 'rollback-unavailable',
            reason: sentences(
              why,
              'It was the first release, so there is none to go back to: it is stopped, and nothing serves.',
            ),
          }
        : { outcome: 'rolled-back', reason: sentences(why, `${this.#live.version} serves again.`) };
    }
    return { outcome: ending.kind === 'bad' ? ending.outcome : 'aborted', reason: sentences(why) };
  }

  #unfinishedData(complete: boolean): { data?: { to: string; backup: BackupReport; migrated: boolean } } {
    const touched = this.#done.migrated || this.#done.moved;
    const owed = this.#data?.action === 'held' || this.#data?.unexported !== undefined;
    const open = owed || (!complete && touched && this.#data === undefined);
    if (!open || this.#backup?.blob === undefined || this.#live === null) return {};
    return { data: { to: this.#live.version, backup: this.#backup, migrated: this.#done.migrated } };
  }

  #report(
    outcome: Outcome,
    reason: string,
    rest: {
      readonly live: LiveRelease | null;
      readonly previous: LiveRelease | null;
      readonly hold?: string;
      readonly watch?: Verdict;
      readonly rollback?: DeploymentResult['rollback'];
      readonly data?: { to: string; backup: BackupReport; migrated: boolean };
      /** The environment keeps what it knew. */
      readonly untouched?: boolean;
    },
  ): TurnReport {
    this.#writeWatch();
    const { project, environment, number } = this.#input.deployment;
    const { live, previous, hold, watch, rollback, data, untouched } = rest;
    const result: DeploymentResult = {
      project,
      environment,
      number,
      outcome,
      reason,
      ...(live === null ? {} : { live }),
      steps: this.#journal.steps,
      ...(rollback === undefined ? {} : { rollback }),
      ...(watch === undefined ? {} : { watch }),
    };
    return {
      kind: 'result',
      result,
      live,
      previous,
      ...(untouched === true ? { untouched } : {}),
      ...(hold === undefined ? {} : { hold }),
      ...(data === undefined ? {} : { data }),
    };
  }

  /** Where the environment gave the turn without a plan. */
  #newPolicy(): { readonly policy?: Plan['policy'] } {
    if (this.#input.planHash !== undefined || this.#plan === undefined) return {};
    return { policy: this.#plan.policy };
  }

  #newLive(): LiveRelease {
    const { release } = this.#requirePlan().identity;
    return { ...release, slot: freeSlot(this.#live), deployment: this.#input.deployment.number, since: isoNow() };
  }

  #context(plan: Plan): Rollout {
    const backup = (): BackupReport | undefined => this.#backup;
    return {
      deployment: this.#input.deployment,
      plan,
      live: this.#live,
      slot: freeSlot(this.#live),
      saga: this.#saga,
      journal: this.#journal,
      get backup() {
        return backup();
      },
      done: this.#done,
      nextChange: (back = false) => this.#nextChange(back),
      givenUp: () => this.#leave,
    };
  }

  #nextChange(back: boolean): Change {
    const { deployment, turn } = this.#input;
    const { project, environment, number } = deployment;
    this.#step += 1;
    return { project, environment, number, turn, step: this.#step, ...(back ? { back } : {}) };
  }

  #requirePlan(): Plan {
    if (this.#plan === undefined) throw failure('Internal', 'There is no plan yet.');
    return this.#plan;
  }

  #show(): void {
    const { deployment, planHash: hash = this.#plan?.hash } = this.#input;
    showPage(
      `${deployment.version} → ${deployment.environment} · ${this.#result?.outcome ?? this.#journal.phase}`,
      [
        `deployment ${deployment.number} of ${deployment.project}, plan ${hash === undefined ? 'being made' : `\`${hash.slice(0, 8)}\``}`,
        this.#live === null ? undefined : `before: ${this.#live.version} in ${this.#live.slot}`,
        this.#result?.reason,
      ],
      this.#journal.steps,
    );
  }
}
