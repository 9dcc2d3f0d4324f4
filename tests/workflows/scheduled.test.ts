import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { resolve } from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type {
  InfrastructureLeftoverActivities,
  AbandonedEnd,
  AbandonedPage,
  AbandonedRequest,
  Removal,
  RecoveryActivities,
  RecoveryRequest,
  RegistryRetentionActivities,
  UpkeepActivities,
} from '../../src/activities/contracts.ts';
import type { Abandoned } from '../../src/domain/abandoned.ts';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';
import { machineAbsenceMs } from '../../src/workflows/proxies/limits.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import type { RetentionReport } from '../../src/workflows/apply-retention.ts';
import type { ReconcileReport } from '../../src/workflows/reconcile-records.ts';
import { timeSkippingEnvironment } from '../support/components.ts';
import { skipAbsence } from '../support/workflow-workers.ts';

let server: TestWorkflowEnvironment;
let stop: () => Promise<void>;
let fakes: Natural;
/** What was called, in order. */
let calls: string[];

const machine = 'build-one';
const away = 'build-away';

type Natural = UpkeepActivities &
  RegistryRetentionActivities &
  RecoveryActivities &
  Pick<InfrastructureLeftoverActivities, 'removeOldPlans'>;

function natural(): Natural {
  const none = (what: string): Promise<Removal> => Promise.resolve({ what, count: 0, sizeBytes: 0 });
  return {
    readAbandoned: () => Promise.resolve({ abandoned: [], next: null, looked: 0 }),
    settleAbandoned: () => Promise.resolve(true),
    readRetention: () => Promise.resolve({ projects: [], machines: [], problems: [] }),
    removeOldRows: () => Promise.resolve([]),
    removeOldLogs: () => none('logs'),
    removeOldEvidence: () => none('evidence'),
    removeOldImages: () => none('images'),
    removeOldBackups: () => none('backups'),
    removeOldDatabases: () => none('databases'),
    removeOldPlans: () => none('plans'),
    removeLeftFiles: () => none('files'),
    removePushedImages: async () => ({ ...(await none('pushed images')), names: [] }),
    recoverEnvironment: ({ project, environment }) =>
      Promise.resolve({ project, environment, applied: false, lines: [], problems: [] }),
  };
}

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const bundle = await ensureWorkflowBundle(resolve(import.meta.dirname, '../../.slipway/test/bundles'));
  server = await timeSkippingEnvironment();
  const activities = Object.fromEntries(
    Object.keys(natural()).map((name) => [
      name,
      async (input: never) => {
        calls.push(name);
        return await fakes[name as keyof typeof fakes](input);
      },
    ]),
  );
  const workers = await Promise.all(
    [taskQueues.orchestration, taskQueues.deploy, machine].map((taskQueue) =>
      Worker.create({
        connection: server.nativeConnection,
        taskQueue,
        activities,
        ...(taskQueue === taskQueues.orchestration ? { workflowBundle: { codePath: bundle } } : {}),
      }),
    ),
  );
  const running = workers.map((worker) => worker.run());
  stop = async () => {
    for (const worker of workers) worker.shutdown();
    await Promise.all(running);
  };
}, 120_000);

afterAll(async () => {
  await stop();
  await server.teardown();
}, 60_000);

beforeEach(() => {
  fakes = natural();
  calls = [];
});

/** With the clock of the server running while it is waited for. */
async function execute<R>(workflow: string, input: object = {}): Promise<R> {
  const handle = await start<R>(workflow, input);
  return await handle.result();
}

async function start<R>(workflow: string, input: object = {}): Promise<WorkflowHandle<() => Promise<R>>> {
  const workflowId = `upkeep/${crypto.randomUUID()}`;
  return await server.client.workflow.start(workflow, {
    workflowId,
    taskQueue: taskQueues.orchestration,
    args: [input],
  });
}

function run(number: number): Abandoned {
  const workflow = { workflowId: `run/hello/k${number}`, status: 'terminated' as const };
  return { kind: 'run', project: 'hello', key: `k${number}`, number, phase: 'checking', workflow };
}

