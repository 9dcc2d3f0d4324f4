import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Load, startLoad } from '../../examples/demo/load.ts';
import type { DeploymentRef } from '../../src/domain/deployment.ts';
import { endProcess } from '../../src/effects/daemon.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { readState } from '../../src/local/state.ts';
import { ensureStore } from '../../src/local/store-postgres.ts';
import { ensureTemporal } from '../../src/local/temporal.ts';
import { releaseSlug, routeFileName } from '../../src/providers/routers/haproxy-file.ts';
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

describe('HAProxy is gone around a switch', () => {
  test(
    'it crashed before its file was written: the engine brings it back, the move is tried again, and the new release goes live',
    async () => {
      const { deployment, load } = await withLoad(async () => {
        const ref = await untilStarting('feat: before, crashed');
        expect(routeFile()).not.toContain(versionTag(await versionOf(ref)));
        await crash();
        return await story.endOf(ref);
      });
      await expectLive(deployment, load);
    },
    5 * minutes,
  );

  test(
    'it crashed after it had loaded its file: it comes back with that file, and the new release stays live',
    async () => {
      const { deployment, load } = await withLoad(async (running) => {
        const ref = await untilStarting('feat: after, crashed');
        await untilServed(ref, running);
        await crash();
        return await story.endOf(ref);
      });
      await expectLive(deployment, load);
    },
    5 * minutes,
  );

  test(
    'somebody stopped it before its file was written: the file is written all the same, and once it is back the new release goes live',
    async () => {
      const { deployment, load } = await withLoad(async () => {
        const ref = await untilStarting('feat: before, stopped');
        const version = await versionOf(ref);
        expect(routeFile()).not.toContain(versionTag(version));
        await router().kill();
        try {
          await until(() => routeFile().includes(versionTag(version)), {
            timeoutMs: minutes,
            what: 'the file to say the new release while there is no router',
          });
          // Until then nothing is claimed.
          expect((await story.operator.readDeployment(ref)).outcome).toBeNull();
          expect((await story.operator.readEnvironment(staging())).live?.version).toBe(live.version);
        } finally {
          await router().start();
        }
        return await story.endOf(ref);
      });
      await expectLive(deployment, load);
    },
    5 * minutes,
  );

  test(
    'somebody stopped it after it had loaded its file: users are not served, so it is rolled back, and what comes back serves the one before',
    async () => {
      // Longer than a probe with all its tries takes.
      await story.setProject((document) => {
        document.setIn(['environments', 'staging', 'watch', 'duration'], '90s');
      });
      try {
        const { deployment, load } = await withLoad(async (running) => {
          const ref = await untilStarting('feat: after, stopped');
          await untilServed(ref, running);
          // Users are served a moment before the switch knows it, and until it does it waits for the router to come back.
          await untilPhase(ref, 'watching');
          await router().kill();
          try {
            await untilPhase(ref, 'rolling-back');
          } finally {
            await router().start();
          }
          return await story.endOf(ref);
        });
        expect(deployment).toMatchObject({ outcome: 'rolled-back', result: { live: { version: live.version } } });
        expect(deployment.reason).toMatch(/ECONNREFUSED/);
        expect(deployment.reason).toContain(`${live.version} serves again`);
        await expectOneAnswer(deployment, load);
        const { text } = await logOf(deployment, 'switch');
        expect(text).toContain(`back to ${live.version} in`);
      } finally {
        await story.setProject((document) => {
          document.setIn(['environments', 'staging', 'watch', 'duration'], '4s');
        });
      }
    },
    6 * minutes,
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

function staging(): { project: string; environment: string } {
  return { project: story.project, environment: 'staging' };
}

/** What the router has of staging on the disk. */
function routeFile(): string {
  return readFileSync(join(story.own.router.configFolder, routeFileName(staging())), 'utf8');
}

/** A version as the file of the router has it. */
function versionTag(version: string): string {
  return `:${releaseSlug(version)}`;
}

async function versionOf(ref: DeploymentRef): Promise<string> {
  return (await story.operator.readDeployment(ref)).version;
}

/** Its process dies; the engine starts it again by itself. */
async function crash(): Promise<void> {
  const { State } = await router().inspect();
  process.kill(State.Pid, 'SIGKILL');
}

/** Rolls out a release that takes its time to listen, and waits until it is being started: traffic moves seconds later. */
async function untilStarting(subject: string): Promise<DeploymentRef> {
  const main = (plainMain ??= await story.repository.read('src/main.js'));
  const slow = main.replace(
    'app.server.listen(',
    `await new Promise((resolve) => setTimeout(resolve, 4000)); // ${subject}\napp.server.listen(`,
  );
  expect(slow).not.toBe(main);
  const ref = await deploymentOf(subject, { 'src/main.js': slow });
  await untilPhase(ref, 'rolling-out');
  return ref;
}
let plainMain: string | undefined;

/** Waits until users get the new release. */
async function untilServed(ref: DeploymentRef, load: Load): Promise<void> {
  const version = await versionOf(ref);
  await until(() => load.firstAnswerOf(version) !== undefined, {
    timeoutMs: 2 * minutes,
    everyMs: 10,
    what: `${version} to answer through the router`,
  });
}

/** While users ask for something 20 times a second, who go on asking when it is over. */
async function withLoad(
  work: (load: Load) => Promise<DeploymentRecord>,
): Promise<{ readonly deployment: DeploymentRecord; readonly load: Load }> {
  const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
  loads.push(load);
  return { deployment: await work(load), load };
}
const loads: Load[] = [];
afterEach(async () => {
  await Promise.all(loads.splice(0).map((load) => load.stop()));
});

async function expectLive(deployment: DeploymentRecord, load: Load): Promise<void> {
  expect({ outcome: deployment.outcome, reason: deployment.reason }).toEqual({
    outcome: 'succeeded',
    reason: expect.stringMatching(/requests, within every band/),
  });
  expect(deployment.result?.live?.version).toBe(deployment.version);
  await expectOneAnswer(deployment, load);
  live = deployment;
}

/** What the deployment says is live is what every user gets from now on, and before that it was one of the two. */
async function expectOneAnswer(deployment: DeploymentRecord, load: Load): Promise<void> {
  const now = deployment.result?.live?.version ?? '';
  const fromMs = Date.now();
  await until(() => (load.report(fromMs).versions[now] ?? 0) >= 40, { what: `${now} to answer users for a while` });
  const seen = load.report(fromMs);
  // `none` is the router itself saying that nobody answers.
  const known = [live.version, deployment.version, 'none'];
  expect(Object.keys(load.report().versions).filter((one) => !known.includes(one))).toEqual([]);
  expect(load.wrongVersion(now, fromMs) - (seen.versions['none'] ?? 0)).toBe(0);
  expect((await story.operator.readEnvironment(staging())).live?.version).toBe(now);
}

/** The texts of one stage of a deployment, together. */
async function logOf(ref: DeploymentRef, stage: string): Promise<{ readonly text: string }> {
  const logs = (await story.operator.listLogs(ref)).filter((log) => log.stage === stage);
  const texts = await Promise.all(logs.map(({ log }) => story.operator.readLog(log)));
  return { text: texts.join('') };
}

async function endAtOnce(name: 'store' | 'temporal'): Promise<void> {
  const running = readState(story.context, name)?.process;
  if (running === undefined) throw new Error(`no ${name} runs`);
  await endProcess(running, { signal: 'SIGKILL' });
}
