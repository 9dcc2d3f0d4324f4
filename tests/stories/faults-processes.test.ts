import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Load, startLoad } from '../../examples/demo/load.ts';
import { CliError } from '../../src/cli/exit.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { openStore } from '../../src/store/store.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

let story: InstallationStory;
let first: DeploymentRecord;

beforeAll(async () => {
  story = await startInstallationStory({ name: 'processes' });
  first = await story.release('feat: keep notes');
}, 300_000);

afterAll(async () => {
  await story.close();
}, 60_000);

const minutes = 60_000;
const killTimes: number[] = [];

/** Every boundary takes a restart of five seconds and more, so all of them only where everything is asked for. */
const everyBoundary = process.env['SLIPWAY_TEST_ALL'] === '1';
const chosen = ['run: test', 'run: build', 'run: push', 'backing-up', 'migrating', 'switching', 'watching'];

/** Kills the worker whenever `look` says that something new has begun, once for each. Says where it did. */
async function killAtEach(look: () => Promise<{ readonly at: string; readonly over: boolean }>): Promise<string[]> {
  const killedAt: string[] = [];
  await until(
    async () => {
      const { at, over } = await look();
      if (over) return true;
      if (killedAt.includes(at) || !(everyBoundary || chosen.includes(at))) return false;
      await story.kill('worker');
      killTimes.push(Date.now());
      killedAt.push(at);
      return false;
    },
    { timeoutMs: 4 * minutes, everyMs: 20, what: `the end, with the worker killed at ${killedAt.join(', ')}` },
  );
  return killedAt;
}

/** A migration that would be seen to have run twice, and is not undone by running it in two halves. */
const counting = {
  'migrations/003_counted.sql': `-- slipway: expand
CREATE TABLE IF NOT EXISTS counted (times int NOT NULL);
INSERT INTO counted SELECT 0 WHERE NOT EXISTS (SELECT FROM counted);
UPDATE counted SET times = times + 1;
`,
  'migrations/003_counted.down.sql': 'DROP TABLE counted;\n',
};

describe('the worker is killed at the beginning of every stage', () => {
  test(
    'of a run and of its roll-out: each ends once and well, nothing was done twice, and users see one change of version',
    async () => {
      const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
      const startedMs = Date.now();
      try {
        const run = await story.push({ branch: 'develop', subject: 'feat: counted', files: counting });
        const runKills = await killAtEach(async () => {
          const { outcome, phase, stages } = await story.operator.readRun(run);
          return { at: `run: ${stages.at(-1)?.name ?? phase}`, over: outcome !== null };
        });
        const ref = await story.deploymentOf(run);
        const kills = await killAtEach(async () => {
          const { outcome, phase } = await story.operator.readDeployment(ref);
          return { at: phase, over: outcome !== null };
        });
        const deployment = await story.operator.readDeployment(ref);
        const seen = await load.stop();

        // A phase of milliseconds may pass between two looks.
        expect(runKills.length).toBeGreaterThanOrEqual(everyBoundary ? 4 : 2);
        expect(kills.length).toBeGreaterThanOrEqual(everyBoundary ? 6 : 3);
        const when = { failed: failuresBySecond(load, startedMs), killed: killTimes.map((at) => at - startedMs) };
        const { outcome, reason } = deployment;
        expect({ outcome, reason, when }).toMatchObject({ outcome: 'succeeded' });

        const record = await story.operator.readRun(run);
        expect(record.stages.map(({ name, verdict }) => [name, verdict])).toEqual([
          ['quality', 'passed'],
          ['test', 'passed'],
          ['build', 'passed'],
          ['push', 'passed'],
        ]);
        expect(record.images).toHaveLength(1);
        expect(record.deployments).toHaveLength(1);
        const { items: runs } = await story.operator.listRuns({ project: story.project });
        expect(runs.filter(({ commit }) => commit === record.commit)).toHaveLength(1);

        const names = deployment.steps.map(({ name }) => name);
        expect(names).toEqual([...new Set(names)]);
        expect(names).toEqual(
          expect.arrayContaining(['back up', 'migrate', 'probe green', 'traffic to green', 'watch', 'settle']),
        );
        await expect(story.query(story.databases.staging, 'SELECT times FROM counted')).resolves.toEqual([
          { times: 1 },
        ]);
        const copies = await story.query(
          'postgres',
          `SELECT datname FROM pg_database WHERE datname LIKE '${story.databases.staging}%'`,
        );
        expect(copies).toEqual([{ datname: story.databases.staging }]);
        await expect(slots()).resolves.toEqual([
          ['blue', first.version],
          ['green', deployment.version],
        ]);
        await expect(noticesOf('staging-deployed', deployment.number)).resolves.toBe(1);

        // On a machine with many hands the router may lose sight of what serves for a moment, and says `none`.
        const known = [first.version, deployment.version, 'none'];
        expect(Object.keys(seen.versions).filter((version) => !known.includes(version))).toEqual([]);
        expect({ failures: seen.failures, when }).toMatchObject({ failures: {} });
        await expect(story.answer('staging')).resolves.toMatchObject({ version: deployment.version });
        const movedMs = load.firstAnswerOf(deployment.version) ?? Number.NaN;
        const { versions } = load.report(movedMs + 1_000);
        expect(versions[first.version]).toBeUndefined();
      } finally {
        await load.stop();
      }
    },
    8 * minutes,
  );
});

