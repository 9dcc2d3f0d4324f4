import { condition, patched } from '@temporalio/workflow';
import type { ForgeActivities } from '../activities/contracts.ts';
import type { ForgeStatus } from '../domain/deployment.ts';
import type { RunPlan, RunRef, SourceEvent, StageReport } from '../domain/run.ts';
import type { Verdict } from '../domain/verdict.ts';
import { say } from './call.ts';
import { telling } from './proxies/word.ts';

const states: Readonly<Record<Verdict, ForgeStatus['state']>> = {
  passed: 'success',
  failed: 'failure',
  errored: 'error',
  inconclusive: 'error',
};

/** How a run ended, for the forge. */
interface Ending {
  readonly outcome: string;
  readonly reason: string;
}

/**
 * Tells the forge of a project how a run goes: one call at a time, each with whatever is new by then, so that nothing is told backwards and a
 * slow forge is told less often. Does nothing for a project that does not want it, which is how runs of before stay as they were.
 */
export class ForgeTeller {
  readonly #event: SourceEvent;
  #plan: RunPlan | undefined;
  #wanted = new Map<string, ForgeStatus>();
  readonly #told = new Map<string, string>();
  #comment: { readonly body: string; readonly ofRecord?: true } | undefined;
  #busy = false;
  /** What is said without a plan, one after the other; undefined where nothing was. */
  #alone: Promise<void> | undefined;

  constructor(event: SourceEvent) {
    this.#event = event;
  }

