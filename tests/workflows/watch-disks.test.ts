import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type { DiskActivities, Notice, NoticeActivities, RoundActivities } from '../../src/activities/contracts.ts';
import { type DiskReading, defaultDiskLimits } from '../../src/domain/disk.ts';
import type { UpkeepRound } from '../../src/domain/upkeep.ts';
import { machineAbsenceMs } from '../../src/workflows/proxies/limits.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import type { watchDisks } from '../../src/workflows/watch-disks.ts';
import { type WorkflowWorkers, skipAbsence, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
let usedPercent: number;
let freesTo: number;
let pruning: () => void;
let asked: unknown[];
let notices: Notice[];
let recorded: UpkeepRound[];

const reading = (): DiskReading => ({
  disks: [
    { holds: ['engine e'], engines: ['e'], usedBytes: usedPercent * 1e9, availableBytes: (100 - usedPercent) * 1e9 },
  ],
  unmeasured: [],
  limits: defaultDiskLimits,
});
const activities: DiskActivities & RoundActivities & NoticeActivities = {
  readMachines: () =>
    Promise.resolve({
      machines: [
        { queue: 'machine-one', name: 'one' },
        { queue: 'machine-away', name: 'away' },
      ],
      projects: ['hello', 'shop'],
    }),
  readDisks: () => Promise.resolve(reading()),
  pruneImages(input) {
    asked.push(input);
    pruning();
    usedPercent = freesTo;
    return Promise.resolve({ what: 'images of e', count: 3, sizeBytes: 1 });
  },
  recordRound(round) {
    recorded.push(round);
    return Promise.resolve();
  },
  sendNotice(notice) {
    notices.push(notice);
    return Promise.resolve();
  },
};

beforeAll(async () => {
  workers = await startWorkflowWorkers(activities, [taskQueues.notify, 'machine-one']);
}, 120_000);
afterAll(async () => {
  await workers.stop();
}, 60_000);
beforeEach(() => {
  usedPercent = 50;
  freesTo = 79;
  pruning = () => undefined;
  asked = [];
  notices = [];
  recorded = [];
});

async function watch(): Promise<ReadonlyMap<string, UpkeepRound>> {
  const handle = await workers.server.client.workflow.start<typeof watchDisks>('watchDisks', {
    taskQueue: taskQueues.orchestration,
    workflowId: `disks-${crypto.randomUUID()}`,
  });
  await skipAbsence(workers.server, handle, 'readDisks', machineAbsenceMs);
  const done = await handle.result();
  expect(recorded).toHaveLength(2);
  return new Map(done.map((round) => [round.subject, round]));
}

test('a disk with room is left alone; a machine that does not answer is errored and keeps nobody waiting', async () => {
  const found = await watch();
  expect(found.get('one')).toMatchObject({ verdict: 'passed', detail: { removed: 0 } });
  expect(found.get('away')).toMatchObject({ verdict: 'errored', summary: expect.stringContaining('does not answer') });
  expect([asked, notices]).toEqual([[], []]);
});

test('one that is too full is freed down to the lower limit, and everybody is told once', async () => {
  usedPercent = 90;
  const found = await watch();
  expect(asked).toEqual([{ engine: 'e', until: 0.8 }]);
  expect(found.get('one')).toMatchObject({
    verdict: 'passed',
    summary: '3 images removed; no disk is fuller than 79 %',
    detail: { removed: 3, freedBytes: 11e9 },
  });
  expect(notices.map(({ project, level }) => [project, level]).sort()).toEqual([
    ['hello', 'warning'],
    ['shop', 'warning'],
  ]);
  expect(new Set(notices.map(({ key }) => key)).size).toBe(2);
});

test('one that stays too full is failed, and critical when it is nearly full', async () => {
  usedPercent = 97;
  freesTo = 96;
  expect((await watch()).get('one')).toMatchObject({ verdict: 'failed' });
  expect(notices.map(({ level }) => level)).toEqual(['critical', 'critical']);
});

test('an engine that cannot be freed is told, and its disk is still measured', async () => {
  usedPercent = 90;
  pruning = () => {
    throw ApplicationFailure.nonRetryable('the engine is away', 'EngineRefused');
  };
  const round = (await watch()).get('one');
  expect(round?.verdict).toBe('failed');
  expect(round?.lines).toContain('e: the engine is away');
  expect(notices[0]?.level).toBe('error');
});
