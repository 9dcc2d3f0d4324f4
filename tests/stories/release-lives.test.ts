import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { startLoad } from '../../examples/demo/load.ts';
import type { RunName } from '../../src/cli/client.ts';
import type { DecisionProof } from '../../src/domain/decision-proof.ts';
import { type DeploymentRef, rollbackSteps } from '../../src/domain/deployment.ts';
import { failureType } from '../../src/domain/failures.ts';
import { connectDocker } from '../../src/local/docker.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import type { Incident } from '../../src/store/incidents.ts';
import { deploymentId, environmentId } from '../../src/workflows/messages.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

type Environment = 'staging' | 'production';

let story: InstallationStory;

beforeAll(async () => {
  story = await startInstallationStory({ name: 'lives', files: { 'slipway.yaml': quickDefinition() } });
  await story.setProject((document) => {
    document.setIn(['environments', 'production', 'approval', 'timeout'], '5m');
    document.setIn(['environments', 'production', 'watch', 'duration'], '2s');
    document.setIn(['environments', 'staging', 'watch', 'duration'], '90s');
  });
}, 300_000);

afterAll(async () => {
  await story.close();
}, 180_000);

const minutes = 60_000;

describe('on staging', () => {
  test(
    'the first release there ever was is bad: it is stopped, nothing serves, and what is said is why and that nothing is there to go back to',
    async () => {
      // Late enough to be live before it fails, on a machine with many hands too.
      const bad = { 'src/fault.json': '{ "errorRatio": 0.5, "afterMs": 15000 }\n' };
      const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
      let deployment: DeploymentRecord;
      try {
        deployment = await story.endOf(await pushToStaging('feat: first, and bad', bad));
        expect(load.firstAnswerOf(deployment.version)).toBeDefined();
      } finally {
        await load.stop();
      }

      expect(deployment.outcome).toBe('rollback-unavailable');
      expect(deployment.reason).toMatch(/first release, so there is none to go back to: it is stopped, and nothing/);
      expect(deployment.result?.live).toBeUndefined();
      expect(headingsOf(deployment)).toEqual(rollbackSteps);
      await expect(story.answer('staging')).rejects.toThrow('staging answers 503');
      await expect(slotsOf('staging', 'running')).resolves.toEqual([]);
      const environment = await story.operator.readEnvironment(place('staging'));
      expect(environment).toMatchObject({ live: null, previous: null, hold: { reason: deployment.reason } });
      // Nobody asked for it, so it has an incident here too (B-13).
      await expect(incidentsOf(deployment)).resolves.toHaveLength(1);

      await story.operator.unlock(place('staging'), { stateIs: 'none', reason: 'nothing serves, and that is known' });
      await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '2s'));
      const next = await story.release('feat: first that is good', {
        'src/fault.json': '{ "errorRatio": 0, "afterMs": 0 }\n',
      });
      await expect(story.answer('staging')).resolves.toMatchObject({ version: next.version });
    },
    6 * minutes,
  );

  test(
    'an abort in the middle of a watch: the release is taken back, and the one before serves',
    async () => {
      const { live } = await story.operator.readEnvironment(place('staging'));
      await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '10m'));
      const ref = await pushToStaging('feat: regretted');
      await untilPhase(ref, 'watching');
      const { version } = await story.operator.readDeployment(ref);
      await expect(story.answer('staging')).resolves.toMatchObject({ version });

      await story.operator.abortDeployment(ref, { reason: 'the wrong branch' });
      const deployment = await story.endOf(ref);
      await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '2s'));

      expect(deployment.outcome).toBe('aborted');
      expect(deployment.reason).toContain('the wrong branch');
      expect(headingsOf(deployment)).toEqual(rollbackSteps);
      expect(deployment.result?.rollback?.steps.map(({ verdict }) => verdict)).not.toContain('failed');
      await expect(story.answer('staging')).resolves.toMatchObject({ version: live?.version });
      const environment = await story.operator.readEnvironment(place('staging'));
      expect(environment).toMatchObject({ live: { version: live?.version }, hold: null });
      // A person asked for it, and it is not production (B-13).
      await expect(incidentsOf(deployment)).resolves.toEqual([]);
    },
    4 * minutes,
  );

  test(
    'a release that dies a second before its watch is over is taken back, and all the while the one before answers',
    async () => {
      await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '15s'));
      const before = await story.release('feat: that lives');
      const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
      let deployment: DeploymentRecord;
      let killedMs: number;
      try {
        const ref = await pushToStaging('feat: that dies late');
        await untilPhase(ref, 'watching');
        const { version, phaseDetail } = await story.operator.readDeployment(ref);
        const endMs = Date.parse(/until (\S+)/.exec(phaseDetail ?? '')?.[1] ?? '');
        await until(() => Date.now() >= endMs - 1_000, { everyMs: 20, what: 'the last second of the watch' });
        // Some are answered by it, or there is nothing that could be taken for well.
        expect(load.report().versions[version]).toBeGreaterThan(20);
        killedMs = Date.now();
        await killContainerOf(version);
        deployment = await story.endOf(ref);
        await until(() => (load.report(Date.now() - 1_000).versions[before.version] ?? 0) > 5, {
          what: 'users to be answered by the release before',
        });
      } finally {
        await load.stop();
        await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '2s'));
      }

      expect([deployment.outcome, deployment.reason]).toEqual([
        'rolled-back',
        expect.stringContaining(`${before.version} serves again`),
      ]);
      expect(headingsOf(deployment)).toEqual(rollbackSteps);
      const { requests, failed, failures, versions } = load.report(killedMs);
      // What it had taken when it was killed, and no more.
      expect({ failures, outage: failed > 10 }).toEqual({ failures, outage: false });
      expect(versions[before.version]).toBeGreaterThan(requests / 2);
      await expect(story.answer('staging')).resolves.toMatchObject({ version: before.version });
      const environment = await story.operator.readEnvironment(place('staging'));
      expect(environment).toMatchObject({ live: { version: before.version }, hold: null });
    },
    5 * minutes,
  );

  test(
    'the slot of the previous release is removed when its time is over, and not before',
    async () => {
      await story.release('feat: with one beside it');
      const before = await story.operator.readEnvironment(place('staging'));
      expect(Date.parse(before.retireAt ?? '')).toBeGreaterThan(Date.now() + 23 * 60 * minutes);
      await expect(slotsOf('staging')).resolves.toEqual(['blue', 'green']);

      await story.setProject((document) => document.setIn(['environments', 'staging', 'limits', 'keepPrevious'], '0s'));
      const { version } = await story.release('feat: alone');

      await until(async () => (await slotsOf('staging')).length === 1, {
        timeoutMs: minutes,
        everyMs: 250,
        what: 'the container of the previous slot to be removed',
      });
      const after = await story.operator.readEnvironment(place('staging'));
      // It is still what a rollback would go to; only nothing of it runs any more.
      const previous = { version: before.live?.version };
      expect(after).toMatchObject({ live: { version }, previous, previousStopped: true, retireAt: null, hold: null });
      await expect(slotsOf('staging', 'running')).resolves.toEqual([after.live?.slot]);
      await expect(story.answer('staging')).resolves.toMatchObject({ version });
    },
    4 * minutes,
  );
});

