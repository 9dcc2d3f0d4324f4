import type { BackupReport, Change } from '../activities/contracts.ts';
import type { DataRollback, DeploymentResult, StepRecord } from '../domain/deployment.ts';
import { failure } from '../domain/failures.ts';
import type { Plan } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { Journal } from './journal.ts';
import { isoNow, showPage } from './progress.ts';
import { Saga } from './saga.ts';
import { tellUnhealthy } from './stages/notices.ts';
import { freeSlot, patientOf } from './stages/roll-out.ts';
import type { Done, Rollout } from './strategies/strategy.ts';
import type { RollOutInput } from './turn.ts';

/** What the parts of a roll-out share: what is known of it, what has been begun, and how it is shown. */
export class RollOutCore {
  readonly input: RollOutInput;
  readonly journal: Journal;
  readonly done: Done = { started: false, migrated: false, moved: false };
  plan: Plan | undefined;
  result: DeploymentResult | undefined;
  /** What serves until traffic is moved; null for the first release. */
  live: LiveRelease | null = null;
  backup: BackupReport | undefined;
  data: DataRollback | undefined;
  /** Written down when traffic is on its way, not before. */
  watched: StepRecord | undefined;
  /** What a probe said that ended the watch; told with it. */
  unhealthy: string | undefined;
  /** The infrastructure may have been changed. */
  applied = false;
  /** A person has said to leave things as they are. */
  givenUp = false;
  readonly #saga = new Saga();
  #step = 0;

  constructor(input: RollOutInput) {
    this.input = input;
    this.journal = new Journal(input.deployment, `rollout.${input.ask}`, () => this.#show());
  }

  /** As strategies and stages see it. */
  context(plan: Plan): Rollout {
    const backup = (): BackupReport | undefined => this.backup;
    return {
      deployment: this.input.deployment,
      plan,
      live: this.live,
      slot: freeSlot(this.live),
      saga: this.#saga,
      journal: this.journal,
      get backup() {
        return backup();
      },
      done: this.done,
      nextChange: (back = false) => this.#nextChange(back),
      givenUp: () => this.givenUp,
    };
  }

  requirePlan(): Plan {
    if (this.plan === undefined) throw failure('Internal', 'There is no plan yet.');
    return this.plan;
  }

  /** The release of the plan, as it is live from here on. */
  newLive(): LiveRelease {
    const { release } = this.requirePlan().identity;
    return { ...release, slot: freeSlot(this.live), deployment: this.input.deployment.number, since: isoNow() };
  }

  /** Puts the watch into the timeline, once, and tells what it found. */
  writeWatch(): void {
    if (this.watched !== undefined) this.journal.add(this.watched);
    this.watched = undefined;
    if (this.unhealthy !== undefined) {
      tellUnhealthy(this.journal, patientOf(this.context(this.requirePlan())), 'watch', this.unhealthy);
    }
    this.unhealthy = undefined;
  }

  #nextChange(back: boolean): Change {
    const { deployment, turn } = this.input;
    const { project, environment, number } = deployment;
    this.#step += 1;
    return { project, environment, number, turn, step: this.#step, ...(back ? { back } : {}) };
  }

  #show(): void {
    const { deployment, planHash: hash = this.plan?.hash } = this.input;
    showPage(
      `${deployment.version} → ${deployment.environment} · ${this.result?.outcome ?? this.journal.phase}`,
      [
        `deployment ${deployment.number} of ${deployment.project}, plan ${hash === undefined ? 'being made' : `\`${hash.slice(0, 8)}\``}`,
        this.live === null ? undefined : `before: ${this.live.version} in ${this.live.slot}`,
        this.result?.reason,
      ],
      this.journal.steps,
    );
  }
}
