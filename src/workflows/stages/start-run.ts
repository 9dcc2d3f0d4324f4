import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { CancellationScope, getExternalWorkflowHandle, isCancellation, sleep, startChild } from '@temporalio/workflow';
import { failureType, tellFailure } from '../../domain/failures.ts';
import { type Outcome, outcomes } from '../../domain/outcome.ts';
import type { RunInput, RunPlan, StagePlan, StageReport } from '../../domain/run.ts';
import { nameOfRun } from '../../domain/run-start.ts';
import { sentences } from '../../domain/sentences.ts';
import type { Verdict } from '../../domain/verdict.ts';
import { abortRunSignal, runId } from '../messages.ts';
import { brief, call } from '../call.ts';
import { following } from '../proxies/record.ts';
import { scheduling } from '../proxies/run.ts';
import { attributesOf, isoNow, took } from '../progress.ts';

/** A run that a stage has started. */
export interface StartedRun {
  readonly stage: string;
  readonly project: string;
  readonly number: number;
}

interface Started extends StartedRun {
  readonly key: string;
  /** What its workflow returned; undefined when it closed without a word. Never rejects. */
  readonly ended: Promise<unknown>;
}

interface StartsOptions {
  /** The run that they belong to. */
  readonly by: RunInput;
  /** Starts a run by its input: the workflow that runs it, which this file must not know. */
  readonly workflow: (input: RunInput) => Promise<unknown>;
  readonly onStart: () => void;
}

/** How long a run that is on its way to be started by somebody else may not be there yet, ms: the API looks every 10 s. */
const startsWithinMs = 120_000;

/**
 * The runs of other projects that the stages of a run have started, each once: a checkout that begins anew elsewhere finds what an earlier
 * one had started, and goes on waiting for it.
 */
export class Starts {
  readonly #options: StartsOptions;
  readonly #started = new Map<string, Started>();

  constructor(options: StartsOptions) {
    this.#options = options;
  }

  get list(): readonly StartedRun[] {
    return [...this.#started.values()].map(({ stage, project, number }) => ({ stage, project, number }));
  }

  /**
   * Starts what the stage says, and waits for it where it says so. Whatever keeps it from being started is the verdict of the stage.
   *
   * @param goesOn - asked after a cancellation: the stage will be run again, so what it has started is left alone.
   * @throws the cancellation of the scope it is called in.
   */
  async run(
    plan: RunPlan,
    stage: StagePlan,
    starts: NonNullable<StagePlan['starts']>,
    goesOn: () => boolean,
  ): Promise<StageReport> {
    const startedMs = Date.now();
    const startedAt = isoNow();
    const report = (verdict: Verdict, detail: string): StageReport => ({
      name: stage.name,
      verdict,
      steps: [],
      startedAt,
      durationMs: Date.now() - startedMs,
      detail: sentences(detail),
    });
    try {
      const { run } = plan;
      const started = this.#started.get(stage.name) ?? (await this.#start(run, stage.name, starts));
      const name = nameOfRun(started);
      if (!starts.wait) return report('passed', `${name} has begun`);
      const ended = await this.#wait(plan, stage, started, goesOn);
      if (ended === 'late') {
        return report('errored', `${name} did not end within ${took(stage.timeoutMs)}, and was aborted`);
      }
      const end = readEnding(ended);
      if (end === undefined) return report('errored', `${name} ended without a word`);
      return report(verdictOf(end.outcome), `${name} ${words[end.outcome] ?? `ended ${end.outcome}`}: ${end.reason}`);
    } catch (error) {
      if (isCancellation(error)) throw error;
      return report(wrong.includes(failureType(error)) ? 'failed' : 'errored', tellFailure(error));
    }
  }

  async #start(run: RunPlan['run'], stage: string, starts: NonNullable<StagePlan['starts']>): Promise<Started> {
    const { project } = starts;
    const { by, workflow, onStart } = this.#options;
    // Waits for the end of a try that an abort interrupts: it may have accepted the run all the same.
    const { number, input } = await call(
      scheduling.acceptStartedRun,
      `asks for a run of ${project}`,
      { run, stage, starts, by },
      { cancellationType: 'WAIT_CANCELLATION_COMPLETED' },
    );
    const { ended } = await CancellationScope.nonCancellable(() => begin(workflow, input));
    const started = { stage, project, number, key: input.key, ended };
    this.#started.set(stage, started);
    onStart();
    return started;
  }

  async #wait(plan: RunPlan, stage: StagePlan, started: Started, goesOn: () => boolean): Promise<unknown> {
    const waiting = new CancellationScope({ cancellable: true });
    const limit = `for ${nameOfRun(started)}, at most`;
    try {
      const ended = await waiting.run(() =>
        Promise.race([started.ended, sleep(stage.timeoutMs, { summary: limit }).then(() => 'late')]),
      );
      if (ended === 'late') await abort(plan, stage, started, `it was waited for ${took(stage.timeoutMs)}`);
      return ended;
    } catch (error) {
      if (!goesOn()) await abort(plan, stage, started, 'nobody waits for it any more');
      throw error;
    } finally {
      waiting.cancel();
    }
  }
}

/** @returns the promise of what it returns, in an object: awaiting this must not be awaiting that. */
async function begin(workflow: StartsOptions['workflow'], input: RunInput): Promise<{ ended: Promise<unknown> }> {
  const workflowId = runId(input.project, input.key);
  try {
    const { ref, after, author } = input.event;
    const child = await startChild(workflow, {
      workflowId,
      args: [input],
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      // It ends by its own word: whoever ends this one from outside does not leave a half-made stage over there.
      parentClosePolicy: 'ABANDON',
      cancellationType: 'ABANDON',
      staticSummary: brief(`${input.project}: ${ref} at ${after.slice(0, 12)} by ${author}`),
      typedSearchAttributes: attributesOf({ project: input.project, phase: 'preparing' }),
    });
    return { ended: child.result().catch(() => undefined) };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    // The API has found the accepted run first.
    return {
      ended: call(following.awaitTurnClosed, `until ${workflowId} ends`, { workflowId, startsWithinMs }).catch(
        () => undefined,
      ),
    };
  }
}

async function abort({ run }: RunPlan, stage: StagePlan, { project, key }: Started, reason: string): Promise<void> {
  await CancellationScope.nonCancellable(() =>
    getExternalWorkflowHandle(runId(project, key))
      .signal(abortRunSignal, { by: `${nameOfRun(run)}, stage ${stage.name}`, reason })
      // It has ended by itself.
      .catch(() => undefined),
  );
}

/** Failures of what the stage says; every other is one of what is around it. */
const wrong = ['NotAllowed', 'InvalidInput', 'CommitNotFound', 'DefinitionInvalid'];

const words: Readonly<Partial<Record<Outcome, string>>> = {
  succeeded: 'succeeded',
  failed: 'failed',
  aborted: 'was aborted',
  superseded: 'was superseded',
};

/** What was not looked at to its end was not found to be bad. */
function verdictOf(outcome: Outcome): Verdict {
  if (outcome === 'succeeded') return 'passed';
  return outcome === 'failed' ? 'failed' : 'errored';
}

function readEnding(value: unknown): { readonly outcome: Outcome; readonly reason: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { outcome, reason } = value as { readonly outcome?: unknown; readonly reason?: unknown };
  const known = outcomes.find((one) => one === outcome);
  return known === undefined || typeof reason !== 'string' ? undefined : { outcome: known, reason };
}