describe('reconciling', () => {
  test('goes through all pages, and ends each row with what became of it', async () => {
    const asked: AbandonedRequest[] = [];
    const ended: AbandonedEnd[] = [];
    const pages: Record<string, AbandonedPage> = {
      'runs/0': { abandoned: [run(1)], next: 1_000, looked: 1_000 },
      'runs/1000': { abandoned: [run(2)], next: null, looked: 3 },
      'deployments/0': {
        abandoned: [
          {
            kind: 'deployment',
            project: 'hello',
            environment: 'production',
            number: 7,
            rollback: false,
            version: '1.2.0',
            phase: 'switching',
            workflow: { workflowId: 'deployment/hello/production/7', status: 'terminated' },
            turn: { workflowId: 'rollout/hello/production/7', status: 'terminated' },
          },
        ],
        next: null,
        looked: 1,
      },
    };
    fakes.readAbandoned = (request) => {
      asked.push(request);
      const page = pages[`${request.of}/${request.after}`];
      if (page === undefined) throw new Error(`page ${request.of}/${request.after} was not to be asked for`);
      return Promise.resolve(page);
    };
    fakes.settleAbandoned = (end) => Promise.resolve(ended.push(end) > 0);
    expect(await execute<ReconcileReport>('reconcileRecords')).toEqual({ looked: 1_004, ended: 3, left: 0 });
    expect(new Set(asked.map(({ graceMs }) => graceMs))).toEqual(new Set([120_000]));
    expect(ended).toMatchObject([
      { kind: 'run', run: { project: 'hello', key: 'k1', number: 1 }, outcome: 'errored' },
      { kind: 'run', run: { number: 2 }, why: { workflow: { status: 'terminated' } } },
      {
        kind: 'deployment',
        version: '1.2.0',
        result: { number: 7, outcome: 'held' },
        why: { turn: { workflowId: 'rollout/hello/production/7' } },
      },
    ]);
  }, 60_000);

  test('of a row that cannot be ended keeps no other waiting', async () => {
    fakes.readAbandoned = ({ of }) =>
      Promise.resolve({ abandoned: of === 'runs' ? [run(1), run(2)] : [], next: null, looked: 2 });
    fakes.settleAbandoned = (end) => {
      if (end.kind === 'run' && end.run.number === 1)
        throw ApplicationFailure.create({ message: 'the table is locked' });
      return Promise.resolve(true);
    };
    expect(await execute<ReconcileReport>('reconcileRecords')).toEqual({ looked: 4, ended: 1, left: 1 });
    expect(calls.filter((name) => name === 'settleAbandoned')).toHaveLength(4);
  }, 60_000);

  test('ends only so many at a time', async () => {
    const many = Array.from({ length: 300 }, (_, index) => run(index + 1));
    fakes.readAbandoned = () => Promise.resolve({ abandoned: many, next: 1_000, looked: 300 });
    expect(await execute<ReconcileReport>('reconcileRecords')).toMatchObject({ ended: 200 });
    expect(calls.filter((name) => name === 'readAbandoned')).toHaveLength(1);
  }, 60_000);
});

