import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type {
  AuditReportActivities,
  KeptAuditReport,
  Notice,
  NoticeActivities,
  RoundActivities,
  ScheduleActivities,
} from '../../src/activities/contracts.ts';
import { type FailureType, failures } from '../../src/domain/failure-kinds.ts';
import type { UpkeepRound } from '../../src/domain/upkeep.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { type WorkflowWorkers, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
let recorded: UpkeepRound[];
let occasions: string[];
let notices: Notice[];

const activities: AuditReportActivities & Pick<RoundActivities, 'recordRound'> & ScheduleActivities & NoticeActivities =
  {
    keepAuditReport({ project, until }): Promise<KeptAuditReport> {
      if (project === 'full') throw ApplicationFailure.nonRetryable('no room is left', 'DiskFull');
      return Promise.resolve({
        ...{ since: '2026-10-01T07:00:00.000Z', until, files: ['2026-10.json', '2026-10.md'] },
        ...{ deployments: 4, rollbacks: 1, operatorWords: 2, unproven: 1 },
      });
    },
    recordRound(round) {
      recorded.push(round);
      return Promise.resolve();
    },
    acceptScheduledRun({ schedule, occasion }) {
      occasions.push(occasion);
      if (schedule === 'branch-gone') throw ApplicationFailure.nonRetryable('no refs/heads/gone', 'CommitNotFound');
      if (schedule === 'away') throw ApplicationFailure.retryable('it does not answer', 'RepositoryUnreachable');
      return Promise.resolve(schedule === 'gone' ? null : 12);
    },
    sendNotice(notice) {
      notices.push(notice);
      return Promise.resolve();
    },
  };

beforeAll(async () => {
  workers = await startWorkflowWorkers(activities, [taskQueues.build, taskQueues.deploy, taskQueues.notify]);
}, 120_000);
afterAll(async () => {
  await workers.stop();
}, 60_000);
beforeEach(() => {
  recorded = [];
  occasions = [];
  notices = [];
});

async function run<R>(type: string, workflowId: string, input: object): Promise<R> {
  const options = { taskQueue: taskQueues.orchestration, workflowId, args: [input] };
  return (await workers.server.client.workflow.execute(type, options)) as R;
}

test('an audit report is kept, and the round says what is in it and where', async () => {
  const round = await run<UpkeepRound>('reportAudit', `audit-${crypto.randomUUID()}`, { project: 'hello' });
  expect(round).toMatchObject({
    ...{ kind: 'audit', project: 'hello', verdict: 'passed' },
    summary: expect.stringMatching(
      /^2026-10-01 to \d{4}-\d\d-\d\d: 4 deployments and rollbacks asked for, 1 rolled back, 2 words of operators, 1 decisions that no token proves$/,
    ),
    lines: ['/v1/projects/hello/audit-reports/2026-10.json', '/v1/projects/hello/audit-reports/2026-10.md'],
  });
  expect(recorded).toEqual([round]);
});

test('one that could not be kept is errored and on record, and has no end for the next to begin at', async () => {
  const round = await run<UpkeepRound>('reportAudit', `audit-${crypto.randomUUID()}`, { project: 'full' });
  expect(round).toMatchObject({ verdict: 'errored', summary: 'no room is left', detail: {} });
  expect(recorded).toEqual([round]);
});

test('a scheduled run is named by its occasion, and a schedule that is gone starts none', async () => {
  const workflowId = `scheduled-${crypto.randomUUID()}`;
  expect(await run('startScheduledRun', workflowId, { project: 'hello', schedule: 'nightly' })).toEqual({ run: 12 });
  expect(occasions).toEqual([workflowId]);
  const gone = { project: 'hello', schedule: 'gone' };
  expect(await run('startScheduledRun', `scheduled-${crypto.randomUUID()}`, gone)).toEqual({ run: null });
});

test.each([
  ['branch-gone', 'CommitNotFound', 'no refs/heads/gone'],
  ['away', 'RepositoryUnreachable', 'it does not answer'],
])(
  'a scheduled run that cannot be accepted (%s) fails, and people are told why and what to do',
  async (schedule, type, why) => {
    const asked = run('startScheduledRun', `scheduled-${crypto.randomUUID()}`, { project: 'hello', schedule });
    await expect(asked).rejects.toThrow();
    expect(notices).toEqual([
      {
        ...{ event: 'run-failed', level: 'error', project: 'hello', page: '/v1/runs?project=hello' },
        key: expect.stringMatching(new RegExp(`^schedule/hello/${schedule}/${type}/\\d{4}-\\d\\d-\\d\\d$`)),
        title: `hello: the schedule ${schedule} has started no run`,
        lines: [why, failures[type as FailureType].sentence, expect.stringContaining('slipway run')],
      },
    ]);
  },
);
