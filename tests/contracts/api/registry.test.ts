import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/activity';
import type { LightMyRequestResponse } from 'fastify';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { PushedRetention, RegistryRetentionActivities } from '../../../src/activities/contracts.ts';
import { createProgram } from '../../../src/cli/program.ts';
import { ensureWorkflowBundle } from '../../../src/workers/bundle.ts';
import { taskQueues } from '../../../src/workflows/queues.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';
import { components } from '../../support/components.ts';

const project = `registry-${process.pid}`;

let api: TestApi;
let stop: () => Promise<void>;
let activities: RegistryRetentionActivities;
const asked: PushedRetention[] = [];

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
      activities: { removePushedImages: (input: PushedRetention) => activities.removePushedImages(input) },
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

async function review(role: 'viewer' | 'operator', name = project): Promise<LightMyRequestResponse> {
  const authorization = `Bearer ${await api.token(role)}`;
  return api.app.inject({ method: 'POST', url: `/v1/projects/${name}/registry/review`, headers: { authorization } });
}

describe('what would go from a registry', () => {
  test('is found by a worker, which removes nothing, and shown by the command line', async () => {
    const names = ['web:1-abcdef0@sha256:0', 'web:2-abcdef0@sha256:1'];
    activities = {
      removePushedImages(input) {
        asked.push(input);
        return Promise.resolve({ what: 'pushed images', count: 3, sizeBytes: 30, names });
      },
    };
    const answer = await review('operator');
    expect(answer.json()).toEqual({ count: 3, sizeBytes: 30, images: names });
    expect(asked).toEqual([{ project, dryRun: true }]);

    const address = await api.app.listen({ port: 0, host: '127.0.0.1' });
    const before = { ...process.env };
    const token = await api.token('operator', [], 'cli');
    Object.assign(process.env, { SLIPWAY_URL: address, SLIPWAY_TOKEN: token, SLIPWAY_PROJECT: project });
    const said: string[] = [];
    const write = process.stdout.write.bind(process.stdout);
    process.stdout.write = (text) => said.push(String(text)) > 0;
    try {
      const program = createProgram({ version: '0', signal: new AbortController().signal });
      await program.parseAsync(['node', 'slipway', 'registry']);
    } finally {
      process.stdout.write = write;
      process.env = before;
    }
    expect(said.join('')).toBe(
      `3 images of ${project} would go from its registry, 30 bytes\n  ${names.join('\n  ')}\n  and 1 more\n`,
    );
  }, 60_000);

  test('is an error with what to do next where the registry does not answer as it should', async () => {
    activities = {
      removePushedImages() {
        throw ApplicationFailure.nonRetryable('registry.example refused GET with status 401', 'RegistryRefused');
      },
    };
    const answer = await review('operator');
    expect(answer.statusCode).toBe(502);
    expect(answer.json()).toMatchObject({
      type: 'urn:slipway:problem:RegistryRefused',
      title: 'Registry refused',
      detail: expect.stringContaining('credentials of the registry'),
    });
    // What a registry says is for the log.
    expect(answer.body).not.toContain('registry.example');
  }, 60_000);

  test('is for operators, and of projects that there are', async () => {
    expect((await review('viewer')).statusCode).toBe(403);
    expect((await review('operator', 'nobody')).statusCode).toBe(404);
  });
});
