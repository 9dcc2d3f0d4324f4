import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type {
  AuditReportActivities,
  KeptAuditReport,
  RoundActivities,
  ScheduleActivities,
} from '../../src/activities/contracts.ts';
import type { UpkeepRound } from '../../src/domain/upkeep.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { type WorkflowWorkers, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
let recorded: UpkeepRound[];
let occasions: string[];

const activities: AuditReportActivities & Pick<RoundActivities, 'recordRound'> & ScheduleActivities = {
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
    return Promise.resolve(schedule === 'gone' ? null : 12);
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