describe('in production', () => {
  let oldest: DeploymentRecord;

  test(
    'a tag goes along the route of tags, and its release has the version of the tag',
    async () => {
      oldest = await toProduction(await story.push({ branch: 'main', subject: 'feat: the oldest' }));

      // The branch is not told of, so that whatever gets there came by the tag.
      await story.repository.commit({ branch: 'main', subject: 'feat: tagged' });
      const tagged = await story.repository.tag('v1.2.3');
      expect(tagged.ref).toBe('refs/tags/v1.2.3');
      expect((await story.forge.push(tagged)).status).toBe(202);
      const name = await story.runOf(tagged);
      const deployment = await toProduction(name);

      expect(deployment).toMatchObject({ environment: 'production', version: '1.2.3', kind: 'rollout' });
      await expect(story.operator.readRun(name)).resolves.toMatchObject({
        kind: 'tag',
        version: '1.2.3',
        commit: tagged.after,
      });
      await expect(story.answer('production')).resolves.toMatchObject({ version: '1.2.3' });
    },
    5 * minutes,
  );

  test(
    'a person goes back to a release that runs in no slot any more: it serves, under the seven headings, with an incident',
    async () => {
      await toProduction(await story.push({ branch: 'main', subject: 'feat: the newest' }));
      const reason = 'the totals are wrong since the oldest';

      const ref = await story.operator.rollback(place('production'), { reason, to: oldest.version });
      await expectWentBack(await story.endOf(ref), oldest.version, reason);
    },
    5 * minutes,
  );

  test(
    'whoever only has Temporal goes back with the signal `rollback` and a line of JSON',
    async () => {
      const reason = 'the API is out of reach';
      const { items } = await story.operator.listDeployments({ project: story.project, limit: 50 });
      const known = new Set(items.map(({ environment, number }) => `${environment} ${String(number)}`));
      const { address, namespace } = story.own.temporal;
      const connection = await Connection.connect({ address });
      try {
        await new Client({ connection, namespace }).workflow
          .getHandle(environmentId(story.project, 'production'))
          .signal('rollback', { by: 'grace', reason, to: '1.2.3' });
      } finally {
        await connection.close();
      }
      const { number } = await until(
        async () => {
          const listed = await story.operator.listDeployments({ project: story.project, limit: 50 });
          return listed.items.find((one) => !known.has(`${one.environment} ${String(one.number)}`));
        },
        { timeoutMs: minutes, what: 'the rollback to be recorded' },
      );
      const deployment = await story.endOf({ ...place('production'), number });
      expect(deployment).toMatchObject({ requestedBy: 'grace' });
      await expectWentBack(deployment, '1.2.3', reason);
    },
    5 * minutes,
  );

  test(
    'where proof is required whoever only has Temporal approves nothing, also not with the proof of another approval',
    async () => {
      await story.setProject((document) =>
        document.setIn(['environments', 'production', 'approval', 'requireProof'], true),
      );
      const ref = await story.deploymentOf(await story.push({ branch: 'main', subject: 'feat: guarded' }));
      await untilPhase(ref, 'awaiting-approval');
      const { plan } = await story.operator.readDeployment(ref);
      const words = { by: 'ada', plan: plan?.hash ?? '', groups: ['tech-lead'] };
      const { address, namespace } = story.own.temporal;
      const connection = await Connection.connect({ address });
      try {
        const { workflow } = new Client({ connection, namespace });
        const handle = workflow.getHandle(deploymentId(ref));
        const proof = proofIn(await workflow.getHandle(deploymentId(oldest)).fetchHistory());
        const forge = async (message: object): Promise<unknown> =>
          await handle.executeUpdate('approve', { args: [message] }).catch((error: unknown) => failureType(error));
        expect(await forge({ ...words, proven: true })).toBe('NotAllowed');
        expect(await forge({ ...words, proof })).toBe('ProofRefused');
        await handle.signal('approve', words);
      } finally {
        await connection.close();
      }
      const recorded = async () => (await story.operator.readDeployment(ref)).decisions;
      await until(async () => (await recorded()).length === 2, { timeoutMs: minutes, what: 'both to be on record' });
      expect(await recorded()).toMatchObject([
        { by: 'ada', counted: false, proven: false, why: expect.stringContaining('not of this decision') },
        { by: 'ada', counted: false, proven: false, why: expect.stringContaining('requireProof') },
      ]);

      await story.approve(ref);
      const deployment = await story.endOf(ref);
      await story.setProject((document) =>
        document.deleteIn(['environments', 'production', 'approval', 'requireProof']),
      );
      expect([deployment.outcome, deployment.reason]).toEqual(['succeeded', deployment.reason]);
      expect(deployment.decisions.filter(({ counted }) => counted)).toMatchObject([{ by: 'ada', proven: true }]);
    },
    5 * minutes,
  );
});

