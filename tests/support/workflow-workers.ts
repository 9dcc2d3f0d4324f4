import { resolve } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { until } from './until.ts';
import { timeSkippingServer } from './workflow-env.ts';

/** All workflows and some activities on a server of their own that skips time. */
export interface WorkflowWorkers {
  readonly server: TestWorkflowEnvironment;
  stop(): Promise<void>;
}

/** @param queues - beside that of workflows; the activities are on all of them. */
export async function startWorkflowWorkers(activities: object, queues: readonly string[]): Promise<WorkflowWorkers> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const codePath = await ensureWorkflowBundle(resolve(import.meta.dirname, '../../.slipway/test/bundles'));
  const server = await timeSkippingServer();
  const workers = await Promise.all(
    [taskQueues.orchestration, ...queues].map((taskQueue) =>
      Worker.create({
        connection: server.nativeConnection,
        taskQueue,
        activities,
        ...(taskQueue === taskQueues.orchestration ? { workflowBundle: { codePath } } : {}),
      }),
    ),
  );
  const running = workers.map((worker) => worker.run());
  return {
    server,
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await server.teardown();
    },
  };
}

/**
 * Waits until a workflow waits for one activity alone, which nobody takes, and has that time go by at once. Everything else has as long as it
 * needs until then: of what is only slow to start nothing is taken for away.
 *
 * @param activity - its type, by which it is told from one that will be taken yet.
 * @param absenceMs - how long the workflow waits for somebody to take it.
 */
export async function skipAbsence(
  server: TestWorkflowEnvironment,
  workflow: WorkflowHandle,
  activity: string,
  absenceMs: number,
): Promise<void> {
  const waiting = `only ${activity} to be left, taken by nobody`;
  await until(
    async () => {
      const { raw } = await workflow.describe();
      const pending = raw.pendingActivities ?? [];
      // A run that has ended, or broken, waits for nothing: its result says what of it.
      if (raw.workflowExecutionInfo?.closeTime) return true;
      return (
        pending.length === 1 &&
        pending[0]?.activityType?.name === activity &&
        pending[0].state === temporal.api.enums.v1.PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
      );
    },
    { what: waiting },
  );
  const { testService } = server.connection;
  if (testService === undefined) throw new Error('this server skips no time');
  // The server lets no time go by while a task waits to be taken: this one is what holds it.
  await testService.unlockTimeSkipping({});
  try {
    await server.sleep(absenceMs);
  } finally {
    await testService.lockTimeSkipping({});
  }
}
