import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type { PollActivities } from '../../src/activities/contracts.ts';
import type { PollRoundReport } from '../../src/workflows/poll-repositories.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { type WorkflowWorkers, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
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
      const left = { later: 12, unreadable: [{ ref: 'refs/tags/tree', why: 'it is no commit' }] };
      return { refs: 3, moved: accepted.length, accepted, ...(project === 'mirror' ? left : {}) };
    } finally {
      atOnce -= 1;
    }
  },
};

beforeAll(async () => {
  workers = await startWorkflowWorkers(activities, [taskQueues.build]);
}, 60_000);
afterAll(async () => {
  await workers.stop();
}, 60_000);
beforeEach(() => {
  atOnce = 0;
  mostAtOnce = 0;
});

async function round(): Promise<PollRoundReport> {
  return (await workers.server.client.workflow.execute('pollRepositories', {
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

test('says what is left for the next look, and of what there can be no run', async () => {
  projects = ['mirror'];
  expect(await round()).toEqual({
    projects: 1,
    accepted: 0,
    problems: [
      '**left for the next look** mirror: 12 branches and tags that have moved',
      '**no run of** mirror refs/tags/tree: it is no commit',
    ],
  });
});
