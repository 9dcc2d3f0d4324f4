import type { DeploymentResult } from '../domain/deployment.ts';
import { type FailureSummary, describeFailure } from '../domain/failures.ts';
import { holdingOutcomes, type Outcome } from '../domain/outcome.ts';
import type { LiveRelease } from '../domain/release.ts';
import { type Ending, endingOfDeath, outcomeOfUndo, owesData, sayStop } from '../domain/roll-out-ending.ts';
import { sentences } from '../domain/sentences.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { StepJudgement } from './journal.ts';
import { change } from './proxies/deployment.ts';
import { isoNow } from './progress.ts';
import type { RollOutCore } from './roll-out-core.ts';
import { infrastructureStays } from './stages/infrastructure.ts';
import { type Trigger, cleanUp, undo } from './stages/undo.ts';
import { strategies } from './strategies/index.ts';
import type { TurnReport, UnfinishedData } from './turn.ts';

/**
 * What is done when the way forward of a roll-out has ended: the release is settled, left where a person must decide, or taken back.
 *
 * @returns what the environment is told.
 */
export async function settleRollOut(core: RollOutCore, ending: Ending): Promise<TurnReport> {
  switch (ending.kind) {
    case 'passed':
      return await succeed(core, ending);
    case 'hold':
      return report(core, 'held', ending.reason, {
        live: core.newLive(),
        previous: core.live,
        ...(ending.watch === undefined ? {} : { watch: ending.watch }),
        hold: ending.reason,
      });
    case 'bad':
      return core.done.started
        ? await takeBack(core, ending, { why: ending.reason, decidedAt: ending.decidedAt, manual: false })
        : await unchanged(core, ending.outcome, ending.reason);
    case 'stopped': {
      const { stop, at } = ending;
      const reason = sayStop(stop);
      if (!core.done.started) return await unchanged(core, 'aborted', reason);
      if (stop.kind === 'abort' && stop.noRollback === true) return leftAsItIs(core, reason);
      return await takeBack(core, ending, { why: reason, decidedAt: at, manual: true });
    }
  }
}

async function succeed(core: RollOutCore, ending: Extract<Ending, { kind: 'passed' }>): Promise<TurnReport> {
  core.writeWatch();
  core.journal.enter('settling');
  const { version } = core.input.deployment;
  const plan = core.requirePlan();
  const run = core.context(plan);
  const traffic = { ...run.nextChange(), slot: run.slot, backup: null, settles: true };
  const left = await core.journal.step(
    'settle',
    () =>
      core.journal.call(change.ensureTraffic, `${version} alone, without a backup`, traffic).then(
        () => undefined,
        (error: unknown) => describeFailure(error),
      ),
    judgeSettling,
  );
  // Its watch tells what was. What engine and router say now is a verdict too, and the backup is what answers users meanwhile.
  if (left !== undefined && isDeath(left)) {
    return await settleRollOut(core, endingOfDeath(plan.policy, left.message, isoNow(), ending.watch));
  }
  // One after the other: the fence refuses the earlier number once the later one has begun.
  await cleanUp(run);
  const { watch, reason } = ending;
  return report(core, 'succeeded', reason, {
    live: core.newLive(),
    previous: core.live,
    ...(watch === undefined ? {} : { watch }),
  });
}

function isDeath({ type }: FailureSummary): boolean {
  return type === 'ReleaseDegraded';
}

function judgeSettling(left: FailureSummary | undefined): StepJudgement {
  if (left === undefined) return { verdict: 'passed' };
  if (isDeath(left)) return { verdict: 'failed', detail: left.message };
  // The release serves and was watched; a backup entry too many in the router's file is no reason to call it bad.
  return { verdict: 'inconclusive', detail: `still has its backup: ${left.message}` };
}

/** Ended before the first change. */
async function unchanged(core: RollOutCore, outcome: Outcome, reason: string): Promise<TurnReport> {
  if (core.plan !== undefined) await cleanUp(core.context(core.plan));
  const stays = core.applied ? sentences(reason, infrastructureStays) : reason;
  return report(core, outcome, stays, { live: core.live, previous: null, untouched: true });
}

function leftAsItIs(core: RollOutCore, reason: string): TurnReport {
  const hold = sentences(reason, 'What was half done stays as it is: say what is live with `unlock`, or roll back.');
  const live = core.done.moved ? core.newLive() : core.live;
  return report(core, 'held', hold, { live, previous: core.done.moved ? core.live : null, hold });
}

async function takeBack(
  core: RollOutCore,
  ending: Extract<Ending, { kind: 'bad' | 'stopped' }>,
  trigger: Trigger,
): Promise<TurnReport> {
  const plan = core.requirePlan();
  const run = core.context(plan);
  const watch = ending.kind === 'bad' && ending.watch !== undefined ? { watch: ending.watch } : {};
  const closed = strategies[plan.identity.strategy.kind].pointOfNoReturn(run);
  if (closed !== undefined) {
    const hold = sentences(
      trigger.why,
      `It stays as it is, for ${closed}`,
      'Decide with `rollback`, or `unlock` with what is live.',
    );
    const live = core.done.moved ? core.newLive() : core.live;
    return report(core, 'held', hold, { live, previous: core.live, hold, ...watch });
  }
  const undoing = undo(run, trigger, () => core.data);
  core.writeWatch();
  const { report: rollback, complete, data } = await undoing;
  core.data = data;
  const servesAgain = core.live?.version;
  const known = { ending, why: trigger.why, complete, data, moved: core.done.moved, servesAgain };
  const { outcome, reason } = outcomeOfUndo(known);
  const held = holdingOutcomes.includes(outcome);
  return report(core, outcome, reason, {
    live: core.live,
    previous: null,
    rollback,
    ...(held ? { hold: reason, ...unfinishedData(core, complete) } : {}),
    ...watch,
  });
}

function unfinishedData({ done, data, backup, live }: RollOutCore, complete: boolean): { data?: UnfinishedData } {
  const open = owesData({ complete, data, touched: done.migrated || done.moved });
  if (!open || backup?.blob === undefined || live === null) return {};
  return { data: { to: live.version, backup, migrated: done.migrated } };
}

function report(
  core: RollOutCore,
  outcome: Outcome,
  reason: string,
  rest: {
    readonly live: LiveRelease | null;
    readonly previous: LiveRelease | null;
    readonly hold?: string;
    readonly watch?: Verdict;
    readonly rollback?: DeploymentResult['rollback'];
    readonly data?: UnfinishedData;
    /** The environment keeps what it knew. */
    readonly untouched?: boolean;
  },
): TurnReport {
  core.writeWatch();
  const { project, environment, number } = core.input.deployment;
  const { live, previous, hold, watch, rollback, data, untouched } = rest;
  const result: DeploymentResult = {
    project,
    environment,
    number,
    outcome,
    reason,
    ...(live === null ? {} : { live }),
    steps: core.journal.steps,
    ...(rollback === undefined ? {} : { rollback }),
    ...(watch === undefined ? {} : { watch }),
  };
  return {
    kind: 'result',
    result,
    live,
    previous,
    ...(untouched === true ? { untouched } : {}),
    ...(hold === undefined ? {} : { hold }),
    ...(data === undefined ? {} : { data }),
  };
}
