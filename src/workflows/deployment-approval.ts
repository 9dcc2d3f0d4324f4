import { condition, patched, setHandler, workflowInfo } from '@temporalio/workflow';
import {
  type ApprovalDecision,
  type ApprovalState,
  type Refusal,
  decide,
  endOfApproval,
  expire,
  ignore,
  refuses,
  startApproval,
} from '../domain/approval.ts';
import type { DecisionProof, ProvenDecision } from '../domain/decision-proof.ts';
import { type DeploymentResult, askAgain } from '../domain/deployment.ts';
import { failure } from '../domain/failures.ts';
import { tellSummary } from '../domain/infrastructure.ts';
import type { Plan } from '../domain/plan.ts';
import { planDifference } from '../domain/plan-difference.ts';
import { call, callAnyway } from './call.ts';
import type { DeploymentCore } from './deployment-core.ts';
import { accept, readDecision, unprovenDecision } from './inbound.ts';
import {
  type DecisionMessage,
  approveSignal,
  approveUpdate,
  provableDecision,
  rejectSignal,
  rejectUpdate,
  toDecision,
} from './messages.ts';
import { isoNow, took } from './progress.ts';
import { record } from './proxies/record.ts';
import { message } from './proxies/word.ts';
import { type Proven, ProofCheck, refused } from './stages/proof-check.ts';

/** A deployment waits for its first notice no longer than this before the approval's clock starts, ms. */
const noticeMs = 10_000;

/** How a deployment asks people, and takes what they decide. */
export class DeploymentApproval {
  readonly #core: DeploymentCore;
  /** The plan that people were asked about last. */
  #asked: Plan | undefined;
  readonly #proofs = new ProofCheck();
  /** Decisions that are on their way to the record. */
  #recording = 0;

  constructor(core: DeploymentCore) {
    this.#core = core;
    const words = '{"by": "…", "plan": "first 8 characters of the hash", "comment": "…"}';
    setHandler(approveSignal, (raw) => this.#hear(raw, 'approve'), { description: `Agrees: ${words}` });
    setHandler(rejectSignal, (raw) => this.#hear(raw, 'reject'), { description: `Ends it: ${words}` });
    setHandler(approveUpdate, (raw) => this.#answer(raw, 'approve'), {
      validator: (raw: DecisionMessage) => this.#validate(raw, 'approve'),
    });
    setHandler(rejectUpdate, (raw) => this.#answer(raw, 'reject'), {
      validator: (raw: DecisionMessage) => this.#validate(raw, 'reject'),
    });
  }

  /** Every decision is on record. */
  get recorded(): boolean {
    return this.#recording === 0;
  }

  /** @returns the result when it ends here; undefined when it may go on. */
  async askPeople(plan: Plan): Promise<DeploymentResult | undefined> {
    const core = this.#core;
    const { approval: policy } = plan.policy;
    // An input of before 2026-11-25 names nobody else, so that its replay counts as it did then.
    core.approval = startApproval(policy, plan.hash, core.input.author, core.input.involved);
    if (policy.required) {
      const before = this.#asked;
      this.#asked = plan;
      const why = before === undefined ? [] : planDifference(before.identity, plan.identity);
      const again = before === undefined ? '' : `, asked again: ${why.join('; ') || 'it changed'}`;
      core.journal.enter('awaiting-approval', `plan ${plan.hash.slice(0, 8)}${again}`);
      await this.#announce(plan, again);
      core.approvalUntil = new Date(Date.now() + policy.timeoutMs).toISOString();
      core.show();
      const began = Date.now();
      const startedAt = isoNow();
      const decided = (): boolean => core.approval?.status !== 'pending' || core.stop !== undefined;
      const inTime = decided() || (await condition(decided, policy.timeoutMs, { summary: 'approval' }));
      if (!inTime) {
        await this.#proofs.settled();
        core.approval = expire(core.approval);
      }
      core.approvalUntil = undefined;
      const { status, counted } = core.approval;
      const by = counted.map((decision) => decision.by).join(', ');
      const verdict = status === 'approved' ? 'passed' : status === 'rejected' ? 'failed' : 'inconclusive';
      core.journal.add({
        name: 'approval',
        startedAt,
        durationMs: Date.now() - began,
        verdict,
        detail: by === '' ? status : status === 'expired' ? `expired, approved by ${by} only` : `${status} by ${by}`,
      });
    }
    // A decision that is not on record has not been made.
    await condition(() => this.recorded);
    if (core.stop !== undefined) return core.aborted(core.stop);
    const ended = endOfApproval(core.approval, took(policy.timeoutMs), askAgain(core.input));
    return ended === undefined ? undefined : core.end(ended.outcome, ended.reason);
  }

