import { CancellationScope, type ActivityOptions, condition, log, patched, workflowInfo } from '@temporalio/workflow';
import type { Notice, Told } from '../activities/contracts.ts';
import type { DeploymentPhase, DeploymentRef, StepRecord } from '../domain/deployment.ts';
import { describeFailure, failureType, showFailure } from '../domain/failures.ts';
import type { Verdict } from '../domain/verdict.ts';
import { type Callable, call, callAnyway, callTelling } from './call.ts';
import { note } from './proxies/record.ts';
import { message } from './proxies/word.ts';
import { enterPhase, isoNow } from './progress.ts';

/** How long a workflow waits at its end for facts and notices on their way, ms. */
const drainMs = 15_000;
/** Before, each phase and each step was an activity, whose end woke the workflow once more. */
const factsRide = '2026-11-26-facts-ride';

/**
 * What a workflow tells of a deployment while it goes on. Nobody waits for it: a slow store delays no traffic.
 *
 * Facts ride with the next call ({@link Journal.call}); what is still here when a workflow task is at its end goes by itself.
 */
export class Journal {
  readonly steps: StepRecord[] = [];
  readonly #deployment: DeploymentRef;
  readonly #prefix: string;
  readonly #onChange: () => void;
  #phase: DeploymentPhase = 'planning';
  #underWay = 0;
  #waiting: Told['facts'][number][] = [];
  #leaving = false;
  #told = 0;

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

  /**
   * Leaves what still waits to the outcome, which has the steps.
   *
   * @returns under which key they are told, each with its place in {@link steps} behind it, from 1; nothing where each was told by itself.
   */
  handOver(): { readonly stepsKey?: string } {
    if (!patched(factsRide)) return {};
    this.#waiting = [];
    return { stepsKey: this.#prefix };
  }

  enter(phase: DeploymentPhase, detail?: string): void {
    if (phase === this.#phase && detail === undefined) return;
    if (phase !== this.#phase) enterPhase(phase);
    this.#phase = phase;
    const more = detail === undefined ? {} : { detail };
    if (patched(factsRide)) {
      this.#told += 1;
      const key = `${workflowInfo().runId}/${this.#told}`;
      this.#tell({ kind: 'phase', key, phase, at: isoNow(), ...more });
    } else this.background(callAnyway(note.recordPhase, phase, { deployment: this.#deployment, phase, ...more }));
    this.#onChange();
  }

  /** As {@link enter}, for a phase that somebody else tells: by the outcome, or by the workflow that has the turn. */
  pass(phase: DeploymentPhase, detail?: string): void {
    if (!patched(factsRide)) {
      this.enter(phase, detail);
      return;
    }
    if (phase !== this.#phase) enterPhase(phase);
    this.#phase = phase;
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
    if (patched(factsRide)) this.#tell({ kind: 'step', key, step });
    else this.background(callAnyway(note.recordStep, step.name, { deployment: this.#deployment, key, step }));
    this.#onChange();
  }

  /** Calls an activity, which takes along what has to be told. */
  call<I, R>(activity: Callable<I, R>, summary: string, input: I, options: ActivityOptions = {}): Promise<R> {
    const told = this.#take();
    return told === undefined
      ? call(activity, summary, input, options)
      : callTelling(activity, summary, input, told, options);
  }

  notify(notice: Notice): void {
    void this.tell(notice);
  }

  /** As {@link notify}. @returns whether it is out, once that is known. */
  async tell(notice: Notice): Promise<boolean> {
    const sending = callAnyway(message.sendNotice, `${notice.level}: ${notice.title}`, notice);
    this.background(sending);
    return await sending.then(
      () => true,
      () => false,
    );
  }

  /** Lets something go on by itself; its failure is logged and costs nothing. */
  background(work: Promise<unknown>): void {
    this.#underWay += 1;
    work
      .catch((error: unknown) => log.warn('a fact was not recorded', { message: describeFailure(error).message }))
      .finally(() => (this.#underWay -= 1));
  }

  /** What is not recorded when a workflow closes is never recorded, so its end waits a little. What waits to ride is not waited for. */
  async drained(): Promise<void> {
    if (this.#underWay > 0) await condition(() => this.#underWay === 0, drainMs, { summary: 'facts on their way' });
  }

  #tell(fact: Told['facts'][number]): void {
    this.#waiting.push(fact);
    if (this.#leaving) return;
    this.#leaving = true;
    void atTheEndOfTheTask().then(() => {
      this.#leaving = false;
      const told = this.#take();
      if (told === undefined) return;
      const names = told.facts.map((fact) => (fact.kind === 'phase' ? fact.phase : fact.step.name));
      this.background(callAnyway(note.recordFacts, names.join(', '), told));
    });
  }

  #take(): Told | undefined {
    if (this.#waiting.length === 0) return undefined;
    const facts = this.#waiting;
    this.#waiting = [];
    return { deployment: this.#deployment, facts };
  }
}

/** Settles when nothing goes on any more in this workflow task; what is called then still goes out with its answer. */
function atTheEndOfTheTask(): Promise<void> {
  let asked = false;
  // Asked once when it is made, and again when the SDK has run everything that could go on.
  return CancellationScope.nonCancellable(() =>
    condition(() => {
      const again = asked;
      asked = true;
      return again;
    }),
  );
}

export interface StepJudgement {
  readonly verdict: Verdict;
  readonly detail?: string;
}
