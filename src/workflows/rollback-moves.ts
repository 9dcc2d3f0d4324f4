import { failure } from '../domain/failures.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { sentences } from '../domain/sentences.ts';
import { call } from './call.ts';
import { isoNow } from './progress.ts';
import { awaitState, startLimits } from './proxies/deployment.ts';
import { compensation, trafficBack, undoLimits } from './proxies/undo.ts';
import type { RollbackCore } from './rollback-core.ts';
import { withoutEnd } from './saga.ts';
import { type Patient, tellUnhealthy, watchStart } from './stages/notices.ts';
import { headed, verifyServing } from './stages/undo.ts';

/** The moves that a rollback is made of; those of a roll-out are in `stages/roll-out.ts`. */

/** Has the release run in its slot, and waits until it is healthy. */
export async function startRelease(core: RollbackCore, { slot, version }: LiveRelease): Promise<void> {
  const { limits, production } = await core.policy();
  const { deployment, request } = core.input;
  const { readyMs } = limits;
  const change = { ...core.nextChange(), slot, version, readyMs };
  const slow = watchStart(core.journal, { deployment, version, production }, readyMs);
  try {
    const summary = `starts ${version} in ${slot} (${request.reason})`;
    await call(awaitState.ensureReleaseRunning, summary, change, startLimits(readyMs + limits.stopGraceMs));
  } finally {
    slow.stop();
  }
}

/** Asks a release that was started whether it is well. @throws `ReleaseDegraded` - it is not, or that could not be found out. */
export async function probeSlot(
  core: RollbackCore,
  target: LiveRelease,
  patient: Patient,
  settleMs: number,
): Promise<void> {
  const { project, environment, number } = core.input.deployment;
  const { slot, version } = target;
  const input = { project, environment, number, slot, version, through: 'slot', settleMs } as const;
  const report = await call(compensation.runProbes, `probes ${version} in ${slot}`, input, undoLimits(settleMs));
  if (report.verdict === 'passed' || report.probes.length === 0) return;
  const why = report.probes.map((probe) => `${probe.name} ${probe.verdict}: ${probe.detail}`).join(', ');
  if (report.verdict === 'failed') tellUnhealthy(core.journal, patient, 'slot', why);
  throw failure('ReleaseDegraded', sentences(`${version} in ${slot} does not pass its probes: ${why}`));
}

/** Until the target has proved itself, the router falls back to what was live by itself. */
export async function moveTraffic(core: RollbackCore, target: LiveRelease): Promise<void> {
  const from = core.input.live ?? core.live;
  if (from !== null) {
    core.saga.register({ heading: 'deploy-previous', run: async () => (await pointTraffic(core, from, null)).movedAt });
  }
  core.target = target;
  await core.measure('deploy-previous', `${target.version} in ${target.slot} serves`, async () => {
    const { movedAt } = await withoutEnd(
      () => pointTraffic(core, target, from?.slot === target.slot ? null : (from?.slot ?? null)),
      (why) => pageForTraffic(core, target, why),
      () => core.leave,
      () => startRelease(core, target),
    );
    core.servingAt = movedAt;
  });
}

/** Has all traffic go to a release. @param backup - what the router falls back to by itself. */
export function pointTraffic(
  core: RollbackCore,
  target: LiveRelease,
  backup: LiveRelease['slot'] | null,
): Promise<{ readonly movedAt: string }> {
  const change = { ...core.nextChange(), slot: target.slot, backup };
  return call(trafficBack.ensureTraffic, `traffic to ${target.version} in ${target.slot}`, change);
}

/** Asks the release through the router. @throws `ReleaseDegraded` - it does not answer as it should. */
export async function verifyTarget(core: RollbackCore, target: LiveRelease): Promise<void> {
  const began = isoNow();
  const { done, detail } = await verifyServing(core.input, target.slot, target.version);
  core.note({ ...headed('verify', began, isoNow(), detail), done });
  if (!done) throw failure('ReleaseDegraded', detail);
}

/** Stops a release that has no traffic. @returns what is said of it. */
export async function stopSlot(core: RollbackCore, release: LiveRelease, policy: PlanPolicy): Promise<string> {
  const { drainMs, stopGraceMs } = policy.limits;
  const stop = { slot: release.slot, drainMs, graceMs: stopGraceMs, remove: false };
  const waits = undoLimits(drainMs + stopGraceMs);
  const change = { ...core.nextChange(), ...stop };
  await call(compensation.ensureReleaseStopped, `stops ${release.version} in ${release.slot}`, change, waits);
  return `${release.version} in ${release.slot} is stopped`;
}

function pageForTraffic(core: RollbackCore, target: LiveRelease, why: string): void {
  const { project, environment, number } = core.input.deployment;
  core.journal.notify({
    event: 'undo-keeps-failing',
    level: 'critical',
    project,
    environment,
    key: `${project}/${environment}/${number}/traffic`,
    title: `${project} ${environment}: traffic cannot be moved to ${target.version}`,
    lines: [
      why,
      'It is tried again without end. Look at the router; this ends the trying:',
      `slipway abort ${project}/${environment}/${number} --reason …`,
    ],
  });
}