  /**
   * @param ending - undefined while it runs.
   * @param comments - whether the end is commented at once; `later` by {@link comment}. Default `now`.
   */
  update(
    plan: RunPlan | undefined,
    stages: readonly StageReport[],
    ending?: Ending,
    comments: 'now' | 'later' = 'now',
  ): void {
    if (plan?.tellsForge !== true) return;
    this.#plan = plan;
    const statuses = isTaken(plan)
      ? [overall(ending), ...plan.stages.map(({ name }) => statusOf(name, stages, ending))]
      : this.#skippedStatuses(plan);
    this.#wanted = new Map(statuses.map((status) => [status.context, status]));
    if (ending !== undefined && comments === 'now' && this.#event.pullRequest !== undefined) {
      this.#comment = { body: commentOf(plan, stages, ending) };
    }
    if (!this.#busy) void this.#tell();
  }

  /** That it waits for its turn: of the whole alone, for none of its stages is under way. */
  updateWaiting(plan: RunPlan, description: string): void {
    if (plan.tellsForge !== true) return;
    this.#plan = plan;
    this.#wanted = new Map([['slipway', { context: 'slipway', state: 'pending', description }]]);
    if (!this.#busy) void this.#tell();
  }

  /** The comment of its pull request, once what the run showed is on record. */
  comment(stages: readonly StageReport[], ending: Ending): void {
    if (this.#plan === undefined) return;
    this.#comment = { body: commentOf(this.#plan, stages, ending), ofRecord: true };
    if (!this.#busy) void this.#tell();
  }

  /**
   * How a run ended that never had a plan, once that is on record: it is found by its key, and whether its project wants it the activity finds out.
   */
  updateUnplanned({ project, key }: Pick<RunRef, 'project' | 'key'>, ending: Ending): void {
    const { pullRequest, fork } = this.#event;
    const status = overall({ ...ending, reason: ending.reason.split('\n', 1)[0] ?? '' });
    // A comment looks into the repository, where nothing of a fork is fetched before somebody allowed it.
    const isCommented = pullRequest !== undefined && fork !== true;
    const body = `**${ending.outcome}**: ${inCode(ending.reason)}`;
    this.#sayAlone({
      ...{ project, run: 0, runKey: key, commit: this.#event.after, statuses: [status] },
      ...(isCommented ? { comment: { pullRequest, body, ofRecord: true as const } } : {}),
    });
  }

  /** The status of the whole where there is no plan, for a project that wants its forge to be told. */
  updateAlone({ project, number }: RunRef, state: ForgeStatus['state'], description: string): void {
    const statuses = [{ context: 'slipway', state, description }];
    this.#sayAlone({ project, run: number, commit: this.#event.after, statuses });
  }

  /** Waits until the last word was said or given up. */
  async drained(): Promise<void> {
    if (this.#alone !== undefined) await this.#alone;
    if (this.#busy) await condition(() => !this.#busy);
  }

  /**
   * What was not run has not passed: whatever waits for the check of a pull request goes on waiting, until another run has looked at its commit. Of
   * a branch nothing is told, for the same commit may be that of a pull request whose run has looked at it.
   */
  #skippedStatuses({ skipped }: RunPlan): ForgeStatus[] {
    if (this.#event.kind !== 'pull-request') return [];
    return [{ context: 'slipway', state: 'pending', description: `Nothing was run: ${skipped ?? ''}`, abstains: true }];
  }

  #sayAlone(input: Parameters<ForgeActivities['tellForge']>[0]): void {
    const before = this.#alone ?? Promise.resolve();
    this.#alone = before.then(() => say(telling.tellForge, input));
  }

  async #tell(): Promise<void> {
    this.#busy = true;
    if (this.#alone !== undefined) await this.#alone;
    for (let plan = this.#plan; plan !== undefined; plan = this.#plan) {
      const statuses = [...this.#wanted.values()].filter((status) => this.#told.get(status.context) !== textOf(status));
      const comment = this.#comment;
      const { pullRequest } = this.#event;
      if (statuses.length === 0 && comment === undefined) break;
      this.#comment = undefined;
      // Said or given up, it is not said again: what comes later says more.
      for (const status of statuses) this.#told.set(status.context, textOf(status));
      const input = {
        project: plan.run.project,
        run: plan.run.number,
        commit: plan.commit.sha,
        statuses,
        ...(comment === undefined || pullRequest === undefined ? {} : { comment: { pullRequest, ...comment } }),
      };
      await say(telling.tellForge, input);
    }
    this.#busy = false;
  }
}

/** Whether something of it is run; what was told of the others before {@link patched} came is told again by a replay. */
export function isTaken({ skipped }: RunPlan): boolean {
  return skipped === undefined || !patched('2026-11-26-skips-told');
}

function textOf({ state, description }: ForgeStatus): string {
  return `${state} ${description}`;
}

function overall(ending: Ending | undefined): ForgeStatus {
  if (ending === undefined) return { context: 'slipway', state: 'pending', description: 'The run is under way.' };
  const state = ending.outcome === 'succeeded' ? 'success' : ending.outcome === 'failed' ? 'failure' : 'error';
  const description = `${ending.outcome}: ${ending.reason}`;
  return { context: 'slipway', state, description, ...abstention(ending) };
}

function statusOf(name: string, stages: readonly StageReport[], ending: Ending | undefined): ForgeStatus {
  const context = `slipway/${name}`;
  const report = stages.find((stage) => stage.name === name);
  if (report?.skipped === true) {
    const description = `skipped: ${report.detail ?? 'nothing of it was to be run'}`;
    return { context, state: 'success', description, abstains: true };
  }
  if (report !== undefined) {
    const bad = report.steps.find(({ verdict }) => verdict === report.verdict && verdict !== 'passed');
    const detail = bad === undefined ? report.detail : `${bad.name}: ${bad.detail ?? 'see its log'}`;
    const took = `${(report.durationMs / 1_000).toFixed(1)} s`;
    const first = detail?.split('\n', 1)[0];
    return {
      context,
      state: states[report.verdict],
      description: `${report.verdict} after ${took}${first === undefined ? '' : `: ${first}`}`,
      ...(report.verdict === 'failed' ? {} : abstention(ending)),
    };
  }
  if (ending === undefined) return { context, state: 'pending', description: 'Its turn has not come, or it runs.' };
  return {
    ...{ context, state: 'error', description: `Was not run: the run ended ${ending.outcome}.` },
    ...abstention(ending),
  };
}

/** A newer run that took its place speaks for the commit, where it is of the same one. */
function abstention(ending: Ending | undefined): Pick<ForgeStatus, 'abstains'> {
  return ending?.outcome === 'superseded' ? { abstains: true } : {};
}

/** Repository content as code, so that it is no markup and mentions nobody. */
function inCode(text: string): string {
  return `\`${text
    .replaceAll('`', "'")
    .replaceAll(/[\r\n|]+/g, ' ')
    .slice(0, 300)}\``;
}

/** What a pull request reads. */
function commentOf(plan: RunPlan, stages: readonly StageReport[], { outcome, reason }: Ending): string {
  const rows = stages.map(
    ({ name, verdict, durationMs, skipped }) =>
      `| ${name} | ${skipped === true ? 'skipped' : verdict} | ${(durationMs / 1_000).toFixed(1)} s |`,
  );
  return [
    `**${plan.skipped === undefined ? outcome : 'skipped'}**: run ${plan.run.number} of ${inCode(plan.commit.sha.slice(0, 12))}`,
    '',
    inCode(reason),
    ...(rows.length === 0 ? [] : ['', '| stage | verdict | took |', '| --- | --- | --- |', ...rows]),
    '',
    plan.environments.length === 0
      ? 'Merging it deploys what the route of its branch says.'
      : `Leads to ${plan.environments.join(', ')}.`,
  ].join('\n');
}
