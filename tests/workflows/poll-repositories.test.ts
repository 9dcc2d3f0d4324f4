import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { resolve } from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { PollActivities } from '../../src/activities/contracts.ts';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';
import type { PollRoundReport } from '../../src/workflows/poll-repositories.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { timeSkippingEnvironment } from '../support/components.ts';

let server: TestWorkflowEnvironment;
let stop: () => Promise<void>;
let projects: readonly string[];
let atOnce: number;
let mostAtOnce: number;

const activities: PollActivities = {
  readPolled: () => Promise.resolve(projects),
  async pollRepository({ project }) {
    atOnce += 1;
    mostAtOnce = Math.max(mostAtOnce, atOnce);
    try {
      await new Promise((done) => setImmediate(done));
      if (project === 'away') throw ApplicationFailure.nonRetryable('it does not answer', 'RepositoryRefused');
      const accepted = project === 'busy' ? [{ ref: 'refs/heads/main', run: 7 }] : [];
      return { refs: 3, moved: accepted.length, accepted };
    } finally {
      atOnce -= 1;
    }
  },
};

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const codePath = await ensureWorkflowBundle(resolve(import.meta.dirname, '../../.slipway/test/bundles'));
  server = await timeSkippingEnvironment();
  const workers = await Promise.all(
    [taskQueues.orchestration, taskQueues.build].map((taskQueue) =>
      Worker.create({
        connection: server.nativeConnection,
        taskQueue,
        activities,
        ...(taskQueue === taskQueues.orchestration ? { workflowBundle: { codePath } } : {}),
      }),
    ),
  );
  const running = workers.map((worker) => worker.run());
  stop = async () => {
    for (const worker of workers) worker.shutdown();
    await Promise.all(running);
    await server.teardown();
  };
}, 60_000);
afterAll(async () => {
  await stop();
}, 60_000);
beforeEach(() => {
  atOnce = 0;
  mostAtOnce = 0;
});

async function round(): Promise<PollRoundReport> {
  return (await server.client.workflow.execute('pollRepositories', {
    taskQueue: taskQueues.orchestration,
    workflowId: `poll-${Math.random()}`,
  })) as PollRoundReport;
}

test('looks at every project, few at once, and tells what it found and what it could not look at', async () => {
  projects = ['a', 'busy', 'away', ...Array.from({ length: 20 }, (_, index) => `p-${index}`)];
  expect(await round()).toEqual({
    projects: 23,
    accepted: 1,
    problems: ['**not looked at** away: it does not answer'],
  });
  expect(mostAtOnce).toBeLessThanOrEqual(4);
});

test('has nothing to do where nobody is polled', async () => {
  projects = [];
  expect(await round()).toEqual({ projects: 0, accepted: 0, problems: [] });
});
