import { type FSWatcher, watch } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Load, startLoad } from '../../examples/demo/load.ts';
import type { DeploymentRef } from '../../src/domain/deployment.ts';
import { endProcess } from '../../src/effects/daemon.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { readState } from '../../src/local/state.ts';
import { ensureStore } from '../../src/local/store-postgres.ts';
import { ensureTemporal } from '../../src/local/temporal.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import { type InstallationStory, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

let story: InstallationStory;
let live: DeploymentRecord;

beforeAll(async () => {
  story = await startInstallationStory({ name: 'components' });
  await story.setProject((document) => {
    document.setIn(['environments', 'production', 'approval', 'timeout'], '5m');
  });
  live = await story.release('feat: keep notes');
}, 300_000);

afterAll(async () => {
  await story.close();
}, 180_000);

const minutes = 60_000;

describe('HAProxy is gone in the middle of a switch', () => {
  test(
    'because it crashed: the engine brings it back with the file it has, and one version serves that is well',
    async () => {
      const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
      try {
        const deployment = await switchAndThen(async () => {
          const { State } = await router().inspect();
          process.kill(State.Pid, 'SIGKILL');
        });
        await expectOneAnswer(deployment, load);
      } finally {
        await load.stop();
      }
    },
    5 * minutes,
  );

  test(
    'because somebody stopped it: as soon as it is back one version serves that is well, and until then nothing is claimed',
    async () => {
      const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
      try {
        const deployment = await switchAndThen(async () => {
          await router().kill();
          await delay(10_000);
          await router().start();
        });
        await expectOneAnswer(deployment, load);
      } finally {
        await load.stop();
      }
    },
    5 * minutes,
  );
});

describe('the store is gone during a rollback', () => {
  test(
    'traffic goes back all the same, and what happened is told as soon as the store is back',
    async () => {
      await story.setProject((document) => {
        document.setIn(['environments', 'staging', 'watch', 'duration'], '30s');
      });
      const load = startLoad({ url: story.addresses.staging, ratePerS: 30 });
      try {
        const faulty = { 'src/fault.json': '{ "errorRatio": 0.5, "afterMs": 4000 }\n' };
        const ref = await deploymentOf('feat: bad', faulty);
        await untilPhase(ref, 'watching');
        const { version } = await story.operator.readDeployment(ref);
        expect(load.firstAnswerOf(version)).toBeDefined();
        await endAtOnce('store');
        const goneMs = Date.now();
        try {
          await until(async () => (await story.answer('staging')).version === live.version, {
            timeoutMs: minutes,
            what: `${live.version} to serve again while the store is away`,
          });
          // Back for good, and not a moment of the router's own fallback.
          await delay(1_000);
          const backMs = Date.now();
          await delay(2_000);
          const { versions, failures } = load.report(backMs);
          expect({ versions, failures }).toMatchObject({ versions: { [live.version]: expect.any(Number) } });
          expect(versions[version]).toBeUndefined();
        } finally {
          await ensureStore(story.context);
        }
        const deployment = await story.endOf(ref);
        expect(deployment).toMatchObject({ outcome: 'rolled-back' });
        expect(deployment.reason).toContain(`${live.version} serves again`);
        expect(deployment.result?.live?.version).toBe(live.version);
        const watched = deployment.steps.find(({ name }) => name === 'watch');
        expect(watched).toMatchObject({ verdict: 'failed' });
        expect(Date.parse(watched?.startedAt ?? '')).toBeLessThan(goneMs);
        expect(deployment.steps.filter(({ name }) => name.startsWith('undo: deploy-previous')).length).toBeGreaterThan(
          0,
        );
        const incidents = await story.operator.listIncidents(story.project);
        expect(incidents.filter(({ number }) => number === ref.number)).toHaveLength(1);
      } finally {
        await load.stop();
      }
      await story.setProject((document) => {
        document.setIn(['environments', 'staging', 'watch', 'duration'], '4s');
      });
    },
    6 * minutes,
  );
});

