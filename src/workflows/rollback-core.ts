import { CancellationScope } from '@temporalio/workflow';
import type { Change } from '../activities/contracts.ts';
import type { DataRollback, DeploymentResult } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { call } from './call.ts';
import { Journal } from './journal.ts';
import type { AbortMessage } from './messages.ts';
import { isoNow, showPage } from './progress.ts';
import { planning } from './proxies/deployment.ts';
import { Saga, type UndoRecord } from './saga.ts';
import { headed } from './stages/undo.ts';
import type { RollbackInput } from './turn.ts';

/** What the parts of a rollback share: what is known of it, what it has done under which heading, and how it is shown. */
export class RollbackCore {
  readonly input: RollbackInput;
  readonly journal: Journal;
  readonly saga = new Saga();
  readonly records: UndoRecord[] = [];
  /** Everything that a word to stop it ends. */
  readonly work = new CancellationScope({ cancellable: true });
  live: LiveRelease | null;
  /** Where traffic is on its way to. */
  target: LiveRelease | undefined;
  /** Since when the target serves, ISO 8601. */
  servingAt: string | undefined;
  data: DataRollback | undefined;
  result: DeploymentResult | undefined;
  /** Who wants it stopped, and why. */
  abort: AbortMessage | undefined;
  /** Moving traffic is not tried any more. */
  leave = false;
  /** Its result is being made: no word changes it. */
  closing = false;
  /** People know of it, and its incident is being opened. */
  told = false;
  #step = 0;
  #reading: Promise<PlanPolicy> | undefined;

  constructor(input: RollbackInput) {
    this.input = input;
    this.live = input.live;
    this.journal = new Journal(input.deployment, 'rollback', () => this.#show());
  }

  /** As the environment knew it, or as it is read; asked for as a way back. */
  async policy(): Promise<PlanPolicy> {
    if (this.input.policy !== undefined) return this.input.policy;
    const readPolicy = async (): Promise<PlanPolicy> =>
      // As a way back: nothing that is known of the release that is left may keep it.
      (await call(planning.planDeployment, 'reads the policy', { ...this.input.deployment, priority: 'rollback' }))
        .policy;
    return this.told ? await (this.#reading ??= readPolicy()) : await readPolicy();
  }

  /** Does something and puts it under its heading; a failure is thrown on. */
  async measure(heading: UndoRecord['heading'], detail: string, work: () => Promise<unknown>): Promise<void> {
    const began = isoNow();
    await work();
    this.note(headed(heading, began, isoNow(), detail));
  }

  /** As {@link measure}; a failure is added to what is left and takes nothing back. */
  async attempt(heading: UndoRecord['heading'], left: string[], work: () => Promise<string>): Promise<void> {
    const began = isoNow();
    try {
      const detail = await work();
      this.note(headed(heading, began, isoNow(), detail));
    } catch (error) {
      const { message } = describeFailure(error);
      left.push(message);
      this.note({ ...headed(heading, began, isoNow(), message), done: false });
    }
  }

  note(one: UndoRecord): void {
    this.records.push(one);
    const { heading, startedAt, durationMs, detail, done } = one;
    this.journal.add({ name: heading, startedAt, durationMs, detail, verdict: done ? 'passed' : 'failed' });
  }

  nextChange(): Change {
    const { deployment, turn } = this.input;
    const { project, environment, number } = deployment;
    this.#step += 1;
    return { project, environment, number, turn, step: this.#step, back: true };
  }

  #show(): void {
    const { deployment, request } = this.input;
    showPage(
      `${deployment.environment} back to ${deployment.version} · ${this.result?.outcome ?? this.journal.phase}`,
      [`${request.by}: ${request.reason}`, this.result?.reason],
      this.journal.steps,
    );
  }
}
