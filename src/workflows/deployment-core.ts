import { CancellationScope, patched } from '@temporalio/workflow';
import type { ApprovalState } from '../domain/approval.ts';
import type { DeploymentInput, DeploymentResult } from '../domain/deployment.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import { sentences } from '../domain/sentences.ts';
import { DeploymentTeller } from './deployment-teller.ts';
import { Journal } from './journal.ts';
import { type AbortMessage, type DeploymentView, rolloutId } from './messages.ts';
import { approvalLine, showPage } from './progress.ts';

/** What the parts of a deployment share: what is known of it, the word to stop it, and how it is shown. */
export class DeploymentCore {
  readonly input: DeploymentInput;
  readonly journal: Journal;
  readonly forge: DeploymentTeller;
  /** Everything that a word to stop it ends. */
  readonly work = new CancellationScope({ cancellable: true });
  plan: Plan | undefined;
  approval: ApprovalState | undefined;
  /** Until when people may decide, ISO 8601; undefined while nobody is asked. */
  approvalUntil: string | undefined;
  /** Which time it asks for the turn, from 1; a plan that has changed is asked for again. */
  ask = 0;
  /** It has the turn, or is told so. */
  granted = false;
  /** Why the turn could never be asked for: nobody stopped it, its turn did not come. */
  unasked: string | undefined;
  result: DeploymentResult | undefined;
  #abort: AbortMessage | undefined;

  constructor(input: DeploymentInput) {
    this.input = input;
    this.forge = new DeploymentTeller(input);
    this.journal = new Journal(input, 'deployment', () => this.show());
  }

  /** Who wants it stopped, and why; undefined while nobody does. */
  get stop(): AbortMessage | undefined {
    return this.#abort;
  }

  /** Whether people are asked with the turn in hand. */
  get holds(): boolean {
    const approval = this.plan?.policy.approval;
    return approval?.turn === 'hold' && approval.required;
  }

  abort(abort: AbortMessage): void {
    if (this.result !== undefined) return;
    if (this.#abort !== undefined) {
      // The first word counts, but for this: an undo that is tried without end is ended by nothing else.
      const says = abort.noRollback === true && this.#abort.noRollback !== true;
      if (says && patched('2026-11-26-abort-says-more')) this.#abort = abort;
      return;
    }
    this.#abort = abort;
    this.work.cancel();
  }

  end(outcome: Outcome, reason: string): DeploymentResult {
    const { project, environment, number } = this.input;
    return { project, environment, number, outcome, reason, steps: this.journal.steps };
  }

  /** The result of one that was stopped before anything was changed. */
  aborted(abort: AbortMessage): DeploymentResult {
    if (this.unasked !== undefined) return this.end('expired', this.unasked);
    const why = `${abort.by} aborted it: ${abort.reason ?? 'no reason given'}`;
    return this.end('aborted', sentences(why, 'Nothing was changed.'));
  }

  view(): DeploymentView {
    return {
      deployment: this.input,
      phase: this.journal.phase,
      ...(this.plan === undefined ? {} : { plan: this.plan }),
      ...(this.approval === undefined ? {} : { approval: this.approval }),
      ...(this.approvalUntil === undefined ? {} : { approvalUntil: this.approvalUntil }),
      steps: this.result?.steps ?? this.journal.steps,
      ...(this.result === undefined ? {} : { result: this.result }),
    };
  }

  show(): void {
    this.forge.update(this.plan, this.journal.phase, this.result);
    const { project, environment, number, version, requestedBy } = this.input;
    const { approval, approvalUntil, plan } = this;
    showPage(
      `${version} → ${environment} · ${this.result?.outcome ?? this.journal.phase}`,
      [
        `deployment ${number} of ${project}, asked for by ${requestedBy}`,
        plan === undefined
          ? undefined
          : `plan \`${plan.hash.slice(0, 8)}\`, risk ${plan.risk.level}, from ${plan.changes.fromVersion ?? 'nothing'}`,
        approval !== undefined && approvalUntil !== undefined ? approvalLine(approval, approvalUntil) : undefined,
        this.granted ? `roll-out: \`${rolloutId(this.input, this.ask)}\`` : undefined,
        this.result?.reason,
      ],
      this.result?.steps ?? this.journal.steps,
    );
  }
}
