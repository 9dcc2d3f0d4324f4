import { condition, setHandler } from '@temporalio/workflow';
import {
  type ApprovalDecision,
  type ApprovalState,
  type Refusal,
  decide,
  endOfApproval,
  expire,
  refuses,
  startApproval,
} from '../domain/approval.ts';
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
  rejectSignal,
  rejectUpdate,
  toDecision,
} from './messages.ts';
import { isoNow, took } from './progress.ts';
import { record } from './proxies/record.ts';
import { message } from './proxies/word.ts';

/** A deployment waits for its first notice no longer than this before the approval's clock starts, ms. */
const noticeMs = 10_000;

/** How a deployment asks people, and takes what they decide. */
export class DeploymentApproval {
  readonly #core: DeploymentCore;
  /** The plan that people were asked about last. */
  #asked: Plan | undefined;
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
      if (!inTime) core.approval = expire(core.approval);
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
    const refusal = this.#refusalOf(toDecision(accept(readDecision(raw)), verdict));
    if (refusal !== undefined) throw failure(refusal.type, refusal.why);
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
    const policy = this.#core.approval?.policy;
    const decision =
      policy === undefined
        ? toDecision({ ...parsed.value, proven: false }, verdict)
        : unprovenDecision(parsed.value, verdict, policy);
    this.#count(decision);
  }

  #answer(raw: unknown, verdict: ApprovalDecision['verdict']): ApprovalState {
    this.#count(toDecision(accept(readDecision(raw)), verdict));
    const { approval } = this.#core;
    if (approval === undefined) throw failure('Conflict', 'Its plan is not waiting for a decision.');
    return approval;
  }

  #count(decision: ApprovalDecision): void {
    const core = this.#core;
    const refusal = this.#refusalOf(decision);
    if (core.approval !== undefined && core.stop === undefined) {
      core.approval = decide(core.approval, decision, isoNow());
    }
    this.#record(decision, refusal?.why);
    core.show();
  }

  #record(decision: ApprovalDecision, why: string | undefined): void {
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
      at: isoNow(),
    };
    this.#recording += 1;
    void callAnyway(record.recordDecision, `${by}: ${verdict}${why === undefined ? '' : ', ignored'}`, input)
      .catch(() => undefined)
      .finally(() => (this.#recording -= 1));
  }
}