describe('the API is killed', () => {
  test(
    'while pushes are delivered: the forge delivers again, each push is one run, and none is lost',
    async () => {
      const pushes = [];
      const quick = { 'slipway.yaml': quickDefinition() };
      for (let number = 1; number <= 6; number += 1) {
        pushes.push(
          await story.repository.commit({ branch: 'feature/many', subject: `push ${String(number)}`, files: quick }),
        );
      }
      const killer = (async () => {
        for (let times = 0; times < 3; times += 1) {
          await story.kill('api');
          await delay(300);
        }
      })();
      const answers = await Promise.all(pushes.map((pushed) => story.forge.push(pushed)));
      await killer;
      expect(answers.map(({ status }) => status)).toEqual(pushes.map(() => 202));
      const again = await story.forge.push(pushes[0] ?? never());
      expect(again.status).toBe(202);

      const runs = await Promise.all(pushes.map((pushed) => story.runOf(pushed)));
      const records = await Promise.all(runs.map((run) => story.endOfRun(run)));
      expect(records.map(({ outcome }) => outcome)).toEqual(pushes.map(() => 'succeeded'));
      expect(new Set(records.map(({ number }) => number)).size).toBe(pushes.length);
      const { items } = await story.operator.listRuns({ project: story.project, limit: 50 });
      expect(items.filter(({ ref }) => ref === 'refs/heads/feature/many')).toHaveLength(pushes.length);
    },
    4 * minutes,
  );

  test(
    'while an approval is sent: whether it was answered or not, it counts once and the release goes live',
    async () => {
      const run = await story.push({ branch: 'main', subject: 'feat: for production' });
      const ref = await story.deploymentOf(run);
      const plan = await until(
        async () => {
          const { phase, plan: shown } = await story.operator.readDeployment(ref);
          return phase === 'awaiting-approval' ? shown?.hash : undefined;
        },
        { timeoutMs: minutes, what: 'the question' },
      );
      const [asked] = await Promise.allSettled([story.ada.approve(ref, { plan }), story.kill('api')]);
      if (asked.status === 'rejected') {
        // What a person does who got no answer: the same again, until there is one.
        await until(
          () =>
            story.ada.approve(ref, { plan }).then(
              () => true,
              (error: unknown) => error instanceof CliError && error.ending === 'conflict',
            ),
          { timeoutMs: minutes, everyMs: 250, what: 'an answer to the approval' },
        );
      }
      const deployment = await story.endOf(ref);
      expect(deployment).toMatchObject({ outcome: 'succeeded' });
      expect(
        deployment.decisions.filter(({ by, verdict, counted }) => by === 'ada' && verdict === 'approve' && counted),
      ).toHaveLength(1);
      await expect(story.answer('production')).resolves.toMatchObject({ version: deployment.version });
    },
    5 * minutes,
  );
});

/** Seconds since `fromMs` in which a request failed, and what of. */
function failuresBySecond(load: Load, fromMs: number): string[] {
  const seconds = Math.ceil((Date.now() - fromMs) / 1_000);
  return Array.from({ length: seconds }, (_, second) => {
    const { failed, failures } = load.report(fromMs + second * 1_000, fromMs + (second + 1) * 1_000);
    return failed === 0 ? '' : `${String(second)} s: ${JSON.stringify(failures)}`;
  }).filter((line) => line !== '');
}

/** The containers of staging that run: slot and version. */
async function slots(): Promise<string[][]> {
  const filters = { label: [`slipway.project=${story.project}`, 'slipway.environment=staging'] };
  const containers = await connectDocker(story.dockerAddress).listContainers({ filters });
  return containers
    .map(({ Labels }) => [Labels['slipway.slot'] ?? '', Labels['slipway.version'] ?? ''])
    .sort(([a = ''], [b = '']) => a.localeCompare(b));
}

async function noticesOf(event: string, number: number): Promise<number> {
  const store = openStore({ url: story.own.store.url, poolSize: 1, applicationName: 'test' });
  try {
    const rows = await store.db
      .selectFrom('notices')
      .select(['key', 'event'])
      .where('project', '=', story.project)
      .where('environment', '=', 'staging')
      .execute();
    return rows.filter((row) => row.event === event && row.key.includes(`/${String(number)}`)).length;
  } finally {
    await store.close();
  }
}

function never(): never {
  throw new Error('there is nothing to go on with');
}
