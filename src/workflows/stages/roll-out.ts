import { describeFailure, failure, failureType } from '../../domain/failures.ts';
import { type LiveRelease, otherSlot } from '../../domain/release.ts';
import type { Journal } from '../journal.ts';
import { call } from '../call.ts';
import { awaitState, change, probeLimits, startLimits, watching } from '../proxies/deployment.ts';
import { long } from '../proxies/run.ts';
import { compensation, trafficBack, undoLimits } from '../proxies/undo.ts';
import { took } from '../progress.ts';
import { taskQueues } from '../queues.ts';
import { withoutEnd } from '../saga.ts';
import type { Rollout } from '../strategies/strategy.ts';
import { type Patient, tellUnhealthy, watchStart } from './notices.ts';

/** The moves that strategies are made of. Each registers its undo before it touches anything. */

/** Starts the release in its slot and waits until it is healthy; no traffic yet. */
export async function startRelease(run: Rollout): Promise<void> {
  const { slot, journal, plan } = run;
  const { limits } = plan.policy;
  const version = plan.identity.release.version;
  run.saga.register({
    heading: 'stop-current',
    run: async () => {
      const stop = { slot, drainMs: limits.drainMs, graceMs: limits.stopGraceMs, remove: false };
      const waits = undoLimits(limits.drainMs + limits.stopGraceMs);
      const how = { ...run.nextChange(), ...stop };
      await call(compensation.ensureReleaseStopped, `stops ${version} in ${slot}`, how, waits);
      return `${version} in ${slot} is stopped`;
    },
  });
  journal.enter('rolling-out');
  run.done.started = true;
  const { readyMs } = limits;
  const slow = watchStart(journal, patientOf(run), readyMs);
  try {
    await journal.step(`start ${version} in ${slot}`, () =>
      journal.call(
        awaitState.ensureReleaseRunning,
        `starts ${version} in ${slot}`,
        { ...run.nextChange(), slot, version, readyMs },
        startLimits(readyMs + limits.stopGraceMs),
      ),
    );
  } catch (error) {
    if (failureType(error) === 'ContainerUnhealthy') {
      tellUnhealthy(journal, patientOf(run), 'start', describeFailure(error).message);
    }
    throw error;
  } finally {
    slow.stop();
  }
}

/** The release that is being rolled out. */
export function patientOf({ deployment, plan }: Pick<Rollout, 'deployment' | 'plan'>): Patient {
  return { deployment, version: plan.identity.release.version, production: plan.policy.production };
}

/** Runs the pending migrations. Their undo was registered with the backup, before the new release could touch the data. */
export async function migrateData(run: Rollout): Promise<void> {
  const { migrations, release } = run.plan.identity;
  if (migrations.length === 0) return;
  run.journal.enter('migrating');
  run.done.migrated = true;
  const names = migrations.map((migration) => migration.name).join(', ');
  await run.journal.step(
    'migrate',
    () =>
      run.journal.call(
        long.runMigrations,
        `migrates: ${names}`,
        { ...run.nextChange(), version: release.version },
        { taskQueue: taskQueues.deploy },
      ),
    ({ applied }) => ({ verdict: 'passed', detail: applied.length === 0 ? 'nothing was pending' : applied.join(', ') }),
  );
}

/**
 * Asks the release whether it is well.
 *
 * @throws `ReleaseDegraded` - it is not; `MetricsUnavailable` - that could not be found out.
 */