describe('Temporal is killed and started again', () => {
  test(
    'while a deployment waits for approval and while it is watched: it goes on as if nothing had been',
    async () => {
      const run = await story.push({
        branch: 'main',
        subject: 'feat: for production',
        files: { 'src/fault.json': '{ "errorRatio": 0, "afterMs": 0 }\n' },
      });
      const ref = await story.deploymentOf(run);
      await untilPhase(ref, 'awaiting-approval');
      const { plan } = await story.operator.readDeployment(ref);
      await endAtOnce('temporal');
      await ensureTemporal(story.context);
      // The same decision until it is answered: one that was taken while its answer was lost is taken once.
      await until(async () => (await story.ada.approve(ref, { plan: plan?.hash ?? '' })).status === 'approved', {
        timeoutMs: minutes,
        everyMs: 500,
        what: 'the approval to be taken',
      });
      await untilPhase(ref, 'watching');
      await endAtOnce('temporal');
      await ensureTemporal(story.context);
      const deployment = await story.endOf(ref);
      expect(deployment).toMatchObject({ outcome: 'succeeded' });
      expect(deployment.decisions.filter(({ counted }) => counted)).toHaveLength(1);
      const names = deployment.steps.map(({ name }) => name);
      expect(names).toEqual([...new Set(names)]);
      await expect(story.answer('production')).resolves.toMatchObject({ version: deployment.version });
    },
    6 * minutes,
  );
});

function router(): ReturnType<ReturnType<typeof connectDocker>['getContainer']> {
  return connectDocker(story.dockerAddress).getContainer(story.own.router.container);
}

async function deploymentOf(subject: string, files: Readonly<Record<string, string>> = {}): Promise<DeploymentRef> {
  return await story.deploymentOf(await story.push({ branch: 'develop', subject, files }));
}

async function untilPhase(ref: DeploymentRef, phase: string): Promise<void> {
  await until(
    async () => {
      const found = await story.operator.readDeployment(ref);
      if (found.outcome !== null) return { ended: `${found.outcome}: ${String(found.reason)}` };
      return found.phase === phase ? { ended: null } : undefined;
    },
    { timeoutMs: 2 * minutes, everyMs: 30, what: `deployment ${String(ref.number)} to be ${phase}` },
  ).then(({ ended }) => {
    if (ended !== null) throw new Error(`it ended ${ended} before it was ${phase}`);
  });
}

/** Rolls out a new release, and does `fault` in the moment in which the file of the router is about to be changed. */
async function switchAndThen(fault: () => Promise<void>): Promise<DeploymentRecord> {
  const ref = await deploymentOf(`feat: change ${String(Date.now())}`);
  let watcher: FSWatcher | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      watcher = watch(story.own.router.configFolder, () => resolve());
      setTimeout(() => reject(new Error('the file of the router was never touched')), minutes).unref();
    });
  } finally {
    watcher?.close();
  }
  await fault();
  return await story.endOf(ref);
}

/** The deployment is over in one of the ways it may be, and what it says is live is what every user gets. */
async function expectOneAnswer(deployment: DeploymentRecord, load: Load): Promise<void> {
  const before = live;
  if (deployment.outcome === 'succeeded') live = deployment;
  expect(['succeeded', 'rolled-back', 'errored']).toContain(deployment.outcome);
  expect(deployment.result?.live).toMatchObject({ version: live.version });
  const fromMs = Date.now();
  await delay(3_000);
  const seen = load.report(fromMs);
  expect(seen.versions[live.version]).toBeGreaterThan(0);
  // `none` is the router itself saying that nobody answers.
  const known = [before.version, deployment.version, 'none'];
  expect(Object.keys(load.report().versions).filter((one) => !known.includes(one))).toEqual([]);
  expect(load.wrongVersion(live.version, fromMs) - (seen.versions['none'] ?? 0)).toBe(0);
  const environment = await story.operator.readEnvironment({ project: story.project, environment: 'staging' });
  expect(environment.live?.version).toBe(live.version);
}

async function endAtOnce(name: 'store' | 'temporal'): Promise<void> {
  const running = readState(story.context, name)?.process;
  if (running === undefined) throw new Error(`no ${name} runs`);
  await endProcess(running, { signal: 'SIGKILL' });
}
