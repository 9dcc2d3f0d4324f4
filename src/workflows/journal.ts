import { condition, log } from '@temporalio/workflow';
import type { Notice } from '../activities/contracts.ts';
import type { DeploymentPhase, DeploymentRef, StepRecord } from '../domain/deployment.ts';
import { describeFailure, failureType, showFailure } from '../domain/failures.ts';
import type { Verdict } from '../domain/verdict.ts';
import { callAnyway, message, note } from './options.ts';
import { enterPhase, isoNow } from './progress.ts';

/** How long a workflow waits at its end for facts and notices on their way, ms. */
const drainMs = 15_000;

/** What a workflow tells of a deployment while it goes on. Nobody waits for it: a slow store delays no traffic. */
export class Journal {
  readonly steps: StepRecord[] = [];
  readonly #deployment: DeploymentRef;
  readonly #prefix: string;
  readonly #onChange: () => void;
  #phase: DeploymentPhase = 'planning';
  #underWay = 0;

  /** @param prefix - keeps the keys of several workflows of one deployment apart. */
  constructor(deployment: DeploymentRef, prefix: string, onChange: () => void = () => undefined) {
    const { project, environment, number } = deployment;
    this.#deployment = { project, environment, number };
    this.#prefix = prefix;
    this.#onChange = onChange;
  }

  get phase(): DeploymentPhase {
    return this.#phase;
  }

  enter(phase: DeploymentPhase, detail?: string): void {
    if (phase === this.#phase && detail === undefined) return;
    if (phase !== this.#phase) enterPhase(phase);
    this.#phase = phase;
    const input = { deployment: this.#deployment, phase, ...(detail === undefined ? {} : { detail }) };
    this.background(callAnyway(note.recordPhase, phase, input));
    this.#onChange();
  }

  /** Runs one step of the timeline; a failure is recorded and thrown on. */
  async step<T>(name: string, work: () => Promise<T>, judge?: (value: T) => StepJudgement): Promise<T> {
    const began = Date.now();
    const startedAt = isoNow();
    try {
      const value = await work();
      const { verdict, detail } = judge?.(value) ?? { verdict: 'passed' };
      this.add({
        name,
        startedAt,
        durationMs: Date.now() - began,
        verdict,
        ...(detail === undefined ? {} : { detail }),
      });
      return value;
    } catch (error) {
      const detail = showFailure(error);
      const verdict = failureType(error) === 'Aborted' ? 'inconclusive' : 'errored';
      this.add({ name, startedAt, durationMs: Date.now() - began, verdict, detail });
      throw error;
    }
  }

  add(step: StepRecord): void {
    this.steps.push(step);
    const key = `${this.#prefix}/${this.steps.length}`;
    this.background(callAnyway(note.recordStep, step.name, { deployment: this.#deployment, key, step }));
    this.#onChange();
  }

  notify(notice: Notice): void {
    this.background(callAnyway(message.sendNotice, `${notice.level}: ${notice.title}`, notice));
  }

  /** Lets something go on by itself; its failure is logged and costs nothing. */
  background(work: Promise<unknown>): void {
    this.#underWay += 1;
    work
      .catch((error: unknown) => log.warn('a fact was not recorded', { message: describeFailure(error).message }))
      .finally(() => (this.#underWay -= 1));
  }

  /** What is not recorded when a workflow closes is never recorded, so its end waits a little. */
  async drained(): Promise<void> {
    if (this.#underWay > 0) await condition(() => this.#underWay === 0, drainMs, { summary: 'facts on their way' });
  }
}

export interface StepJudgement {
  readonly verdict: Verdict;
  readonly detail?: string;
}
