import { resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { LightMyRequestResponse } from 'fastify';
import type { RecoveryActivities, RecoveryRequest } from '../../../src/activities/contracts.ts';
import { CliError } from '../../../src/cli/exit.ts';
import { createProgram } from '../../../src/cli/program.ts';
import { listAudit } from '../../../src/store/audit.ts';
import type { Role } from '../../../src/store/tables/engine.ts';
import { ensureWorkflowBundle } from '../../../src/workers/bundle.ts';
import { taskQueues } from '../../../src/workflows/queues.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';
import { components } from '../../support/components.ts';

const project = `recovery-${process.pid}`;
const lines = ['live: 2-abc in green, of deployment 2; on record is nothing'];

let api: TestApi;
let stop: () => Promise<void>;
let activities: RecoveryActivities;
let asked: RecoveryRequest[] = [];

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  api = await startTestApi();
  await api.addProject(project);
  const { temporal } = await components('temporal');
  const connection = await NativeConnection.connect({ address: temporal.address });
  const codePath = await ensureWorkflowBundle(resolve(import.meta.dirname, '../../../.slipway/test/bundles'));
  const common = { connection, namespace: temporal.namespace };
  const workers = await Promise.all([
    Worker.create({ ...common, taskQueue: api.taskQueue, workflowBundle: { codePath } }),
    Worker.create({
      ...common,
      taskQueue: taskQueues.deploy,
      activities: { recoverEnvironment: (input: RecoveryRequest) => activities.recoverEnvironment(input) },
    }),
  ]);
  const running = workers.map((worker) => worker.run());
  stop = async () => {
    for (const worker of workers) worker.shutdown();
    await Promise.all(running);
    await connection.close();
  };
}, 120_000);
afterAll(async () => {
  await stop();
  await api.close();
}, 60_000);
beforeEach(() => {
  asked = [];
  activities = {
    recoverEnvironment(input) {
      asked.push(input);
      const { environment, apply } = input;
      return Promise.resolve({ project, environment, applied: apply, lines, problems: [] });
    },
  };
});

async function recover(role: Role, body: object, environment = 'staging'): Promise<LightMyRequestResponse> {
  const authorization = `Bearer ${await api.token(role)}`;
  const url = `/v1/projects/${project}/environments/${environment}/recover`;
  return api.app.inject({ method: 'POST', url, headers: { authorization }, body });
}

/** The command line against this API. @returns what it printed, and how it ended. */
async function slipway(...args: readonly string[]): Promise<{ readonly said: string; readonly ending: string }> {
  const before = { ...process.env };
  const token = await api.token('admin', [], 'cli');
  Object.assign(process.env, { SLIPWAY_URL: address, SLIPWAY_TOKEN: token, SLIPWAY_PROJECT: project });
  const said: string[] = [];
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = (text) => said.push(String(text)) > 0;
  try {
    const program = createProgram({ version: '0', signal: new AbortController().signal });
    await program.parseAsync(['node', 'slipway', 'recover', ...args]);
    return { said: said.join(''), ending: 'ok' };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { said: said.join(''), ending: error.ending };
  } finally {
    process.stdout.write = write;
    process.env = before;
  }
}

let address: string;
beforeAll(async () => {
  address = await api.app.listen({ port: 0, host: '127.0.0.1' });
});

describe('what the store has lost of an environment', () => {
  test('is only said where nothing else is asked for', async () => {
    const answer = await recover('admin', {});
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ project, environment: 'staging', applied: false, lines, problems: [] });
    expect(asked).toMatchObject([{ project, environment: 'staging', apply: false }]);
    expect((await listAudit(api.store.db, { object: `environment/${project}/staging` }, {})).items).toEqual([]);
  }, 60_000);

  test('is written on an administrator’s word, with a reason, and the audit has who asked for it', async () => {
    const answer = await recover('admin', { apply: true, reason: 'the disk broke' });
    expect(answer.json()).toMatchObject({ applied: true });
    expect(asked).toMatchObject([{ apply: true, reason: 'the disk broke' }]);
    const { items } = await listAudit(api.store.db, { object: `environment/${project}/staging` }, {});
    expect(items).toMatchObject([{ action: 'environment.recover', detail: { reason: 'the disk broke' } }]);
  }, 60_000);

  test('is nobody else’s to ask for, of environments that there are, and not written without a reason', async () => {
    expect((await recover('operator', {})).statusCode).toBe(403);
    expect((await recover('admin', {}, 'nowhere')).statusCode).toBe(404);
    expect((await recover('admin', { apply: true })).statusCode).toBe(422);
    expect(asked).toEqual([]);
  }, 60_000);

  test('is not written while somebody has the turn, and two do not write at once', async () => {
    activities = {
      recoverEnvironment() {
        throw ApplicationFailure.nonRetryable('rollout 4 has the turn: wait for its end, or abort it.', 'Conflict');
      },
    };
    const answer = await recover('admin', { apply: true, reason: 'the disk broke' });
    expect(answer.statusCode).toBe(409);
    expect(answer.json()).toMatchObject({ detail: expect.stringContaining('has the turn') });

    let goOn: () => void = () => undefined;
    const held = new Promise<void>((settle) => (goOn = settle));
    let began: () => void = () => undefined;
    const begun = new Promise<void>((settle) => (began = settle));
    activities = {
      async recoverEnvironment({ environment }) {
        began();
        await held;
        return { project, environment, applied: false, lines: [], problems: [] };
      },
    };
    const first = recover('admin', {});
    await begun;
    expect((await recover('admin', { apply: true, reason: 'again' })).statusCode).toBe(409);
    goOn();
    expect((await first).statusCode).toBe(200);
  }, 60_000);

  test('is shown by the command line, line by line, and ends with 3 where something cannot be made out', async () => {
    expect(await slipway('staging')).toEqual({
      said: `Would be written of ${project}/staging:\n  ${lines[0]!}\n`,
      ending: 'ok',
    });
    expect(await slipway('staging', '--apply')).toEqual({ said: '', ending: 'usage' });
    expect(asked).toHaveLength(1);
    expect(await slipway('staging', '--apply', '--reason', 'the disk broke')).toEqual({
      said: `Written of ${project}/staging:\n  ${lines[0]!}\n`,
      ending: 'ok',
    });
    activities = {
      recoverEnvironment: ({ environment }) =>
        Promise.resolve({ project, environment, applied: false, lines: [], problems: ['Release 1 is gone.'] }),
    };
    expect(await slipway('staging')).toEqual({
      said: `Nothing is missing of ${project}/staging.\nNot known:\n  Release 1 is gone.\n`,
      ending: 'errored',
    });
  }, 60_000);
});
