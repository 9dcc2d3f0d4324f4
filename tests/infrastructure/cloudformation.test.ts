import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Activities } from '../../src/activities/contracts.ts';
import { createInfrastructureLeftovers } from '../../src/activities/infrastructure-leftovers.ts';
import { createInfrastructureRecords } from '../../src/activities/infrastructure-records.ts';
import { createInfrastructureActivities, createInfrastructures } from '../../src/activities/infrastructure.ts';
import type { Place } from '../../src/activities/places.ts';
import type { InfrastructureSpec } from '../../src/definition/specs/infrastructure.ts';
import type { SecretRefs } from '../../src/definition/specs/secret.ts';
import type { ProviderError } from '../../src/domain/failures.ts';
import { type Fence, createFence } from '../../src/effects/fence.ts';
import { createBlobs } from '../../src/providers/blobs/index.ts';
import { createExecInfrastructure } from '../../src/providers/infrastructures/exec.ts';
import type { InfrastructureRequest } from '../../src/providers/infrastructures/port.ts';
import { createGitRepository } from '../../src/providers/repositories/git.ts';
import { openDeployment } from '../../src/store/deployments.ts';
import { putProject } from '../../src/store/projects.ts';
import { projectYaml } from '../support/api.ts';
import { type CloudFormation, startCloudFormation } from '../support/cloudformation.ts';
import { quietPolicy, twoPeople } from '../support/fake-activities.ts';
import { createGitOrigin } from '../support/git-origin.ts';
import { applying } from '../support/infrastructure-suite.ts';
import { type TestStore, temporaryStore } from '../support/store.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Deployment, type Scenario, createScenario } from '../support/workflow-env-scenario.ts';

const example = join(import.meta.dirname, '../../examples/infrastructure');
const keys = { AWS_ACCESS_KEY_ID: 'AKIAOFTHETESTS000001', AWS_SECRET_ACCESS_KEY: 'kept-from-everybody-7261-of-aws' };
const password = 'pa55-of-the-queue-8841';

let cloud: CloudFormation;
let folder: string;
/** As the example's project.yaml calls the example's script. */
let commands: Record<'plan' | 'apply' | 'state' | 'discard', readonly string[]>;
let stack = '';
let stacks = 0;

beforeAll(async () => {
  cloud = await startCloudFormation();
  const { environments } = parse(await readFile(join(example, 'project.yaml'), 'utf8')) as {
    readonly environments: { readonly staging: { readonly infrastructure: typeof commands } };
  };
  commands = environments.staging.infrastructure;
}, 900_000);
afterAll(() => cloud.stop(), 60_000);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-cloudformation-'));
  stacks += 1;
  stack = `orders-${stacks}`;
  cloud.requests.length = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const minutes = 60_000;

async function statusOf(name = stack): Promise<string> {
  return await cloud
    .aws('describe-stacks', '--stack-name', name, '--query', 'Stacks[0].StackStatus', '--output', 'text')
    .catch((error: unknown) => (String(error).includes('does not exist') ? 'none' : Promise.reject(error as Error)));
}

/** Change sets of the stack that could be executed. */
async function changeSets(name = stack): Promise<readonly string[]> {
  const wanted = `Summaries[?StackName=='${name}' && ExecutionStatus=='AVAILABLE'].ChangeSetId`;
  const said = await cloud.aws('list-change-sets', '--stack-name', name, '--query', wanted, '--output', 'json');
  return JSON.parse(said) as readonly string[];
}

const template = (queues: readonly string[]): string =>
  [
    'Parameters: { size: { Type: String }, password: { Type: String, NoEcho: true } }',
    'Resources:',
    ...queues.map(
      (name) => `  ${name}: { Type: 'AWS::SQS::Queue', Properties: { Tags: [{ Key: size, Value: !Ref size }] } }`,
    ),
  ].join('\n');

