import { resolve } from 'node:path';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { timeSkippingEnvironment } from './components.ts';

/** All workflows and some activities on a server of their own that skips time. */
export interface WorkflowWorkers {
  readonly server: TestWorkflowEnvironment;
  stop(): Promise<void>;
}

/** @param queues - beside that of workflows; the activities are on all of them. */
export async function startWorkflowWorkers(activities: object, queues: readonly string[]): Promise<WorkflowWorkers> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const codePath = await ensureWorkflowBundle(resolve(import.meta.dirname, '../../.slipway/test/bundles'));
  const server = await timeSkippingEnvironment();
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