/** What the API has sent along with the approval that a deployment has had. */
function proofIn({ events }: Awaited<ReturnType<WorkflowHandle['fetchHistory']>>): DecisionProof {
  const args = (events ?? []).flatMap(
    (event) => event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.args?.payloads ?? [],
  );
  expect(args).toHaveLength(1);
  return defaultPayloadConverter.fromPayload<{ readonly proof: DecisionProof }>(args[0]!).proof;
}

function place(environment: Environment): { readonly project: string; readonly environment: Environment } {
  return { project: story.project, environment };
}

async function pushToStaging(subject: string, files: Readonly<Record<string, string>> = {}): Promise<DeploymentRef> {
  return await story.deploymentOf(await story.push({ branch: 'develop', subject, files }));
}

/** Has Ada approve what `run` led to, and waits until it is live. */
async function toProduction(run: RunName): Promise<DeploymentRecord> {
  const ref = await story.deploymentOf(run);
  await story.approve(ref);
  const deployment = await story.endOf(ref);
  expect([deployment.outcome, deployment.reason]).toEqual(['succeeded', deployment.reason]);
  expect(deployment.decisions).toMatchObject([{ by: 'ada', counted: true, proven: true }]);
  return deployment;
}

async function untilPhase(ref: DeploymentRef, phase: string): Promise<void> {
  const ended = await until(
    async () => {
      const found = await story.operator.readDeployment(ref);
      if (found.outcome !== null) return `${found.outcome}: ${String(found.reason)}`;
      return found.phase === phase ? 'not yet' : undefined;
    },
    { timeoutMs: 2 * minutes, everyMs: 50, what: `deployment ${String(ref.number)} to be ${phase}` },
  );
  if (ended !== 'not yet') throw new Error(`it ended ${ended} before it was ${phase}`);
}

