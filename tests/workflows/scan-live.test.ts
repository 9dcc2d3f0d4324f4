import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type {
  LiveEnvironment,
  LiveScanActivities,
  Notice,
  NoticeActivities,
  RoundActivities,
} from '../../src/activities/contracts.ts';
import type { LiveImageScan } from '../../src/domain/live-scan.ts';
import type { UpkeepRound } from '../../src/domain/upkeep.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { type WorkflowWorkers, startWorkflowWorkers } from '../support/workflow-workers.ts';

let workers: WorkflowWorkers;
let environments: readonly LiveEnvironment[];
let scanned: string[];
let notices: Notice[];
let recorded: UpkeepRound[];

const image = (name: string) => ({ name, repository: `registry/${name}`, digest: `sha256:${name}` });
const release = (role: 'live' | 'previous', version: string, ...names: readonly string[]) => {
  return { role, version, images: names.map(image), build: 1 };
};

function scanOf(name: string): LiveImageScan {
  const bad = name.startsWith('bad');
  const counts = { critical: bad ? 1 : 0, high: 0, medium: 0, low: 0, unknown: 0 };
  const scannedAt = '2026-11-26T00:00:00.000Z';
  const lines = bad ? [`critical TEST in ${name}`] : [];
  return {
    name,
    digest: `sha256:${name}`,
    scan: { verdict: bad ? 'failed' : 'passed', reason: 'r', scannedAt, packages: 1, counts, lines, excepted: [] },
    findings: bad ? [{ key: `TEST ${name} 1`, severity: 'critical', line: `critical TEST in ${name}` }] : [],
    known: [],
  };
}

const activities: Partial<RoundActivities> & NoticeActivities & LiveScanActivities = {
  readLive: () => Promise.resolve(environments),
  scanLiveImage({ image: { name } }) {
    scanned.push(name);
    if (name === 'gone') throw ApplicationFailure.nonRetryable('there is no such image', 'NotFound');
    return Promise.resolve(scanOf(name));
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
  workers = await startWorkflowWorkers(activities, [taskQueues.notify, taskQueues.build]);
}, 120_000);
afterAll(async () => {
  await workers.stop();
}, 60_000);
beforeEach(() => {
  scanned = [];
  notices = [];
  recorded = [];
});

async function scan(): Promise<readonly UpkeepRound[]> {
  return (await workers.server.client.workflow.execute('scanLive', {
    taskQueue: taskQueues.orchestration,
    workflowId: `scan-${crypto.randomUUID()}`,
    args: [{ project: 'hello' }],
  })) as readonly UpkeepRound[];
}

test('every image is scanned once, every environment has its round, and people hear of what is new', async () => {
  environments = [
    {
      project: 'hello',
      environment: 'staging',
      production: false,
      known: null,
      releases: [release('live', '2', 'bad', 'web')],
    },
    {
      project: 'hello',
      environment: 'production',
      production: true,
      known: null,
      releases: [release('live', '1', 'bad', 'web'), release('previous', '0', 'web')],
    },
  ];
  const rounds = await scan();
  expect(scanned.sort()).toEqual(['bad', 'web']);
  expect(recorded).toEqual(rounds);
  expect(rounds.map(({ subject, verdict }) => [subject, verdict])).toEqual([
    ['hello/staging', 'failed'],
    ['hello/production', 'failed'],
  ]);
  expect(notices.map(({ event, level, environment }) => [event, level, environment])).toEqual([
    ['security-alert', 'error', 'staging'],
    ['security-alert', 'critical', 'production'],
  ]);
  expect(notices[1]?.lines[0]).toBe('critical TEST in bad');
});

test('what was known before is not told again', async () => {
  const known = ['TEST bad 1'];
  environments = [
    { project: 'hello', environment: 'production', production: true, known, releases: [release('live', '1', 'bad')] },
  ];
  expect((await scan())[0]?.verdict).toBe('failed');
  expect(notices).toEqual([]);
});

test('an image that cannot be looked at is errored, keeps no other from being scanned, and is told', async () => {
  environments = [
    {
      project: 'hello',
      environment: 'production',
      production: true,
      known: null,
      releases: [release('live', '1', 'gone', 'web')],
    },
  ];
  const [round] = await scan();
  expect(round).toMatchObject({ verdict: 'errored' });
  expect(scanned.sort()).toEqual(['gone', 'web']);
  expect(notices).toMatchObject([{ event: 'security-alert', level: 'warning' }]);
});