describe('retention', () => {
  const project = { runs: 30, backups: 14, damagedDatabasesMs: 1, environments: ['staging', 'production'] };

  test('goes through every project, environment and machine, with what each keeps', async () => {
    const seen: object[] = [];
    fakes.readRetention = () =>
      Promise.resolve({
        projects: [
          { project: 'a', ...project },
          { project: 'b', ...project, backups: 3, environments: [] },
        ],
        machines: [machine],
        problems: [],
      });
    fakes.removeOldBackups = (input) => {
      seen.push(input);
      return Promise.resolve({ what: `backups of ${input.environment}`, count: 2, sizeBytes: 20 });
    };
    let batches = 0;
    fakes.removeOldLogs = ({ project: of }) => {
      batches += 1;
      return Promise.resolve({ what: `logs of ${of}`, count: 500, sizeBytes: 5, more: batches < 3 });
    };
    const { removed, problems } = await execute<RetentionReport>('applyRetention');
    expect(problems).toEqual([]);
    expect(seen).toEqual([
      { project: 'a', environment: 'staging', runs: 30, backups: 14, damagedDatabasesMs: 1 },
      { project: 'a', environment: 'production', runs: 30, backups: 14, damagedDatabasesMs: 1 },
    ]);
    expect(removed).toEqual([
      { what: 'logs of a', count: 1_500, sizeBytes: 15 },
      { what: 'backups of staging', count: 2, sizeBytes: 20 },
      { what: 'backups of production', count: 2, sizeBytes: 20 },
      { what: 'logs of b', count: 500, sizeBytes: 5 },
    ]);
    expect(calls.filter((name) => name === 'removeOldImages')).toHaveLength(4);
    expect(calls.filter((name) => name === 'removeLeftFiles')).toHaveLength(1);
  }, 60_000);

  test('asks registries only where the project wants it', async () => {
    fakes.readRetention = () =>
      Promise.resolve({
        projects: [
          { project: 'a', ...project, registry: true },
          { project: 'b', ...project },
        ],
        machines: [],
        problems: [],
      });
    const asked: object[] = [];
    fakes.removePushedImages = (input) => {
      asked.push(input);
      return Promise.resolve({ what: 'pushed images of a', count: 1, sizeBytes: 7, names: ['web:1@sha256:0'] });
    };
    const { removed, problems } = await execute<RetentionReport>('applyRetention');
    expect(problems).toEqual([]);
    expect(asked).toEqual([{ project: 'a' }]);
    expect(removed).toEqual([{ what: 'pushed images of a', count: 1, sizeBytes: 7, names: ['web:1@sha256:0'] }]);
  }, 60_000);

  test('of a registry can be looked at without removing anything', async () => {
    const asked: object[] = [];
    fakes.removePushedImages = (input) => {
      asked.push(input);
      return Promise.resolve({ what: 'pushed images of a', count: 1, sizeBytes: 7, names: ['web:1@sha256:0'] });
    };
    expect(await execute('reviewRegistry', { project: 'a' })).toMatchObject({ count: 1, names: ['web:1@sha256:0'] });
    expect(asked).toEqual([{ project: 'a', dryRun: true }]);
  }, 60_000);

  test('a store that was lost is recovered as it was asked for, and the page says what was written', async () => {
    const asked: RecoveryRequest[] = [];
    fakes.recoverEnvironment = (input) => {
      asked.push(input);
      const { project: name, environment } = input;
      return Promise.resolve({
        project: name,
        environment,
        applied: true,
        lines: ['live: 2-abc'],
        problems: ['1-abc'],
      });
    };
    const input = { project: 'hello', environment: 'production', apply: true, by: 'ada', reason: 'the disk broke' };
    expect(await execute('recoverRecords', input)).toMatchObject({ applied: true, lines: ['live: 2-abc'] });
    expect(asked).toEqual([input]);
  }, 60_000);

  test('that cannot remove one thing removes the others, and says so; a machine that is away is not waited for', async () => {
    fakes.readRetention = () =>
      Promise.resolve({ projects: [{ project: 'a', ...project }], machines: [away, machine], problems: ['b: broken'] });
    fakes.removeOldDatabases = ({ environment }) => {
      if (environment === 'staging') throw ApplicationFailure.nonRetryable('no such user', 'DatabaseRefused');
      return Promise.resolve({ what: 'databases of a/production', count: 1, sizeBytes: 9 });
    };
    fakes.removeOldPlans = ({ project: name, environment }) =>
      Promise.resolve({ what: `saved plans of ${name}/${environment}`, count: 1, sizeBytes: 5 });
    const handle = await start<RetentionReport>('applyRetention');
    await skipAbsence(server, handle, 'removeLeftFiles', machineAbsenceMs);
    const { removed, problems } = await handle.result();
    expect(removed).toEqual([
      { what: 'saved plans of a/staging', count: 1, sizeBytes: 5 },
      { what: 'databases of a/production', count: 1, sizeBytes: 9 },
      { what: 'saved plans of a/production', count: 1, sizeBytes: 5 },
    ]);
    expect(problems).toEqual([
      'b: broken',
      'databases of a/staging: no such user',
      expect.stringMatching(/^files of build-away: /),
    ]);
    expect(calls).toContain('removeLeftFiles');
  }, 60_000);
});