/** What B-13 and the report of a rollback ask for, and what users get. */
async function expectWentBack(deployment: DeploymentRecord, version: string, reason: string): Promise<void> {
  expect([deployment.outcome, deployment.reason]).toEqual(['rolled-back', deployment.reason]);
  expect(deployment).toMatchObject({ kind: 'rollback', version });
  expect(deployment.reason).toContain(reason);
  expect(headingsOf(deployment)).toEqual(rollbackSteps);
  const report = deployment.result?.rollback;
  expect(report?.steps.map(({ verdict }) => verdict)).not.toContain('failed');
  const [incident, ...more] = await incidentsOf(deployment);
  expect(more).toEqual([]);
  expect(incident).toMatchObject({ id: report?.incident, trigger: reason, closedAt: null });
  expect(Date.parse(incident?.postMortemDueAt ?? '')).toBeGreaterThan(Date.now() + 24 * 60 * minutes);
  await expect(story.answer('production')).resolves.toMatchObject({ version });
  const environment = await story.operator.readEnvironment(place('production'));
  expect(environment).toMatchObject({ live: { version, deployment: deployment.number } });
}

function headingsOf({ result }: DeploymentRecord): readonly string[] | undefined {
  return result?.rollback?.steps.map(({ name }) => name);
}

async function incidentsOf({ environment, number }: DeploymentRecord): Promise<readonly Incident[]> {
  const incidents = await story.operator.listIncidents(story.project);
  return incidents.filter((one) => one.environment === environment && one.number === number);
}

/** As the kernel does for want of memory; the engine does not start it again. */
async function killContainerOf(version: string): Promise<void> {
  const engine = connectDocker(story.dockerAddress);
  const filters = { label: [`slipway.project=${story.project}`, `slipway.version=${version}`, 'slipway.slot'] };
  const [found] = await engine.listContainers({ filters });
  if (found === undefined) throw new Error(`nothing runs of ${version}`);
  await engine.getContainer(found.Id).kill();
}

/** Slots of which the engine has a container, whatever it does, or only those that run. */
async function slotsOf(environment: Environment, state?: 'running'): Promise<string[]> {
  const containers = await connectDocker(story.dockerAddress).listContainers({
    all: state === undefined,
    filters: { label: [`slipway.project=${story.project}`, `slipway.environment=${environment}`, 'slipway.slot'] },
  });
  return containers.map(({ Labels }) => Labels['slipway.slot'] ?? '').sort();
}
