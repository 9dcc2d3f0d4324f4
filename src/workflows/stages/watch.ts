import type { WatchReport } from '../../activities/contracts.ts';
import type { StepRecord } from '../../domain/deployment.ts';
import { describeFailure } from '../../domain/failures.ts';
import { isCancellation } from '@temporalio/workflow';
import { watching } from '../proxies/deployment.ts';
import { absenceMs } from '../proxies/limits.ts';
import { between, isoNow, took } from '../progress.ts';
import type { Rollout } from '../strategies/strategy.ts';

/** Watches the live release for as long as the policy says; one activity, so that 30 minutes cost a few events. */
export async function watchLive(run: Rollout): Promise<WatchReport | undefined> {
  const { policy, identity } = run.plan;
  const { durationMs } = policy.watch;
  if (durationMs === 0) return undefined;
  run.journal.enter('watching', `until ${new Date(Date.now() + durationMs).toISOString()}`);
  const { project, environment, number } = run.deployment;
  try {
    // Nothing between the verdict and the caller: a failed one moves traffic in the same breath, and is written down after.
    return await run.journal.call(
      watching.watchRelease,
      `watches ${identity.release.version} for ${took(durationMs)}`,
      {
        project,
        environment,
        number,
        slot: run.slot,
        version: identity.release.version,
        policy: policy.watch,
        startedAt: isoNow(),
        until: new Date(Date.now() + durationMs).toISOString(),
        production: policy.production,
      },
      { startToCloseTimeout: durationMs + 300_000, scheduleToCloseTimeout: durationMs + absenceMs },
    );
  } catch (error) {
    if (isCancellation(error)) throw error;
    const { message } = describeFailure(error);
    return { ...noFigures, verdict: 'errored', reason: `The watch broke off: ${message}`, decidedAt: isoNow() };
  }
}

/** The watch as the timeline shows it. */
export function watchStep(report: WatchReport, startedAt: string): StepRecord {
  const { verdict, reason, requests, decidedAt, warnings } = report;
  const detail = [`${reason} (${requests} requests)`, ...warnings].join('; ');
  return { name: 'watch', verdict, startedAt, durationMs: between(startedAt, decidedAt), detail };
}

const noFigures = { requests: 0, errorRatio: 0, p95Ms: 0, warnings: [] } as const;
