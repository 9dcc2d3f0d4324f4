import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { RunFactActivities } from '../../src/activities/contracts.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import type { runPipeline } from '../../src/workflows/run-pipeline.ts';
import { type WorkflowWorkers, skipAbsence, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
const settled: unknown[] = [];
const activities: Pick<RunFactActivities, 'settleRun'> = {
  settleRun({ outcome, reason }) {
    settled.push({ outcome, reason });
    return Promise.resolve({ deployments: [] });
  },
};

beforeAll(async () => {
  // Nobody has the queue of machines that build.
  workers = await startWorkflowWorkers(activities, []);
}, 120_000);
afterAll(async () => {
  await workers.stop();
}, 60_000);

test('a run that no machine takes ends after half an hour, and says until when it has waited for one', async () => {
  const event = { kind: 'push', ref: 'refs/heads/main', before: '0', after: 'a'.repeat(40), author: 'ada' } as const;
  const run = await workers.server.client.workflow.start<typeof runPipeline>('runPipeline', {
    taskQueue: taskQueues.orchestration,
    workflowId: 'run-hello-1',
    args: [{ project: 'hello', key: '1', event, acceptedAt: '2026-01-01T00:00:00.000Z' }],
  });
  await skipAbsence(workers.server, run, 'prepareRun', 1_800_000);
  expect(await run.result()).toEqual({
    outcome: 'errored',
    reason: expect.stringMatching(
      /^At 20\d\d-\S+ \S+ UTC no machine that builds had taken the run for 30 min\. .* Start one/,
    ),
  });
  expect(settled).toHaveLength(1);
});
