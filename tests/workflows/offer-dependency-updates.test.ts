import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type { DependencyUpdateActivities, OutdatedReading, RoundActivities } from '../../src/activities/contracts.ts';
import type { DependencyUpdate } from '../../src/domain/dependency-update.ts';
import type { UpkeepRound } from '../../src/domain/upkeep.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { type WorkflowWorkers, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
let reading: () => OutdatedReading;
let offered: string[];
let withdrawn: string[];
let kept: UpkeepRound[];

const activities: DependencyUpdateActivities & Pick<RoundActivities, 'recordRound'> = {
  readOutdated: () => Promise.resolve(reading()),
  offerDependencies({ group: { branch, updates } }) {
    const names = updates.map(({ name }) => name);
    if (names.includes('refused')) throw ApplicationFailure.nonRetryable('it may not push', 'RepositoryRefused');
    offered.push(`${branch}: ${names.join(' ')}`);
    if (names.includes('taken')) return Promise.resolve({ kind: 'taken', problems: [] });
    if (names.includes('unmade')) return Promise.resolve({ kind: 'nothing-made', problems: ['npm made no lock'] });
    const problems = names.includes('partly') ? ['package.json: partly 2.0.0: ERESOLVE'] : [];
    return Promise.resolve({ kind: 'open', number: 7, url: 'https://forge/7', created: true, problems });
  },
  withdrawDependencies({ branch, pullRequest }) {
    withdrawn.push(`${branch} ${pullRequest}`);
    return Promise.resolve({ withdrawn: true });
  },
  recordRound(round) {
    kept.push(round);
    return Promise.resolve();
  },
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
  kept = [];
});

const update = (name: string, rest: Partial<DependencyUpdate> = {}): DependencyUpdate => ({
  ...{ ecosystem: 'npm', manifest: 'package.json', name, version: '1.0.0', to: '1.1.0', level: 'minor', fixes: [] },
  ...rest,
});
function read(updates: readonly DependencyUpdate[], rest: Partial<OutdatedReading> = {}): void {
  reading = () => ({
    ...{ commit: 'c', at: '2026-11-26T05:00:00Z', into: 'main', manifests: 2, dependencies: 5, updates, unlisted: 0 },
    ...{ problems: [], untold: 0, ignored: [], group: 'ecosystem', most: 10, offered: [] },
    ...rest,
  });
}
const branch = (name: string): string => `slipway/upkeep/hello/deps-${name}`;
const before = (...names: string[]) => names.map((name) => ({ branch: branch(name), pullRequest: 3 }));

async function round(): Promise<UpkeepRound> {
  const found = (await workers.server.client.workflow.execute('offerDependencyUpdates', {
    taskQueue: taskQueues.orchestration,
    workflowId: `dependencies-${crypto.randomUUID()}`,
    args: [{ project: 'hello' }],
  })) as UpkeepRound;
  expect(kept).toEqual([found]);
  return found;
}

test('one pull request for each ecosystem, and one that is not needed any more is closed', async () => {
  const updates = [update('left'), update('react', { fixes: ['CVE-1'] })];
  read(updates, { offered: before('npm', 'python'), ignored: ['old is left as it is: it is ours'] });
  const found = await round();
  expect(offered).toEqual([`${branch('npm')}: react left`]);
  expect(withdrawn).toEqual([`${branch('python')} 3`]);
  expect(found).toMatchObject({
    verdict: 'failed',
    summary: '5 pinned dependencies in 2 manifests, 2 outdated, 1 with a fix of an advisory, 1 withdrawn',
    detail: { open: 1, closed: 1, numbers: { [branch('npm')]: 7 } },
  });
  expect(found.lines).toEqual([
    '2 updates (npm): opened https://forge/7',
    `${branch('python')}: closed`,
    'old is left as it is: it is ours',
  ]);
});

test('what could not be read or asked is errored and closes nothing of its ecosystem', async () => {
  read([], {
    problems: [{ ecosystem: 'npm', manifest: 'package.json', problem: 'the index has no secret-thing' }],
    offered: before('npm', 'npm-left', 'python'),
  });
  const found = await round();
  expect(withdrawn).toEqual([`${branch('python')} 3`]);
  expect(found.verdict).toBe('errored');
  expect(found.lines[0]).toBe('package.json: the index has no secret-thing');
  expect(found.detail['numbers']).toEqual({ [branch('npm')]: 3, [branch('npm-left')]: 3 });
});

test.each([{ untold: 4 }, { unlisted: 4 }])('where not everything is told (%j) nothing is closed', async (rest) => {
  read([update('left')], { ...rest, offered: before('npm', 'python') });
  const found = await round();
  expect(withdrawn).toEqual([]);
  expect(found).toMatchObject({ verdict: 'errored', lines: [expect.stringContaining('4 more'), expect.anything()] });
});

test('what is refused, taken or cannot be made keeps nothing else', async () => {
  const names = ['refused', 'taken', 'unmade', 'partly', 'left'];
  read(
    names.map((name) => update(name)),
    { group: 'dependency', offered: before('npm-unmade') },
  );
  const found = await round();
  expect(offered.map((each) => each.split(': ')[1]).sort()).toEqual(['left', 'partly', 'taken', 'unmade']);
  expect(found.verdict).toBe('errored');
  expect(found.lines).toEqual(
    expect.arrayContaining([
      'refused 1.0.0 → 1.1.0: it may not push',
      'npm made no lock',
      'package.json: partly 2.0.0: ERESOLVE',
      `taken 1.0.0 → 1.1.0: somebody has put commits on ${branch('npm-taken')}, it is left alone`,
    ]),
  );
  // What could not be made again stays as it was.
  expect(withdrawn).toEqual([]);
  expect(found.detail['numbers']).toMatchObject({ [branch('npm-unmade')]: 3 });
});

test('no more are open at once than the project wants: fixes first, then those that are open', async () => {
  const updates = [update('a'), update('b'), update('c', { fixes: ['CVE-1'] }), update('d')];
  read(updates, { group: 'dependency', most: 2, offered: before('npm-d') });
  const found = await round();
  expect(offered).toEqual([`${branch('npm-c')}: c`, `${branch('npm-d')}: d`]);
  expect(found.lines).toContain('a 1.0.0 → 1.1.0 waits: 2 pull requests are open');
});

test('without a pinned dependency nothing is known, and with none outdated all is well', async () => {
  read([], { dependencies: 0 });
  expect(await round()).toMatchObject({ verdict: 'inconclusive' });
  kept = [];
  read([]);
  expect(await round()).toMatchObject({ verdict: 'passed' });
});

test('a repository that cannot be read is errored', async () => {
  reading = () => {
    throw ApplicationFailure.nonRetryable('no such repository', 'RepositoryRefused');
  };
  expect(await round()).toMatchObject({ verdict: 'errored', summary: 'no such repository' });
});
