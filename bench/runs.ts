import { setTimeout as delay } from 'node:timers/promises';
import type { runPipeline } from '../src/workflows/run-pipeline.ts';
import { expectRight } from './bench.ts';
import type { Installation } from './installation.ts';

/** Asking without a pause would be work for the very server that is to start it, ms. */
const notYetMs = 10;

/** Waits for the end of a run whose webhook was acknowledged; its workflow may not have been started yet. */
export async function runEnded(
  { temporal }: Pick<Installation, 'temporal'>,
  workflowId: string,
): Promise<{ readonly outcome: string; readonly reason: string }> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await temporal.workflow.getHandle<typeof runPipeline>(workflowId).result();
    } catch (error) {
      const name = error instanceof Error ? error.name : '';
      if (name !== 'WorkflowNotFoundError' || performance.now() > deadline) throw error;
      await delay(notYetMs);
    }
  }
}

/** As {@link runEnded}, and the end must be a good one. */
export async function runSucceeded(installation: Pick<Installation, 'temporal'>, workflowId: string): Promise<void> {
  const { outcome, reason } = await runEnded(installation, workflowId);
  expectRight(outcome === 'succeeded', `${workflowId} ended ${outcome}: ${reason}`);
}

/** How many activities of a run stood one behind the other: each waited for the one before it. */
export async function activitiesOnPath(
  { temporal }: Pick<Installation, 'temporal'>,
  workflowId: string,
): Promise<number> {
  const { events } = await temporal.workflow.getHandle(workflowId).fetchHistory();
  const scheduled = new Map<string, number>();
  const depths: { readonly closed: number; readonly depth: number }[] = [];
  for (const event of events ?? []) {
    const id = Number(event.eventId);
    if (event.activityTaskScheduledEventAttributes) {
      const before = depths.filter(({ closed }) => closed < id).map(({ depth }) => depth);
      scheduled.set(String(id), 1 + Math.max(0, ...before));
    }
    const closing = event.activityTaskCompletedEventAttributes ?? event.activityTaskFailedEventAttributes;
    const depth = scheduled.get(String(closing?.scheduledEventId));
    if (depth !== undefined) depths.push({ closed: id, depth });
  }
  // What runs beside the last one and is not waited for by anything counts as little as any other.
  return Math.max(0, ...depths.map(({ depth }) => depth));
}
