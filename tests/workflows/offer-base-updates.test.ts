import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type { BaseReading, BaseUpdateActivities, RoundActivities } from '../../src/activities/contracts.ts';
import type { UpkeepRound } from '../../src/domain/upkeep.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { type WorkflowWorkers, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
let reading: () => BaseReading;
let offered: string[];
let withdrawn: string[];

const base = (name: string, digest = 'old') => {
  return { registry: 'docker.io', repository: `library/${name}`, tag: '1', digest, name: `${name}:1` };
};
const activities: BaseUpdateActivities & Pick<RoundActivities, 'recordRound'> = {
  readBases: () => Promise.resolve(reading()),
  offerBase({ branch, base: { name } }) {
    if (name === 'refused:1') throw ApplicationFailure.nonRetryable('it may not push', 'RepositoryRefused');
    offered.push(branch);
    if (name === 'taken:1') return Promise.resolve({ kind: 'taken' });
    return Promise.resolve({ kind: 'open', number: 7, url: `https://forge/${name}`, created: true });
  },
  withdrawBase({ branch, pullRequest }) {
    withdrawn.push(`${branch} ${pullRequest}`);
    return Promise.resolve({ withdrawn: true });
  },
  recordRound: () => Promise.resolve(),
};

beforeAll(async () => {
  workers = await startWorkflowWorkers(activities, [taskQueues.build]);
}, 120_000);
afterAll(async () => {
  await workers.stop();
}, 60_000);
beforeEach(() => {
  offered = [];
  withdrawn = [];
});

function read(bases: BaseReading['bases'], before: readonly string[] = []): void {
  const offered = before.map((branch) => ({ branch, pullRequest: 3 }));
  reading = () => ({ commit: 'c', at: '2026-11-26T05:00:00Z', into: 'main', files: 1, bases, offered });
}
async function round(): Promise<UpkeepRound> {
  return (await workers.server.client.workflow.execute('offerBaseUpdates', {
    taskQueue: taskQueues.orchestration,
    workflowId: `bases-${crypto.randomUUID()}`,
    args: [{ project: 'hello' }],
  })) as UpkeepRound;
}
const branchOf = (name: string): string => `slipway/upkeep/hello/base-${name}-1`;

test('what has moved is offered, what has not is left, and what is not needed any more is closed', async () => {
  read(
    [
      { base: base('node'), newest: 'new' },
      { base: base('debian'), newest: 'old' },
      { base: base('taken'), newest: 'new' },
    ],
    [branchOf('debian'), branchOf('gone')],
  );
  const found = await round();
  expect(offered).toEqual([branchOf('node'), branchOf('taken')]);
  expect(withdrawn).toEqual([`${branchOf('debian')} 3`, `${branchOf('gone')} 3`]);
  expect(found).toMatchObject({ verdict: 'failed', summary: '3 pinned bases in 1 Dockerfiles, 2 moved, 2 withdrawn' });
  expect(found.detail['numbers']).toEqual({ [branchOf('node')]: 7 });
  expect(found.lines).toContain('node:1: opened https://forge/node:1');
});

test('what could not be asked is errored and closes nothing; what is refused keeps nothing else', async () => {
  read(
    [
      { base: base('away'), problem: 'the registry does not answer' },
      { base: base('refused'), newest: 'new' },
      { base: base('node'), newest: 'new' },
    ],
    [branchOf('away')],
  );
  const found = await round();
  expect(withdrawn).toEqual([]);
  expect(offered).toEqual([branchOf('node')]);
  expect(found.verdict).toBe('errored');
  expect(found.lines.slice(0, 2)).toEqual(['away:1: the registry does not answer', 'refused:1: it may not push']);
});

test('at most ten are open at once, those that are open already among them', async () => {
  const names = Array.from({ length: 14 }, (_, index) => `n${index}`);
  read(
    names.map((name) => ({ base: base(name), newest: 'new' })),
    [branchOf('n13')],
  );
  await round();
  expect(offered).toHaveLength(10);
  expect(offered[0]).toBe(branchOf('n13'));
});

test('a repository that cannot be read is errored', async () => {
  reading = () => {
    throw ApplicationFailure.nonRetryable('no such repository', 'RepositoryRefused');
  };
  expect(await round()).toMatchObject({ verdict: 'errored', summary: 'no such repository' });
});

test('where not every base was asked for nothing is closed, and it is told', async () => {
  read([], [branchOf('elsewhere')]);
  const complete = reading;
  reading = () => ({ ...complete(), unasked: 3 });
  const found = await round();
  expect(withdrawn).toEqual([]);
  expect(found.verdict).toBe('errored');
  expect(found.lines).toContainEqual(expect.stringContaining('3 more bases were not asked for'));
});

test('where not every Dockerfile was read nothing is closed, and it is told', async () => {
  read([], [branchOf('elsewhere')]);
  const complete = reading;
  reading = () => ({ ...complete(), files: 100, unread: 3 });
  const found = await round();
  expect(withdrawn).toEqual([]);
  expect(found).toMatchObject({ verdict: 'errored', detail: { numbers: { [branchOf('elsewhere')]: 3 } } });
  expect(found.lines).toContainEqual(expect.stringContaining('3 more Dockerfiles were not read'));
});
