import {
  CancellationScope,
  allHandlersFinished,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import {
  type ApprovalDecision,
  type ApprovalState,
  type Refusal,
  decide,
  expire,
  refuses,
  startApproval,
} from '../domain/approval.ts';
import type { DeploymentInput, DeploymentRef, DeploymentResult } from '../domain/deployment.ts';
import { describeFailure, failure, tellFailure } from '../domain/failures.ts';
import { tellSummary } from '../domain/infrastructure.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import { planDifference } from '../domain/plan-difference.ts';
import { sentences } from '../domain/sentences.ts';
import { DeploymentTeller } from './deployment-teller.ts';
import { accept, isSettled, namesNumber, namesPlan, readAbort, readDecision, unprovenDecision } from './inbound.ts';
import { Journal } from './journal.ts';
import {
  type AbortMessage,
  type DecisionMessage,
  type DeploymentView,
  type TurnSettled,
  abortSignal,
  abortUpdate,
  approveSignal,
  approveUpdate,
  deploymentId,
  deploymentQuery,
  environmentId,
  plannedSignal,
  proceedSignal,
  rejectSignal,
  rejectUpdate,
  rolloutId,
  takeTurnSignal,
  toDecision,
  turnBusySignal,
  turnGrantedSignal,
  turnSettledSignal,
  withdrawTurnSignal,
} from './messages.ts';
import { call, callAnyway } from './call.ts';
import { following, record } from './proxies/record.ts';
import { message, telling } from './proxies/word.ts';
import { planAll } from './stages/infrastructure.ts';
import { approvalLine, attributesOf, isoNow, showPage, took } from './progress.ts';

/** A plan that keeps changing is asked about this often; then something in it is not stable, and nobody can approve it. */
const maxAsks = 20;
/** While it waits it asks again, should the environment have lost its memory: after this, three times this, and then every six times. */
const askAgainMs = 600_000;
/** Who has taken the turn at once hears within this that it is planned, or asks as everybody does, ms. Judgement: fifty times what a plan takes. */
const firstAnswerMs = 20_000;
/** The deployment before it in its route is started by the same run at the same moment, or by its sweeper, ms. Judgement. */
const startsWithinMs = 60_000;
/** A deployment waits for its first notice no longer than this before the approval's clock starts, ms. */
const noticeMs = 10_000;

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

class Deployment {
  readonly #input: DeploymentInput;
  readonly #journal: Journal;
  readonly #work = new CancellationScope({ cancellable: true });
  readonly #forge: DeploymentTeller;
  #plan: Plan | undefined;
  /** The plan that people were asked about last. */
  #asked: Plan | undefined;
  #approval: ApprovalState | undefined;
  #approvalUntil: string | undefined;
  #abort: AbortMessage | undefined;
  #ask = 0;
  /** From when the longest wait for the turn is counted. */
  #askedAt = '';
  #granted = false;
  /** Why the turn could never be asked for: nobody stopped it, its turn did not come. */
  #unasked: string | undefined;
  /** The turn that it wanted at once was not free. */
  #busy = false;
  #settled: TurnSettled | undefined;
  #result: DeploymentResult | undefined;
  #recording = 0;

  constructor(input: DeploymentInput) {
    this.#input = input;
    this.#forge = new DeploymentTeller(input);
    this.#journal = new Journal(input, 'deployment', () => this.#show());
    this.#listen();
  }

  async run(): Promise<DeploymentResult> {
    const { project, environment, version } = this.#input;
    upsertSearchAttributes(attributesOf({ project, environment, phase: 'planning', version }));
    if (!this.#takesTurnFirst) this.#journal.enter('planning', 'reads what would change');
    const result = await this.#decide();
    this.#result = result;
    const settled = { result, version, ...this.#stepsKey(result) };
    await this.#journal.call(record.settleDeployment, `${result.outcome}: ${result.reason}`, settled);
    if (this.#plan?.mergesBack === true) await this.#mergeBack(result);
    const published = this.#plan?.releases === true ? this.#publish(result, this.#plan) : undefined;
    this.#journal.pass('closed', result.outcome);
    await Promise.all([published, this.#forge.drained()]);
    await this.#journal.drained();
    await condition(() => allHandlersFinished() && this.#recording === 0);
    return result;
  }

  /** Of whom the steps of the result are: this workflow, or whoever had the turn. */
  #stepsKey(result: DeploymentResult): { readonly stepsKey?: string } {
    const own = this.#journal.handOver();
    if (this.#settled?.kind !== 'result' || this.#settled.result !== result) return own;
    const { stepsKey } = this.#settled;
    return stepsKey === undefined ? {} : { stepsKey };
  }

  async #decide(): Promise<DeploymentResult> {
    const { after } = this.#input;
    const early = after === undefined ? undefined : await this.#awaitTheOneBefore(after);
    if (early !== undefined) return early;
    this.#ask = 1;
    const first = this.#takesTurnFirst ? await this.#takeTurnFirst() : undefined;
    if (first !== undefined && 'outcome' in first) return first;
    let plan = first;
    for (this.#ask = first === undefined ? 1 : 2; this.#ask <= maxAsks; this.#ask += 1) {
      const planned: Plan | DeploymentResult = plan ?? (await this.#makePlan());
      if ('outcome' in planned) return planned;
      const next = await this.#tryPlan(planned);
      if ('outcome' in next) return next;
      plan = next;
    }
    return this.#end(
      'errored',
      `The plan changed ${maxAsks} times in a row: something in it is not stable. Look at the two last plans.`,
    );
  }

  /** A hotfix that is live is asked back into the branches it did not come from. */
  async #mergeBack({ outcome, project, environment, number }: DeploymentResult): Promise<void> {
    const { runKey, version } = this.#input;
    if (outcome !== 'succeeded' || runKey === undefined) return;
    const input = { deployment: { project, environment, number }, version, runKey };
    await call(telling.mergeBack, 'asks the hotfix back into its branches', input).catch(() => undefined);
  }

  /** What is live in production is a release at the forge too. */
  async #publish({ outcome, project, environment, number }: DeploymentResult, plan: Plan): Promise<void> {
    const { runKey, version } = this.#input;
    if (outcome !== 'succeeded') return;
    const deployment = { project, environment, number };
    const input = { deployment, version, plan: plan.hash, ...(runKey === undefined ? {} : { runKey }) };
    await call(telling.publishRelease, 'makes the release at the forge', input).catch(() => undefined);
  }

  /** @returns the result when it ends here, because the environment before it in its route has not succeeded. */
  async #awaitTheOneBefore(after: DeploymentRef): Promise<DeploymentResult | undefined> {
    const name = `${after.environment} #${after.number}`;
    this.#journal.enter('queued', `for ${name}`);
    try {
      const input = { workflowId: deploymentId(after), startsWithinMs };
      const closed = await this.#work.run(() => call(following.awaitTurnClosed, `waits for ${name}`, input));
      const { outcome, reason } = readResult(closed);
      if (outcome === 'succeeded') {
        this.#journal.enter('planning', 'reads what would change');
        return undefined;
      }
      return this.#end('aborted', `${name} ended ${outcome ?? 'without a result'}, so nothing goes further: ${reason}`);
    } catch (error) {
      if (this.#abort !== undefined) return this.#aborted(this.#abort);
      return this.#end('errored', `How ${name} ended could not be found out: ${tellFailure(error)}`);
    }
  }

  /** Who waits for nobody has no use for a plan before the turn: it would be made again with the turn in hand. */
  get #takesTurnFirst(): boolean {
    return this.#input.waitsForNobody === true && patched('2026-11-26-turn-first');
  }

  /**
   * Takes the turn if it is free, and is planned with it in hand.
   *
   * @returns the result, or the plan that has to be approved after all; undefined when it has to plan and to wait as everybody does.
   */
  async #takeTurnFirst(): Promise<DeploymentResult | Plan | undefined> {
    const { project, environment } = this.#input;
    this.#askedAt = isoNow();
    const taking = { deployment: this.#input, ask: this.#ask };
    const told = await this.#signal(environmentId(project, environment), (handle) =>
      handle.signal(takeTurnSignal, taking),
    );
    const known = (): boolean => this.#settled !== undefined || this.#plan !== undefined || this.#abort !== undefined;
    // An environment that lost its memory before the roll-out began knows nothing of it: then it is asked as by everybody.
    const answered = told && (await condition(() => known() || this.#busy, firstAnswerMs, { summary: 'turn' }));
    if (answered && !this.#busy) return await this.#awaitOutcome();
    if (this.#abort !== undefined) return this.#aborted(this.#abort);
    this.#journal.enter('planning', 'reads what would change');
    return undefined;
  }

  /** @returns the result, or the plan that has to be approved instead. */
  async #tryPlan(plan: Plan): Promise<DeploymentResult | Plan> {
    this.#plan = plan;
    if (plan.estimate.problems.length > 0)
      return this.#end('errored', `It does not fit: ${sentences(...plan.estimate.problems)}`);
    // Of the last plan; the outcome of a turn that was taken at once counts whenever it comes.
    if (this.#settled?.kind === 'plan-changed' || !this.#takesTurnFirst) this.#settled = undefined;
    this.#granted = false;
    this.#askedAt = isoNow();
    if (this.#settled !== undefined) return this.#takeAnswer(this.#settled);
    if (this.#holds()) return await this.#approveWithTurn();
    const refused = await this.#askPeople(plan);
    if (refused !== undefined) return refused;
    this.#askedAt = isoNow();
    return await this.#takeTurn();
  }

  /** Whether people are asked with the turn in hand. */
  #holds(): boolean {
    const approval = this.#plan?.policy.approval;
    return approval?.turn === 'hold' && approval.required;
  }

  async #makePlan(): Promise<Plan | DeploymentResult> {
    try {
      return await this.#work.run(() => planAll(this.#input, `plans ${this.#input.version}`, this.#journal));
    } catch (error) {
      if (this.#abort !== undefined) return this.#aborted(this.#abort);
      const { status } = describeFailure(error);
      const reason = isCancellation(error) ? 'It was cancelled.' : `There is no plan: ${tellFailure(error)}`;
      return this.#end(status === 422 ? 'failed' : 'errored', reason);
    }
  }

  // ─── approval ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @returns the result when it ends here; undefined when it may go on. */
  async #askPeople(plan: Plan): Promise<DeploymentResult | undefined> {
    const { approval: policy } = plan.policy;
    // An input of before 2026-11-25 names nobody else, so that its replay counts as it did then.
    this.#approval = startApproval(policy, plan.hash, this.#input.author, this.#input.involved);
    if (policy.required) {
      const before = this.#asked;
      this.#asked = plan;
      const why = before === undefined ? [] : planDifference(before.identity, plan.identity);
      const again = before === undefined ? '' : `, asked again: ${why.join('; ') || 'it changed'}`;
      this.#journal.enter('awaiting-approval', `plan ${plan.hash.slice(0, 8)}${again}`);
      await this.#announce(plan, again);
      this.#approvalUntil = new Date(Date.now() + policy.timeoutMs).toISOString();
      this.#show();
      const began = Date.now();
      const startedAt = isoNow();
      const decided = (): boolean => this.#approval?.status !== 'pending' || this.#abort !== undefined;
      const inTime = decided() || (await condition(decided, policy.timeoutMs, { summary: 'approval' }));
      if (!inTime) this.#approval = expire(this.#approval);
      this.#approvalUntil = undefined;
      const { status, counted } = this.#approval;
      const by = counted.map((decision) => decision.by).join(', ');
      const verdict = status === 'approved' ? 'passed' : status === 'rejected' ? 'failed' : 'inconclusive';
      this.#journal.add({
        name: 'approval',
        startedAt,
        durationMs: Date.now() - began,
        verdict,
        detail: `${status}${by === '' ? '' : ` by ${by}`}`,
      });
    }
    // A decision that is not on record has not been made.
    await condition(() => this.#recording === 0);
    if (this.#abort !== undefined) return this.#aborted(this.#abort);
    switch (this.#approval.status) {
      case 'rejected': {
        const last = this.#approval.counted.at(-1);
        return this.#end(
          'rejected',
          sentences(`${last?.by ?? 'Somebody'} rejected it${last?.comment === undefined ? '' : `: ${last.comment}`}`),
        );
      }
      case 'expired':
        return this.#end(
          'expired',
          `Nobody decided within ${took(policy.timeoutMs)}. \`slipway rerun <run> --from-approval\` asks again, and nothing has to be built again.`,
        );
      case 'approved':
      case 'pending':
        return undefined;
    }
  }

  /** The clock of the approval starts when people were told, or could not be. */
  async #announce(plan: Plan, again: string): Promise<void> {
    const { project, environment, number, version } = this.#input;
    const { changes, risk, hash, identity, infrastructure } = plan;
    const limits = { scheduleToCloseTimeout: noticeMs, retry: { maximumAttempts: 1 } };
    const notice = {
      event: 'approval-requested',
      // High, by the specification's matrix: a person has half an hour.
      level: 'error',
      project,
      environment,
      key: `${project}/${environment}/${number}/approval/${hash}`,
      title: `${version} waits for approval to go to ${environment}`,
      lines: [
        `plan ${hash.slice(0, 8)}${again}, from ${changes.fromVersion ?? 'nothing'}`,
        `${changes.commits.length} commits, ${changes.filesChanged} files, ${identity.migrations.length} migrations`,
        ...(infrastructure?.summary === undefined
          ? []
          : [`infrastructure: ${tellSummary(infrastructure.summary)}; never taken back by itself`]),
        `risk ${risk.level} (${risk.score})${risk.reasons.length > 0 ? `: ${risk.reasons.join('; ')}` : ''}`,
        `approve within ${took(plan.policy.approval.timeoutMs)}`,
      ],
    } as const;
    await call(message.sendNotice, notice.title, notice, limits).catch(() => undefined);
  }

  /** `turn: hold`: first the turn, then a plan of what is live by then, then people. */
  async #approveWithTurn(): Promise<DeploymentResult | Plan> {
    this.#journal.enter('queued', 'for the turn, to be decided on with it in hand');
    await this.#requestTurn(false);
    const early = await this.#awaitEnvironment(() => this.#granted, false);
    if (early !== undefined) return early;
    const planned = await this.#makePlan();
    if (!('outcome' in planned)) this.#plan = planned;
    const refused = 'outcome' in planned ? planned : await this.#askPeople(planned);
    const go = refused === undefined;
    const { project, environment, number } = this.#input;
    const plan = this.#plan?.hash ?? '';
    const told = await this.#signal(environmentId(project, environment), (handle) =>
      handle.signal(proceedSignal, { number, go, plan }),
    );
    if (refused !== undefined) return refused;
    this.#journal.enter('rolling-out');
    if (!told) await this.#requestTurn(true);
    return await this.#awaitOutcome();
  }

  // ─── the turn ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #takeTurn(): Promise<DeploymentResult | Plan> {
    if (this.#abort !== undefined) return this.#aborted(this.#abort);
    this.#journal.enter('queued');
    await this.#requestTurn(true);
    return await this.#awaitOutcome();
  }

  async #awaitOutcome(): Promise<DeploymentResult | Plan> {
    const settled = await this.#awaitEnvironment(() => false, true);
    return settled ?? this.#end('errored', 'The environment did not answer.');
  }

  /**
   * Waits for the environment's answer, or for `enough`; asks again from time to time, should the environment have lost its memory.
   *
   * @returns what the answer means; undefined when `enough` came first.
   */
  async #awaitEnvironment(enough: () => boolean, approved: boolean): Promise<DeploymentResult | Plan | undefined> {
    const awake = (): boolean => this.#settled !== undefined || enough() || this.#abort !== undefined;
    for (let round = 0; this.#settled === undefined; round += 1) {
      if (!(await condition(awake, this.#pause(round), { summary: 'turn' }))) await this.#requestTurn(approved, true);
      else if (this.#abort !== undefined) return await this.#withdraw(this.#abort);
      else if (enough()) return undefined;
    }
    return this.#takeAnswer(this.#settled);
  }

  #pause(round: number): number {
    const first = this.#plan?.policy.queue.askAgainMs ?? askAgainMs;
    return first * ([1, 3][round] ?? 6);
  }

  /** @param again - it has been asked for before: nobody waits for this word longer than for the next. */
  async #requestTurn(approved: boolean, again = false): Promise<void> {
    const plan = this.#plan;
    if (plan === undefined) return;
    const input = { deployment: this.#input, plan, approved, ask: this.#ask, requestedAt: this.#askedAt };
    const { timeoutMs } = plan.policy.queue;
    const scheduleToCloseTimeout = again ? this.#pause(0) : timeoutMs;
    try {
      await this.#journal.call(record.requestTurn, 'asks for the turn', input, { scheduleToCloseTimeout });
    } catch (error) {
      // Who answers has heard it.
      if (again || this.#granted || this.#settled !== undefined) return;
      if (this.#abort === undefined) {
        this.#unasked = sentences(`The turn could not be asked for within ${took(timeoutMs)}: ${tellFailure(error)}`);
      }
      // It may have been asked for all the same, so the environment has the last word, as with every abort.
      this.abort({ by: 'Slipway', reason: 'the turn could not be asked for' });
    }
  }

  /** Aborted after the turn was asked for: the environment has the last word, or a roll-out that outlived it, or nobody. */
  async #withdraw(abort: AbortMessage): Promise<DeploymentResult | Plan> {
    const { project, environment, number } = this.#input;
    let word = abort;
    for (let round = 0; this.#settled === undefined; round += 1) {
      const said = word;
      const { by, reason = 'no reason given', noRollback } = said;
      const words = { number, by, reason, ...(noRollback === undefined ? {} : { noRollback }) };
      const told =
        (await this.#signal(environmentId(project, environment), (handle) =>
          handle.signal(withdrawTurnSignal, words),
        )) || (await this.#signal(rolloutId(this.#input, this.#ask), (handle) => handle.signal(abortSignal, said)));
      if (!told) return this.#aborted(said);
      // A later word to leave everything as it is goes out at once.
      const awake = (): boolean => this.#settled !== undefined || this.#abort !== said;
      await condition(awake, this.#pause(round), { summary: 'being aborted' });
      word = this.#abort ?? said;
    }
    return this.#takeAnswer(this.#settled);
  }

  async #signal(
    workflowId: string,
    send: (handle: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<boolean> {
    try {
      await send(getExternalWorkflowHandle(workflowId));
      return true;
    } catch {
      return false;
    }
  }

  #takeAnswer(settled: TurnSettled): DeploymentResult | Plan {
    switch (settled.kind) {
      case 'result':
        return settled.result;
      case 'plan-changed':
        if (this.#abort !== undefined) return this.#aborted(this.#abort);
        return settled.plan;
      case 'superseded':
        return this.#end('superseded', settled.reason);
      case 'expired':
        return this.#end('expired', settled.reason);
      case 'withdrawn':
        return this.#unasked === undefined ? this.#end('aborted', settled.reason) : this.#end('expired', this.#unasked);
      case 'refused':
        return this.#end('errored', settled.reason);
    }
  }

  // ─── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  abort(abort: AbortMessage): void {
    if (this.#result !== undefined) return;
    if (this.#abort !== undefined) {
      // The first word counts, but for this: an undo that is tried without end is ended by nothing else.
      const says = abort.noRollback === true && this.#abort.noRollback !== true;
      if (says && patched('2026-11-26-abort-says-more')) this.#abort = abort;
      return;
    }
    this.#abort = abort;
    this.#work.cancel();
  }

  #listen(): void {
    setHandler(deploymentQuery, () => this.#view(), { description: 'Plan, approval and outcome' });
    setHandler(turnSettledSignal, (settled) => {
      if (!isSettled(settled)) return;
      this.#settled ??= settled;
    });
    setHandler(turnBusySignal, (busy) => {
      if (namesNumber(busy) && busy.ask === this.#ask) this.#busy = true;
    });
    setHandler(plannedSignal, (planned) => {
      // One that people have to approve comes back as the answer, and counts only then.
      if (!namesPlan(planned) || planned.plan.policy.approval.required) return;
      this.#plan ??= planned.plan;
      this.#granted = true;
      if (this.#journal.phase === 'planning') this.#journal.pass('rolling-out');
      this.#show();
    });
    setHandler(turnGrantedSignal, (granted) => {
      if (!namesNumber(granted) || (granted.ask ?? 1) !== this.#ask) return;
      this.#granted = true;
      // Told by whoever has the turn.
      if (this.#journal.phase === 'queued' && !this.#holds()) this.#journal.pass('rolling-out');
    });
    const words = '{"by": "…", "plan": "first 8 characters of the hash", "comment": "…"}';
    setHandler(approveSignal, (raw) => this.#hear(raw, 'approve'), { description: `Agrees: ${words}` });
    setHandler(rejectSignal, (raw) => this.#hear(raw, 'reject'), { description: `Ends it: ${words}` });
    setHandler(approveUpdate, (raw) => this.#answer(raw, 'approve'), {
      validator: (raw: DecisionMessage) => this.#validate(raw, 'approve'),
    });
    setHandler(rejectUpdate, (raw) => this.#answer(raw, 'reject'), {
      validator: (raw: DecisionMessage) => this.#validate(raw, 'reject'),
    });
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
          if (this.#result === undefined) return;
          throw failure('TooLate', `${readAbort(raw).by} is too late: it has ended ${this.#result.outcome}.`);
        },
      },
    );
  }

  #validate(raw: unknown, verdict: ApprovalDecision['verdict']): void {
    const refusal = this.#refusalOf(toDecision(accept(readDecision(raw)), verdict));
    if (refusal !== undefined) throw failure(refusal.type, refusal.why);
  }

  #refusalOf(decision: ApprovalDecision): Refusal | undefined {
    if (this.#abort !== undefined)
      return { type: 'TooLate', why: 'It is being aborted; a decision no longer changes it.' };
    if (this.#approval === undefined)
      return { type: 'Conflict', why: 'Its plan is not waiting for a decision. Look at it again.' };
    return refuses(this.#approval, decision);
  }

  /** A raw signal: never throws, and what does not count is put on record with the reason. */
  #hear(raw: unknown, verdict: ApprovalDecision['verdict']): void {
    const parsed = readDecision(raw);
    if (!parsed.ok) {
      this.#recordDecision({ by: parsed.by, groups: [], verdict, plan: '', proven: false }, parsed.problem);
      return;
    }
    const policy = this.#approval?.policy;
    const decision =
      policy === undefined
        ? toDecision({ ...parsed.value, proven: false }, verdict)
        : unprovenDecision(parsed.value, verdict, policy);
    this.#count(decision);
  }

  #answer(raw: unknown, verdict: ApprovalDecision['verdict']): ApprovalState {
    this.#count(toDecision(accept(readDecision(raw)), verdict));
    if (this.#approval === undefined) throw failure('Conflict', 'Its plan is not waiting for a decision.');
    return this.#approval;
  }

  #count(decision: ApprovalDecision): void {
    const refusal = this.#refusalOf(decision);
    if (this.#approval !== undefined && this.#abort === undefined) {
      this.#approval = decide(this.#approval, decision, isoNow());
    }
    this.#recordDecision(decision, refusal?.why);
    this.#show();
  }

  #recordDecision(decision: ApprovalDecision, why: string | undefined): void {
    const { by, verdict, plan, comment, proven } = decision;
    const { project, environment, number } = this.#input;
    const input = {
      deployment: { project, environment, number },
      by,
      verdict,
      counted: why === undefined,
      ...(why === undefined ? {} : { why }),
      plan,
      ...(comment === undefined ? {} : { comment }),
      proven,
      at: isoNow(),
    };
    this.#recording += 1;
    void callAnyway(record.recordDecision, `${by}: ${verdict}${why === undefined ? '' : ', ignored'}`, input)
      .catch(() => undefined)
      .finally(() => (this.#recording -= 1));
  }

  // ─── results and views ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #end(outcome: Outcome, reason: string): DeploymentResult {
    const { project, environment, number } = this.#input;
    return { project, environment, number, outcome, reason, steps: this.#journal.steps };
  }

  #aborted(abort: AbortMessage): DeploymentResult {
    if (this.#unasked !== undefined) return this.#end('expired', this.#unasked);
    const why = `${abort.by} aborted it: ${abort.reason ?? 'no reason given'}`;
    return this.#end('aborted', sentences(why, 'Nothing was changed.'));
  }

  #view(): DeploymentView {
    return {
      deployment: this.#input,
      phase: this.#journal.phase,
      ...(this.#plan === undefined ? {} : { plan: this.#plan }),
      ...(this.#approval === undefined ? {} : { approval: this.#approval }),
      ...(this.#approvalUntil === undefined ? {} : { approvalUntil: this.#approvalUntil }),
      steps: this.#result?.steps ?? this.#journal.steps,
      ...(this.#result === undefined ? {} : { result: this.#result }),
    };
  }

  #show(): void {
    this.#forge.update(this.#plan, this.#journal.phase, this.#result);
    const { project, environment, number, version, requestedBy } = this.#input;
    const approval = this.#approval;
    showPage(
      `${version} → ${environment} · ${this.#result?.outcome ?? this.#journal.phase}`,
      [
        `deployment ${number} of ${project}, asked for by ${requestedBy}`,
        this.#plan === undefined
          ? undefined
          : `plan \`${this.#plan.hash.slice(0, 8)}\`, risk ${this.#plan.risk.level}, from ${this.#plan.changes.fromVersion ?? 'nothing'}`,
        approval !== undefined && this.#approvalUntil !== undefined
          ? approvalLine(approval, this.#approvalUntil)
          : undefined,
        this.#granted ? `roll-out: \`${rolloutId(this.#input, this.#ask)}\`` : undefined,
        this.#result?.reason,
      ],
      this.#result?.steps ?? this.#journal.steps,
    );
  }
}

/** What another workflow returned, of which nothing is certain: null when somebody terminated it. */
function readResult(closed: unknown): { readonly outcome: string | undefined; readonly reason: string } {
  const { outcome, reason } = (typeof closed === 'object' && closed !== null ? closed : {}) as Readonly<
    Record<string, unknown>
  >;
  return {
    outcome: typeof outcome === 'string' ? outcome : undefined,
    reason: typeof reason === 'string' ? reason : 'look at it there.',
  };
}