  /** The clock of the approval starts when people were told, or could not be. */
  async #announce(plan: Plan, again: string): Promise<void> {
    const { project, environment, number, version } = this.#core.input;
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

  #validate(raw: unknown, verdict: ApprovalDecision['verdict']): void {
    const words = accept(readDecision(raw));
    const { proof } = words;
    const decision =
      proof === undefined ? this.#unproven(words, verdict) : toDecision({ ...words, proven: true }, verdict);
    const refusal = this.#refusalOf(decision) ?? (proof === undefined ? undefined : this.#proofs.refuses(proof));
    if (refusal !== undefined) throw refused(refusal);
  }

  #refusalOf(decision: ApprovalDecision): Refusal | undefined {
    const { stop, approval } = this.#core;
    if (stop !== undefined) return { type: 'TooLate', why: 'It is being aborted; a decision no longer changes it.' };
    if (approval === undefined)
      return { type: 'Conflict', why: 'Its plan is not waiting for a decision. Look at it again.' };
    return refuses(approval, decision);
  }

  /** A raw signal: never throws, and what does not count is put on record with the reason. */
  #hear(raw: unknown, verdict: ApprovalDecision['verdict']): void {
    const parsed = readDecision(raw);
    if (!parsed.ok) {
      this.#record({ by: parsed.by, groups: [], verdict, plan: '', proven: false }, parsed.problem);
      return;
    }
    this.#count(this.#unproven(parsed.value, verdict));
  }

  #unproven(words: DecisionMessage, verdict: ApprovalDecision['verdict']): ApprovalDecision {
    const policy = this.#core.approval?.policy;
    return policy === undefined
      ? toDecision({ ...words, proven: false }, verdict)
      : unprovenDecision(words, verdict, policy);
  }

  #answer(raw: unknown, verdict: ApprovalDecision['verdict']): ApprovalState | Promise<ApprovalState> {
    const words = accept(readDecision(raw));
    // What was told before there were proofs is taken again as it was taken then: at its word.
    if (!patched('2026-11-26-proof')) this.#count(toDecision(words, verdict));
    else if (words.proof !== undefined) return this.#answerProven(words, words.proof, verdict);
    else this.#count(this.#unproven(words, verdict));
    return this.#state();
  }

  #answerProven(
    words: DecisionMessage,
    proof: DecisionProof,
    verdict: ApprovalDecision['verdict'],
  ): Promise<ApprovalState> {
    const decision = provableDecision(workflowInfo().workflowId, verdict, words);
    return this.#proofs.of(decision, proof, (proven) => this.#take(words, verdict, proven));
  }

  #take(words: DecisionMessage, verdict: ApprovalDecision['verdict'], proven: Proven): ApprovalState {
    const decision = toDecision({ ...words, proven: proven.refusal === undefined }, verdict);
    if (proven.refusal !== undefined) {
      const { why } = proven.refusal;
      const { approval } = this.#core;
      if (approval !== undefined) this.#core.approval = ignore(approval, words.by, why, isoNow());
      this.#record(decision, why);
      this.#core.show();
      throw refused(proven.refusal, proven.nonce);
    }
    // Somebody else may have decided while the proof was looked at.
    const refusal = this.#count(decision, proven.decision);
    if (refusal !== undefined) throw refused(refusal);
    return this.#state();
  }

  #state(): ApprovalState {
    const { approval } = this.#core;
    if (approval === undefined) throw failure('Conflict', 'Its plan is not waiting for a decision.');
    return approval;
  }

  /** @returns why it does not count. */
  #count(decision: ApprovalDecision, proof?: ProvenDecision): Refusal | undefined {
    const core = this.#core;
    const refusal = this.#refusalOf(decision);
    if (core.approval !== undefined && core.stop === undefined) {
      core.approval = decide(core.approval, decision, isoNow());
    }
    this.#record(decision, refusal?.why, proof);
    core.show();
    return refusal;
  }

  #record(decision: ApprovalDecision, why: string | undefined, proof?: ProvenDecision): void {
    const { by, verdict, plan, comment, proven } = decision;
    const { project, environment, number } = this.#core.input;
    const input = {
      deployment: { project, environment, number },
      by,
      verdict,
      counted: why === undefined,
      ...(why === undefined ? {} : { why }),
      plan,
      ...(comment === undefined ? {} : { comment }),
      proven,
      ...(proof === undefined ? {} : { proof }),
      at: isoNow(),
    };
    this.#recording += 1;
    void callAnyway(record.recordDecision, `${by}: ${verdict}${why === undefined ? '' : ', ignored'}`, input)
      .catch(() => undefined)
      .finally(() => (this.#recording -= 1));
  }
}
