import { CancellationScope, CancelledFailure, isCancellation, patched, sleep } from '@temporalio/workflow';
import { describeFailure } from '../../domain/failures.ts';
import type { RunOutcome } from '../../domain/outcome.ts';
import type { RunPlan, StagePlan, StageReport } from '../../domain/run.ts';
import { sentences } from '../../domain/sentences.ts';
import { type StageEnd, nextStages } from '../../domain/stage-graph.ts';

/** How the stages of a run ended it. */
export interface CheckEnding {
  readonly outcome: Extract<RunOutcome, 'failed' | 'errored'>;
  readonly reason: string;
}

export interface CheckOptions {
  readonly plan: RunPlan;
  /** Runs one stage where the checkout is. */
  readonly runStage: (stage: StagePlan) => Promise<StageReport>;
  /** Told of the reports there are whenever one has come, in the order of the plan. */
  readonly onReport: (reports: readonly StageReport[]) => void;
  /** After such an error nothing can be run on the machine any more, and all of it begins anew. */
  readonly isMachineGone: (error: unknown) => boolean;
  /** Why somebody has stopped it, a sentence. */
  readonly whyStopped: () => string;
}

/** Judgement; time-outs of one queue that are due together come within milliseconds. */
const momentMs = 1_000;

interface Running {
  readonly stage: StagePlan;
  readonly scope: CancellationScope;
  readonly done: Promise<void>;
}

/**
 * The stages of one checkout, each as soon as what it needs has ended. A plan without `needs` is one stage after the other.
 *
 * A stage for `always` runs in a scope of its own: it is what must still be done when the run has failed or was aborted, and only a second
 * abort ends it.
 */
export class Check {
  readonly #options: CheckOptions;
  readonly #running = new Map<string, Running>();
  readonly #ended = new Map<string, StageEnd>();
  readonly #reports = new Map<string, StageReport>();
  #stopping: string | undefined;
  #first: { readonly ending: CheckEnding } | { readonly error: unknown } | undefined;
  #machineGone: { readonly error: unknown } | undefined;

  constructor(options: CheckOptions) {
    this.#options = options;
  }

  /**
   * @returns how a stage ended the run; undefined: all that ran passed.
   * @throws what kept the first stage that could not be judged from being so, a cancellation of the scope it is called in, or that the machine
   *   is gone; in each case nothing of it runs any more.
   */
  async run(): Promise<CheckEnding | undefined> {
    const { plan } = this.#options;
    const around = CancellationScope.current();
    for (;;) {
      const aborted = around.consideredCancelled;
      const { start, settle } = nextStages(
        plan.stages,
        { ended: this.#ended, running: this.#names(), stopping: this.#stopping !== undefined, aborted },
        plan.concurrency,
      );
      for (const { stage, end, why } of settle) {
        this.#ended.set(stage.name, end);
        // What never had its turn is told of by what kept it from it.
        if (end === 'skipped') this.#report({ ...idle(stage.name, why), skipped: true });
      }
      for (const stage of start) this.#start(stage);
      if (this.#running.size === 0) break;
      await Promise.race([...this.#running.values()].map(({ done }) => done));
      if (this.#machineGone !== undefined) {
        await this.#endAll();
        throw this.#machineGone.error;
      }
    }
    if (around.consideredCancelled) throw new CancelledFailure('the run was aborted');
    if (this.#first === undefined) return undefined;
    if ('error' in this.#first) throw this.#first.error;
    return this.#first.ending;
  }

  /** Nothing can be run on the machine any more: what it throws then is that, and all of it begins anew. */
  get isMachineGone(): boolean {
    return this.#machineGone !== undefined;
  }

  /** Ends also what was to run after an abort. */
  hurry(): void {
    for (const { scope } of this.#running.values()) scope.cancel();
  }

  #names(): ReadonlySet<string> {
    return new Set(this.#running.keys());
  }

  #start(stage: StagePlan): void {
    const shelter = stage.outcome === 'always' ? { parent: new CancellationScope({ cancellable: false }) } : {};
    const scope = new CancellationScope({ cancellable: true, ...shelter });
    const report = scope.run(() => this.#options.runStage(stage));
    const startedMs = Date.now();
    const done = report.then(
      (settled) => this.#settled(stage, settled),
      (error: unknown) => this.#failed(stage, startedMs, error),
    );
    this.#running.set(stage.name, { stage, scope, done });
  }

  #settled(stage: StagePlan, report: StageReport): void {
    this.#running.delete(stage.name);
    this.#report(report);
    const { verdict } = report;
    if (verdict !== 'failed' && verdict !== 'errored') {
      this.#ended.set(stage.name, report.skipped === true ? 'skipped' : 'passed');
      return;
    }
    this.#ended.set(stage.name, 'failed');
    this.#first ??= { ending: { outcome: verdict, reason: stageReason(report) } };
    this.#stopAfter(stage);
  }

  #failed(stage: StagePlan, startedMs: number, error: unknown): void {
    this.#running.delete(stage.name);
    if (isCancellation(error)) {
      this.#ended.set(stage.name, 'blocked');
      const why = this.#stopping === undefined ? this.#options.whyStopped() : `Ended because ${this.#stopping} failed.`;
      this.#report(idle(stage.name, why, startedMs));
      return;
    }
    if (this.#options.isMachineGone(error)) {
      this.#machineGone ??= { error };
      return;
    }
    this.#ended.set(stage.name, 'failed');
    this.#first ??= { error };
    if (patched('2026-11-26-errored-stage')) {
      this.#report({ ...idle(stage.name, describeFailure(error).message, startedMs), verdict: 'errored' });
    }
    this.#stopAfter(stage);
  }

  #stopAfter(stage: StagePlan): void {
    if (stage.failFast === false || this.#stopping !== undefined) return;
    this.#stopping = stage.name;
    for (const beside of this.#running.values()) {
      if ((beside.stage.outcome ?? 'success') === 'success') beside.scope.cancel();
    }
  }

  /** Waits until nothing of it runs any more, and ends what does not do so by itself. */
  async #endAll(): Promise<void> {
    const all = Promise.all([...this.#running.values()].map(({ done }) => done));
    if (this.#running.size > 0) {
      // All that was on the machine mostly comes to the same end in the same moment, and what has ended is not to be cancelled.
      const moment = new CancellationScope({ cancellable: true });
      await moment
        .run(() => Promise.race([all, sleep(momentMs, { summary: 'for what ends by itself' })]))
        .catch(() => undefined);
      moment.cancel();
    }
    this.hurry();
    await all;
  }

  #report(report: StageReport): void {
    this.#reports.set(report.name, report);
    this.#options.onReport(this.#options.plan.stages.flatMap(({ name }) => this.#reports.get(name) ?? []));
  }
}

/** Of a stage that did not run to its end: nothing was found out by it. */
function idle(name: string, detail: string, startedMs = Date.now()): StageReport {
  return {
    name,
    verdict: 'inconclusive',
    steps: [],
    startedAt: new Date(startedMs).toISOString(),
    durationMs: Date.now() - startedMs,
    detail,
  };
}

function stageReason(report: StageReport): string {
  // The sentence of a gate, which is none of a step.
  if (report.detail?.startsWith('Gate ') === true)
    return sentences(`${report.name} ${report.verdict}: ${report.detail}`);
  const bad = report.steps.find((step) => step.verdict === report.verdict);
  const what = bad === undefined ? report.name : `${report.name}, step ${bad.name}`;
  return sentences(`${what} ${report.verdict}: ${bad?.detail ?? report.detail ?? 'see its log'}`);
}