describe('the change set of the example', () => {
  const infrastructure = (): ReturnType<typeof createExecInfrastructure> => createExecInfrastructure(commands);
  let lines: string[];
  let checkouts = 0;
  beforeEach(() => void (lines = []));

  /** In a checkout of its own, as every call of an activity has it. */
  async function request(queues: readonly string[], size = 'small'): Promise<InfrastructureRequest> {
    checkouts += 1;
    const checkout = join(folder, `checkout-${checkouts}`);
    await cp(join(example, 'infrastructure'), checkout, { recursive: true });
    await writeFile(join(checkout, 'template.yaml'), template(queues));
    return {
      name: 'orders-staging-12',
      folder: checkout,
      variables: { size },
      secretVariables: { password },
      env: { ...cloud.env, STACK: stack },
      secrets: keys,
      lockTimeoutMs: 1_000,
      timeoutMs: 120_000,
      onLine: (line) => lines.push(line),
    };
  }
  const refusal = (work: Promise<unknown>): Promise<ProviderError> =>
    work.then(
      () => Promise.reject(new Error('it was not refused')),
      (error: unknown) => error as ProviderError,
    );

  test(
    'is what is shown, and exactly that one is executed, on a new stack and on one that is there; then nothing is left to change',
    async () => {
      const first = await infrastructure().plan(await request(['Orders']));
      expect(first.summary.changes).toEqual([{ address: 'Orders', action: 'create' }]);
      expect(await changeSets()).toEqual([first.content.toString()]);
      expect(await statusOf()).toBe('REVIEW_IN_PROGRESS');
      // That somebody asks what would be made is no change.
      expect(await infrastructure().readState(await request(['Orders']))).toBe(first.state);
      const { state } = await infrastructure().apply(applying(await request(['Orders']), first));
      expect(await statusOf()).toBe('CREATE_COMPLETE');
      expect(state).not.toBe(first.state);

      const second = await infrastructure().plan(await request(['Orders', 'Returns']));
      expect(second.summary.changes).toEqual([{ address: 'Returns', action: 'create' }]);
      await infrastructure().apply(applying(await request([]), second));
      const executed = cloud.requests.filter(({ action }) => action === 'ExecuteChangeSet');
      expect(executed.map(({ parameters }) => parameters.get('ChangeSetName'))).toEqual([
        first.content.toString(),
        second.content.toString(),
      ]);

      const third = await infrastructure().plan(await request(['Orders', 'Returns']));
      expect(third.summary.changes).toEqual([]);
      expect(await changeSets()).toEqual([]);
      const fourth = await infrastructure().plan(await request(['Orders']));
      expect(fourth.summary.changes).toEqual([{ address: 'Returns', action: 'destroy' }]);
    },
    4 * minutes,
  );

  test(
    'replaces the one before it of the same deployment, and goes when nobody wants it; with it a stack that is nothing yet',
    async () => {
      await infrastructure().plan(await request(['Orders']));
      const { content } = await infrastructure().plan(await request(['Orders', 'Returns']));
      expect(await changeSets()).toEqual([content.toString()]);
      await infrastructure().discard?.(await request(['Orders']));
      expect(await statusOf()).toBe('none');
      await infrastructure().discard?.(await request(['Orders']));

      const made = await infrastructure().plan(await request(['Orders']));
      await infrastructure().apply(applying(await request(['Orders']), made));
      await infrastructure().plan(await request(['Returns']));
      await infrastructure().discard?.(await request(['Returns']));
      expect(await changeSets()).toEqual([]);
      expect(await statusOf()).toBe('CREATE_COMPLETE');
    },
    4 * minutes,
  );

  test(
    'is stale when somebody else has changed the stack, or has removed it: nothing is executed',
    async () => {
      const made = await infrastructure().plan(await request(['Orders']));
      await infrastructure().apply(applying(await request(['Orders']), made));
      const stale = await infrastructure().plan(await request(['Orders', 'Returns']));
      const parameters = ['ParameterKey=size,ParameterValue=large', 'ParameterKey=password,ParameterValue=x'];
      await cloud.aws(
        ...['update-stack', '--stack-name', stack, '--template-body', template(['Orders'])],
        ...['--parameters', ...parameters],
      );
      expect(await refusal(infrastructure().apply(applying(await request([]), stale)))).toMatchObject({
        type: 'InfrastructureStale',
        retryable: false,
      });
      const gone = await infrastructure().plan(await request(['Orders', 'Returns']));
      await cloud.aws('delete-change-set', '--change-set-name', gone.content.toString());
      expect(await refusal(infrastructure().apply(applying(await request([]), gone)))).toMatchObject({
        type: 'InfrastructureStale',
      });
      expect(cloud.requests.filter(({ action }) => action === 'ExecuteChangeSet')).toHaveLength(1);
    },
    4 * minutes,
  );

  test(
    'that could not be made is no plan in which nothing changes; it says why, and nothing of it stays',
    async () => {
      cloud.failChangeSet('Template error: instance of Fn::GetAtt references undefined resource Lost');
      const failure = await refusal(infrastructure().plan(await request(['Orders'])));
      expect(failure).toMatchObject({ type: 'InfrastructureFailed' });
      expect(failure.message).toContain(`the change set of ${stack} is FAILED: Template error: instance of Fn::GetAtt`);
      expect(await statusOf()).toBe('none');
    },
    2 * minutes,
  );

  test(
    'that CloudFormation takes back while it executes it was not applied, and what went wrong first is told',
    async () => {
      const made = await infrastructure().plan(await request(['Orders']));
      await infrastructure().apply(applying(await request(['Orders']), made));
      const next = await infrastructure().plan(await request(['Orders', 'Returns']));
      cloud.failExecution('Returns', 'the quota of queues is reached');
      const failure = await refusal(infrastructure().apply(applying(await request([]), next)));
      expect(failure).toMatchObject({ type: 'InfrastructureFailed' });
      expect(failure.message).toContain(
        `the stack ${stack} is UPDATE_ROLLBACK_COMPLETE: Returns: the quota of queues is reached`,
      );
      cloud.recover();
    },
    2 * minutes,
  );

  test(
    'waits for a stack that somebody is changing',
    async () => {
      const made = await infrastructure().plan(await request(['Orders']));
      await infrastructure().apply(applying(await request(['Orders']), made));
      cloud.requests.length = 0;
      cloud.busy(2);
      await infrastructure().readState(await request(['Orders']));
      expect(cloud.requests.map(({ action }) => action)).toEqual([
        ...['DescribeStacks', 'DescribeStacks', 'DescribeStacks', 'DescribeStackEvents'],
      ]);
    },
    2 * minutes,
  );

  test(
    'shows no key and no secret: not in its lines, its plan, its failures, nor to AWS but as a parameter that is not echoed',
    async () => {
      const made = await infrastructure().plan(await request(['Orders']));
      const applied = await infrastructure().apply(applying(await request(['Orders']), made));
      cloud.failChangeSet(`Parameter password is ${password}`);
      const failure = await refusal(infrastructure().plan(await request(['Returns'])));
      expect(failure.message).toContain('Parameter password is ');
      const told = JSON.stringify([{ ...made, content: made.content.toString() }, applied, lines, failure.message]);
      expect(told).not.toContain(password);
      for (const { action, sent } of cloud.requests) {
        expect([action, sent.includes(keys.AWS_SECRET_ACCESS_KEY)]).toEqual([action, false]);
        expect([action, sent.includes(keys.AWS_ACCESS_KEY_ID)]).toEqual([action, true]);
        expect([action, sent.includes(password)]).toEqual([action, action === 'CreateChangeSet']);
      }
      expect(told).not.toContain(keys.AWS_SECRET_ACCESS_KEY);
    },
    2 * minutes,
  );
});

