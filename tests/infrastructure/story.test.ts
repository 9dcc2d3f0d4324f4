import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { planPage } from '../../src/cli/pages/plan.ts';
import { createPainter } from '../../src/cli/words.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { infrastructureProgram } from '../support/minio.ts';
import { type StateServer, startStateServer } from '../support/state-server.ts';
import { until } from '../support/until.ts';

/** Who asks for a password in the real world. */
const password = 'pa55-of-the-queue-8841';
const definition = (size: string): string => `
variable "environment" {
  type = string
}
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "queue" {
  input = { name = "orders-\${var.environment}", size = "${size}", password = var.password }
}
output "queue" {
  value = "orders-\${var.environment} ${size}"
}
`;

let story: InstallationStory;
let server: StateServer;

beforeAll(async () => {
  await infrastructureProgram('terraform');
  server = await startStateServer();
  story = await startInstallationStory({
    name: 'infra',
    files: {
      'slipway.yaml': `${quickDefinition()}\ninfrastructure:\n  folder: infrastructure\n`,
      'infrastructure/main.tf': definition('small'),
    },
    env: { QUEUE_PASSWORD: password, PLAN_KEY: 'a long text that only the worker knows' },
  });
  await story.setProject((document) => {
    document.setIn(['environments', 'production', 'watch', 'duration'], '1s');
    document.setIn(['environments', 'production', 'infrastructure'], {
      kind: 'terraform',
      executor: 'host',
      backend: server.backend('production'),
      variables: { environment: 'production' },
      secretVariables: { password: { env: 'QUEUE_PASSWORD' } },
      planKey: { env: 'PLAN_KEY' },
      lockTimeout: '5s',
    });
  });
}, 1_200_000);

afterAll(async () => {
  await story.close();
  await server.stop();
}, 120_000);

function queue(): string | undefined {
  const state = server.state('production');
  if (state === undefined) return undefined;
  return (JSON.parse(state) as { readonly outputs: { readonly queue?: { readonly value: string } } }).outputs.queue
    ?.value;
}

const minutes = 60_000;

test(
  'a push is shown with what it changes, approved, applied exactly, and deployed',
  async () => {
    const deployment = await story.deploymentOf(
      await story.push({ branch: 'main', subject: 'feat: a queue', files: {} }),
    );
    const asked = await until(
      async () => {
        const found = await story.operator.readDeployment(deployment);
        if (found.outcome !== null) throw new Error(`${found.outcome}: ${String(found.reason)}`);
        return found.phase === 'awaiting-approval' ? found : undefined;
      },
      { timeoutMs: 90_000, what: 'the approval' },
    );
    expect(asked.plan?.infrastructure).toMatchObject({
      kind: 'terraform',
      summary: { changes: [{ address: 'terraform_data.queue', action: 'create' }] },
    });
    const page = planPage(asked.plan!, createPainter({ colour: false, ascii: true }));
    expect(page).toContain('1 to create');
    expect(page).toContain('create terraform_data.queue');
    expect(queue()).toBeUndefined();
    // The saved plan lies among what Slipway keeps, and what it holds cannot be read there.
    expect(plansAmong(await filesWithoutPassword())).not.toEqual([]);

    await story.approve(deployment);
    const ended = await story.endOf(deployment);
    expect(queue()).toBe('orders-production small');
    expect([ended.outcome, ended.reason]).toEqual(['succeeded', expect.any(String)]);
    expect((await story.answer('production')).version).toBe(ended.version);
    // The tool's own state is the only place that has it.
    expect(JSON.stringify([asked, ended])).not.toContain(password);
    // It is removed when everything else is done.
    await until(async () => plansAmong(await filesWithoutPassword()).length === 0, { what: 'its plan to be gone' });
  },
  8 * minutes,
);

test(
  'a state that somebody changed after the approval is planned anew and asked for anew; what was approved is not applied',
  async () => {
    const files = { 'infrastructure/main.tf': definition('large') };
    const deployment = await story.deploymentOf(
      await story.push({ branch: 'main', subject: 'feat: a large queue', files }),
    );
    const first = await until(
      async () => {
        const found = await story.operator.readDeployment(deployment);
        return found.phase === 'awaiting-approval' ? found.plan?.hash : undefined;
      },
      { timeoutMs: 90_000, what: 'the approval' },
    );
    server.touch('production');
    await story.approve(deployment);
    await until(
      async () => {
        const found = await story.operator.readDeployment(deployment);
        return found.phase === 'awaiting-approval' && found.plan?.hash !== first;
      },
      { timeoutMs: 90_000, what: 'the approval of another plan' },
    );
    expect(queue()).toBe('orders-production small');
    await story.approve(deployment);
    const { outcome, reason } = await story.endOf(deployment);
    expect(queue()).toBe('orders-production large');
    expect([outcome, reason]).toEqual(['succeeded', expect.any(String)]);
  },
  8 * minutes,
);

test(
  'a lock that somebody holds ends the deployment before anybody is asked, and says whose it is',
  async () => {
    server.hold('production', {
      ...{ ID: 'a-lock-of-ada', Who: 'ada@laptop', Operation: 'OperationTypeApply', Created: new Date().toISOString() },
    });
    const deployment = await story.deploymentOf(await story.push({ branch: 'main', subject: 'feat: more', files: {} }));
    expect(await story.endOf(deployment)).toMatchObject({
      outcome: 'errored',
      reason: expect.stringContaining('terraform force-unlock a-lock-of-ada') as unknown,
    });
    server.hold('production', undefined);
  },
  8 * minutes,
);

/** All that Slipway keeps, of which none says the password. */
async function filesWithoutPassword(): Promise<readonly string[]> {
  const folder = join(story.context.stateFolder, 'blobs');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  expect(files).not.toEqual([]);
  for (const file of files) expect([file, (await readFile(file)).includes(password)]).toEqual([file, false]);
  return files;
}

function plansAmong(files: readonly string[]): readonly string[] {
  return files.filter((file) => file.includes('/infrastructure/'));
}
