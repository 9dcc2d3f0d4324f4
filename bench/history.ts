import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { deploymentId, environmentId, rolloutId, runId } from '../src/workflows/messages.ts';
import { twoPeople } from '../tests/support/fake-activities.ts';
import { until } from '../tests/support/until.ts';
import { createWorkflowEnv, type WorkflowEnv } from '../tests/support/workflow-env.ts';
import { expectRight, type Bench } from './bench.ts';
import { nowhere } from './forge.ts';

const stageNames = ['install', 'quality', 'security', 'unit', 'integration', 'package'];
const key = 'bench-history';

/** What one release leaves in Temporal, from the push to the end of its 30 minutes. */
export const history: Bench = {
  summary: 'events and bytes of a run and its deployment together, with the 30-minute watch',
  async run({ onEnd }) {
    const env = await createWorkflowEnv();
    onEnd(() => env.close());
    const world = env.world();
    world.policy = { ...world.policy, approval: twoPeople };
    world.migrations = ['001_first.sql', '002_second.sql'].map((name) => ({
      name,
      checksum: 'f'.repeat(64),
      kind: 'reversible',
    }));
    world.runPlan = {
      stages: stageNames.map((name) => ({ name, steps: ['one', 'two', 'three'], timeoutMs: 60_000 })),
      buildImages: 'push',
      images: ['airflow', 'spark', 'flink'],
      environments: ['production'],
    };
    const { project } = world;
    await env.client.workflow.start('runPipeline', {
      workflowId: runId(project, key),
      taskQueue: 'orchestration',
      args: [
        {
          project,
          key,
          event: { kind: 'push', ref: 'refs/heads/main', before: nowhere, after: 'c'.repeat(40), author: 'linus' },
          acceptedAt: new Date().toISOString(),
        },
      ],
    });
    const ref = { project, environment: 'production', number: 1 };
    const deployment = env.client.workflow.getHandle(deploymentId(ref));
    const { plan } = await until(async () => {
      const view = await deployment
        .query<{ phase: string; plan?: { hash: string } }>('deployment')
        .catch(() => undefined);
      return view?.phase === 'awaiting-approval' && view.plan !== undefined ? { plan: view.plan } : undefined;
    });
    for (const [by, group] of [
      ['alan', 'tech-lead'],
      ['grace', 'devops'],
    ] as const) {
      await deployment.signal('approve', { by, groups: [group], plan: plan.hash, proven: true });
    }
    const result = await until(() => world.resultOf(ref), { timeoutMs: 60_000, what: 'the end of the deployment' });
    expectRight(result.outcome === 'succeeded', `the deployment ended ${result.outcome}: ${result.reason}`);
    await until(async () => (await deployment.describe()).status.name === 'COMPLETED', { timeoutMs: 20_000 });

    const run = await sizeOf(env, runId(project, key));
    const deploy = await sizeOf(env, deploymentId(ref));
    const rollout = await sizeOf(env, rolloutId(ref));
    const environment = await sizeOf(env, environmentId(project, 'production'));
    const parts = { run, deployment: deploy, rollout, environment };
    return {
      figures: {
        events: run.events + deploy.events + rollout.events + environment.events,
        bytes: run.bytes + deploy.bytes + rollout.bytes + environment.bytes,
        ...parts,
      },
      notes: [
        `${stageNames.length} stages, 3 images, approval by two people, 2 migrations, 30 minutes of watch; the activities are fakes, the workflows are not`,
        'the watch is one activity however long it lasts: what it sees goes to the store, and heartbeats are no events',
        'bytes are those of the histories as JSON, which is more than the server keeps',
      ],
    };
  },
};

async function sizeOf(
  { client }: WorkflowEnv,
  workflowId: string,
): Promise<{ readonly events: number; readonly bytes: number }> {
  const found = await client.workflow.getHandle(workflowId).fetchHistory();
  return { events: found.events?.length ?? 0, bytes: JSON.stringify(historyToJSON(found)).length };
}
