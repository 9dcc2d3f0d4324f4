import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { type Config, createLogger, readConfig } from '../../src/config.ts';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';
import { verifyBeforeTaking, verifyOpenWorkflows } from '../../src/workers/verify.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { createScenario } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;
let folder = '';
let config: Config;
let bundle = '';
let changed = '';

beforeAll(async () => {
  env = await createWorkflowEnv({ server: 'real' });
  folder = mkdtempSync(join(tmpdir(), 'slipway-verify-'));
  bundle = await ensureWorkflowBundle(join(folder, 'bundles'));
  const code = readFileSync(bundle, 'utf8');
  // A build that begins a run with another activity, and says nothing of it with `patched`.
  const other = code.replaceAll('.prepareRun', '.buildImages');
  expect(other).not.toBe(code);
  changed = join(folder, 'bundles', 'changed.js');
  writeFileSync(changed, other);
  config = readConfig({
    PATH: process.env['PATH'],
    SLIPWAY_STATE: folder,
    TEMPORAL_ADDRESS: env.server.address,
    TEMPORAL_NAMESPACE: env.server.namespace ?? 'default',
  });
}, 180_000);

afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true, force: true });
}, 180_000);

test('a build that cannot go on with what is open does not take the queue; one that can does, and is remembered', async () => {
  const { given, when, then } = createScenario(env);
  const check = given.gate('runStage');
  const run = await when.push();
  await then.called('runStage');
  await env.until(
    async () => (await env.client.workflow.count('ExecutionStatus = "Running"')).count > 0,
    'the run to be listed',
  );
  const logger = createLogger({ ...config, logLevel: 'silent' }, 'worker');
  const take = (code: string, temporal = env.client): Promise<void> =>
    verifyBeforeTaking({ config, temporal, bundle: code, logger });

  await expect(take(changed)).rejects.toMatchObject({
    type: 'BuildRefused',
    message: expect.stringContaining(`1 of 1 open workflows cannot go on with this build:\n  ${run.workflowId} (`),
  });
  // Nothing is remembered of a build that was refused.
  await expect(take(changed)).rejects.toMatchObject({ type: 'BuildRefused' });
  await take(bundle);

  // Nobody listens there: the same build asks nothing, another one is not let in unasked.
  const nobody = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
  await take(bundle, nobody);
  await expect(take(changed, nobody)).rejects.toMatchObject({ type: 'TemporalUnavailable' });
  await nobody.connection.close();

  check();
  await run.result();
}, 120_000);

test('it says when there was more than its limits let it look at', async () => {
  const { given, when, then } = createScenario(env);
  const check = given.gate('runStage');
  const runs = [await when.push({ key: 'one' }), await when.push({ key: 'two' })];
  await then.called('runStage', 2);
  await env.until(
    async () => (await verifyOpenWorkflows(env.client, bundle)).replayed === 2,
    'both runs to be listed, and no other',
  );
  expect(await verifyOpenWorkflows(env.client, bundle)).toEqual({ replayed: 2, problems: [], complete: true });
  const few = { budgetMs: 60_000, workflows: 1 };
  expect(await verifyOpenWorkflows(env.client, bundle, few)).toEqual({ replayed: 1, problems: [], complete: false });
  check();
  await Promise.all(runs.map((run) => run.result()));
}, 120_000);