export async function probeRelease(run: Rollout, through: 'slot' | 'router'): Promise<void> {
  const { slot, journal, plan, deployment } = run;
  const version = plan.identity.release.version;
  // What has traffic fails its users: it counts at once.
  const settleMs = through === 'slot' ? plan.policy.limits.settleMs : 0;
  if (through === 'slot') journal.enter('probing');
  const report = await journal.step(
    through === 'slot' ? `probe ${slot}` : 'probe through the router',
    () =>
      journal.call(
        watching.runProbes,
        `probes ${version} ${through === 'slot' ? `in ${slot}` : 'through the router'}`,
        {
          project: deployment.project,
          environment: deployment.environment,
          number: deployment.number,
          slot,
          version,
          through,
          settleMs,
        },
        probeLimits(settleMs),
      ),
    ({ verdict, probes }) => ({
      verdict,
      detail: probes.map((probe) => `${probe.name} ${probe.verdict} (${took(probe.durationMs)})`).join(', '),
    }),
  );
  // Without a probe in the definition the platform's own health check is all there is, and it has passed.
  if (report.verdict === 'passed' || report.probes.length === 0) return;
  const bad = report.probes.filter((probe) => probe.verdict !== 'passed');
  const why = bad.map((probe) => `${probe.name}: ${probe.detail}`).join('; ');
  if (report.verdict === 'failed') tellUnhealthy(journal, patientOf(run), through, why);
  throw report.verdict === 'failed'
    ? failure('ReleaseDegraded', `${version} in ${slot} failed its probes: ${why}`)
    : failure('MetricsUnavailable', `The probes of ${version} in ${slot} could not say: ${why}`, {
        nonRetryable: true,
      });
}

/** Moves all traffic to the new release and keeps the one before as a backup that the router falls back to by itself. */
export async function moveTraffic(run: Rollout): Promise<void> {
  const { slot, live, journal, plan } = run;
  const version = plan.identity.release.version;
  const startAgain = live === null ? undefined : () => startPrevious(run, live);
  if (startAgain !== undefined) run.saga.register({ heading: 'deploy-previous', run: startAgain });
  run.saga.register({
    heading: 'deploy-previous',
    run: async () => {
      const { movedAt } = await withoutEnd(
        () => moveBack(run),
        (why) => pageForTraffic(journal, run, why),
        () => run.givenUp(),
        startAgain,
      );
      run.done.backAt = movedAt;
      return live === null ? 'no release serves' : `${live.version} in ${live.slot} serves`;
    },
  });
  journal.enter('switching');
  const breaksPrevious = plan.identity.migrations.some((migration) => migration.kind === 'contract');
  const backup = live === null || breaksPrevious ? null : live.slot;
  await journal.step(`traffic to ${slot}`, async () => {
    try {
      run.done.moved = true;
      return await journal.call(change.ensureTraffic, `traffic to ${version} in ${slot}`, {
        ...run.nextChange(),
        slot,
        backup,
      });
    } catch (error) {
      // The router refused the file and kept the old one, so nothing was moved; any other failure leaves that open.
      if (failureType(error) === 'RouterConfigInvalid') run.done.moved = false;
      throw error;
    }
  });
}

/** Has the release before run in its slot, whatever became of its container. */
async function startPrevious(run: Rollout, { slot, version }: LiveRelease): Promise<string> {
  const { limits } = run.plan.policy;
  // What was given to it when it was rolled out.
  const { readyMs } = limits;
  const again = { ...run.nextChange(true), slot, version, readyMs };
  const waits = undoLimits(readyMs + limits.stopGraceMs);
  await call(compensation.ensureReleaseRunning, `makes sure of ${version}`, again, waits);
  return `${version} runs in ${slot}`;
}

function moveBack(run: Rollout): Promise<{ readonly movedAt: string }> {
  const slot = run.live?.slot ?? null;
  const summary = slot === null ? 'takes the traffic away' : `traffic back to ${run.live?.version ?? ''} in ${slot}`;
  return call(trafficBack.ensureTraffic, summary, { ...run.nextChange(true), slot, backup: null });
}

function pageForTraffic(journal: Journal, run: Rollout, why: string): void {
  const { project, environment, number } = run.deployment;
  journal.notify({
    event: 'undo-keeps-failing',
    level: 'critical',
    project,
    environment,
    key: `${project}/${environment}/${number}/traffic-back`,
    title:
      run.live === null
        ? `${project} ${environment}: traffic cannot be taken away`
        : `${project} ${environment}: traffic cannot be moved back to ${run.live.version}`,
    lines: [
      why,
      'It is tried again without end. Look at the router; this ends the trying:',
      `slipway abort ${project}/${environment}/${number} --no-rollback`,
    ],
  });
}

/** The slot that a new release goes to. */
export function freeSlot(live: Rollout['live']): Rollout['slot'] {
  return live === null ? 'blue' : otherSlot(live.slot);
}