describe('a deployment with the change set of the example', () => {
  let env: WorkflowEnv;
  let store: TestStore;
  let fence: Fence;
  beforeAll(async () => {
    [env, store] = [await createWorkflowEnv(), await temporaryStore()];
    fence = createFence({ connectionString: store.url });
  }, 180_000);
  afterAll(async () => {
    await env.close();
    await fence.close();
    await store.drop();
  }, 180_000);

  /** Workflows, activities, checkouts, records and the command line are the real ones; the rest of the release is not. */
  async function ready(): Promise<Scenario> {
    const scenario = createScenario(env);
    const { world } = scenario;
    const { project } = world;
    scenario.given.live();
    world.policy = { ...quietPolicy, approval: twoPeople };
    const files = ['change-set.sh', 'template.yaml'].map(async (name) => [
      `infrastructure/${name}`,
      await readFile(join(example, 'infrastructure', name), 'utf8'),
    ]);
    const origin = createGitOrigin();
    const commit = origin.commit(Object.fromEntries(await Promise.all(files)) as Record<string, string>);
    const spec = {
      tool: { kind: 'exec', ...commands },
      folder: 'infrastructure',
      variables: { size: 'small' },
      secretVariables: {},
      env: { ...cloud.env, STACK: stack },
      secrets: Object.fromEntries(Object.keys(keys).map((name) => [name, { kind: 'env', name }])),
      planKey: { kind: 'env', name: 'PLAN_KEY' },
      lockTimeoutMs: 1_000,
      timeoutMs: 120_000,
    } as InfrastructureSpec;
    const place = {
      definition: 'd',
      release: { project, commit },
      pair: { project: { project, repository: { url: origin.path } } },
      spec: { project, name: 'production', infrastructure: spec, target: { name: project } },
    } as unknown as Place;
    await putProject(store.db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'ada' });
    await openDeployment(store.db, {
      ...{ project, environment: 'production', version: '1.0.1', requestedBy: 'ada', author: 'ada' },
      ...{ priority: 'routine', requestedAt: new Date().toISOString(), kind: 'rollout', startedBy: 'api' },
      request: crypto.randomUUID(),
    });
    const records = createInfrastructureRecords(createBlobs({ kind: 'folder', folder: join(folder, 'blobs') }));
    const deps = {
      ...{ store, fence, records, places: { open: () => Promise.resolve(place) } },
      repositories: createGitRepository({ folder: join(folder, 'mirrors') }),
      readSecret: () => Promise.resolve('the key of the plans'),
      readSecrets: (refs: SecretRefs) =>
        Promise.resolve(Object.fromEntries(Object.entries(keys).filter(([name]) => name in refs))),
      secretVersions: () => Promise.resolve({}),
      open: () => createExecInfrastructure(commands),
    };
    const real = { ...createInfrastructureActivities(deps), ...createInfrastructureLeftovers(deps) };
    const infrastructures = createInfrastructures(deps);
    world.on('planDeployment', async (input) => {
      const plan = env.natural('planDeployment')(input as never, world) as Awaited<
        ReturnType<Activities['planDeployment']>
      >;
      const infrastructure = await infrastructures.planned(place, input);
      if (infrastructure === undefined) throw new Error('the environment has infrastructure');
      const { kind, plan: saved } = infrastructure;
      const hash = `${saved}${'0'.repeat(64)}`.slice(0, 64);
      return { ...plan, hash, identity: { ...plan.identity, infrastructure: { kind, plan: saved } }, infrastructure };
    });
    world.on('ensureInfrastructurePlan', (input) => real.ensureInfrastructurePlan(input));
    world.on('applyInfrastructure', (input) => real.applyInfrastructure(input));
    world.on('ensurePlansDiscarded', (input) => real.ensurePlansDiscarded(input));
    return scenario;
  }

  const asked = async (deployment: Deployment): Promise<void> => {
    const { plan } = await deployment.until('awaiting-approval');
    expect(plan?.infrastructure).toMatchObject({
      ...{ kind: 'exec', summary: { changes: [{ address: 'Orders', action: 'create' }] } },
    });
  };

  test(
    'asks for approval of it and executes exactly that one; keys are in no history',
    async () => {
      const { when } = await ready();
      const deployment = await when.deploy();
      await asked(deployment);
      const [waiting] = await changeSets();
      expect(cloud.requests.some(({ action }) => action === 'ExecuteChangeSet')).toBe(false);
      await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] });
      await deployment.decide('approve', { by: 'max', groups: ['devops'] });
      expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
      const executed = cloud.requests.filter(({ action }) => action === 'ExecuteChangeSet');
      expect(executed.map(({ parameters }) => parameters.get('ChangeSetName'))).toEqual([waiting]);
      expect(await statusOf()).toBe('CREATE_COMPLETE');
      for (const handle of [deployment.handle, deployment.rollOut]) {
        const history = JSON.stringify(await handle.fetchHistory());
        expect(history).toContain('ctivity');
        for (const secret of [...Object.values(keys), 'the key of the plans']) {
          expect(history).not.toContain(secret);
          expect(history).not.toContain(Buffer.from(secret).toString('base64').slice(0, 16));
        }
      }
    },
    4 * minutes,
  );

  test(
    'that is rejected removes it, and the stack that was nothing yet',
    async () => {
      const { when } = await ready();
      const deployment = await when.deploy();
      await asked(deployment);
      expect(await changeSets()).toHaveLength(1);
      await deployment.decide('reject', { by: 'lin' });
      expect(await deployment.result()).toMatchObject({ outcome: 'rejected' });
      expect(await statusOf()).toBe('none');
      expect(cloud.requests.some(({ action }) => action === 'ExecuteChangeSet')).toBe(false);
    },
    4 * minutes,
  );

  test(
    'whose change set CloudFormation takes back fails, says why, and leaves the release before it where it is',
    async () => {
      const { when, world } = await ready();
      const deployment = await when.deploy();
      await asked(deployment);
      cloud.failExecution('Orders', 'the quota of queues is reached');
      await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] });
      await deployment.decide('approve', { by: 'max', groups: ['devops'] });
      const { outcome, reason } = await deployment.result();
      expect(outcome).toBe('failed');
      expect(reason).toContain('Orders: the quota of queues is reached');
      expect(reason).toContain('The infrastructure that was applied stays');
      expect(world.serving('production')).toBe('0.9.0');
      expect(world.called('ensureReleaseRunning')).toEqual([]);
      cloud.recover();
    },
    4 * minutes,
  );
});
