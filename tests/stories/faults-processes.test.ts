import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Load, startLoad } from '../../examples/demo/load.ts';
import { CliError } from '../../src/cli/exit.ts';
import type { RunName } from '../../src/cli/client.ts';
import type { DeploymentRef } from '../../src/domain/deployment.ts';
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
}, 180_000);

const minutes = 60_000;
const killTimes: number[] = [];

/** Kills a process whenever `look` says that something new has begun, once for each. Says where it did. */
async function killAtEach(
  name: 'worker' | 'api',
  look: () => Promise<{ readonly at: string; readonly over: boolean }>,
): Promise<string[]> {
  const killedAt: string[] = [];
  await until(
    async () => {
      const { at, over } = await look();
      if (over) return true;
      if (killedAt.includes(at)) return false;
      await story.kill(name);
      killTimes.push(Date.now());
      killedAt.push(at);
      return false;
    },
    { timeoutMs: 5 * minutes, everyMs: 20, what: `the end, with the ${name} killed at ${killedAt.join(', ')}` },
  );
  return killedAt;
}

function stageOf(run: RunName): () => Promise<{ readonly at: string; readonly over: boolean }> {
  return async () => {
    const { outcome, phase, stages } = await story.operator.readRun(run);
    return { at: `run: ${stages.at(-1)?.name ?? phase}`, over: outcome !== null };
  };
}

function phaseOf(ref: DeploymentRef): () => Promise<{ readonly at: string; readonly over: boolean }> {
  return async () => {
    const { outcome, phase } = await story.operator.readDeployment(ref);
    return { at: phase, over: outcome !== null };
  };
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
        const runKills = await killAtEach('worker', stageOf(run));
        const ref = await story.deploymentOf(run);
        const kills = await killAtEach('worker', phaseOf(ref));
        const deployment = await story.operator.readDeployment(ref);
        const seen = await load.stop();

        // A phase of milliseconds may pass between two looks.
        expect(runKills.length).toBeGreaterThanOrEqual(4);
        expect(kills.length).toBeGreaterThanOrEqual(6);
        const when = { failed: failuresBySecond(load, startedMs), killed: killTimes.map((at) => at - startedMs) };
        const { outcome, reason, steps } = deployment;
        expect({ outcome, reason, kills, steps, when }).toMatchObject({ outcome: 'succeeded' });

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

  test(
    'of a watch that finds the release bad, and of each undoing after it: traffic and data are back, once, and one incident tells of it',
    async () => {
      const before = await story.answer('staging');
      const load = startLoad({ url: story.addresses.staging, ratePerS: 30 });
      try {
        const run = await story.push({
          branch: 'develop',
          subject: 'feat: bad, with a migration',
          files: {
            // Bad from the middle of the watch on, in which nobody watches: the worker is away then, and the log is all there is.
            'src/fault.json': '{ "errorRatio": 0.5, "afterMs": 2500 }\n',
            'migrations/004_damage.sql': '-- slipway: expand\nALTER TABLE notes ADD COLUMN damage text;\n',
            'migrations/004_damage.down.sql': 'ALTER TABLE notes DROP COLUMN damage;\n',
          },
        });
        const ref = await story.deploymentOf(run);
        const kills = await killAtEach('worker', async () => {
          const { outcome, phase, steps } = await story.operator.readDeployment(ref);
          const undone = steps.filter(({ name }) => name.startsWith('undo: ')).length;
          // Before the watch nothing is new to this test, and everything is to the one above.
          const early = !['watching', 'rolling-back'].includes(phase);
          return { at: early ? 'early' : `${phase} ${String(undone)}`, over: outcome !== null };
        });
        const deployment = await story.operator.readDeployment(ref);
        const { outcome, reason, steps } = deployment;
        expect({ outcome, reason, kills, steps }).toMatchObject({ outcome: 'rolled-back' });
        expect(kills).toContain('watching 0');
        expect(kills.filter((at) => at.startsWith('rolling-back')).length).toBeGreaterThanOrEqual(2);
        expect(reason).toMatch(/requests failed, above 5.* serves again/);
        expect(deployment.result?.rollback?.data).toMatchObject({ action: 'swapped' });
        await expect(story.answer('staging')).resolves.toEqual(before);

        const columns = await story.query<{ name: string }>(
          story.databases.staging,
          `SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'notes'`,
        );
        expect(columns.map(({ name }) => name)).not.toContain('damage');
        const copies = await story.query<{ datname: string }>(
          'postgres',
          `SELECT datname FROM pg_database WHERE datname LIKE '${story.databases.staging}%' ORDER BY 1`,
        );
        expect(copies.map(({ datname }) => datname.slice(story.databases.staging.length))).toEqual([
          '',
          `_damaged_${String(ref.number)}`,
        ]);
        const incidents = await story.operator.listIncidents(story.project);
        expect(
          incidents.filter(({ number, environment }) => number === ref.number && environment === 'staging'),
        ).toHaveLength(1);
        const backMs = Date.now();
        await until(() => (load.report(backMs).versions[before.version] ?? 0) > 20, { timeoutMs: minutes });
        expect(load.report(backMs).versions[deployment.version]).toBeUndefined();
      } finally {
        await load.stop();
        await story.repository.commit({
          branch: 'develop',
          subject: 'revert: bad',
          files: {
            'src/fault.json': '{ "errorRatio": 0, "afterMs": 0 }\n',
            'migrations/004_damage.sql': null,
            'migrations/004_damage.down.sql': null,
          },
        });
      }
    },
    8 * minutes,
  );
});

describe('the API is killed', () => {
  test(
    'at the beginning of every stage of a run and of its roll-out: nothing of it is noticed where the work is done',
    async () => {
      const run = await story.push({ branch: 'develop', subject: 'feat: watched by nobody' });
      const runKills = await killAtEach('api', stageOf(run));
      const ref = await story.deploymentOf(run);
      const kills = await killAtEach('api', phaseOf(ref));
      const { outcome, reason, steps, version } = await story.operator.readDeployment(ref);
      expect({ outcome, reason, kills, steps }).toMatchObject({ outcome: 'succeeded' });
      expect(runKills.length + kills.length).toBeGreaterThanOrEqual(4);
      const names = steps.map(({ name }) => name);
      expect(names).toEqual([...new Set(names)]);
      await expect(story.answer('staging')).resolves.toMatchObject({ version });
    },
    6 * minutes,
  );

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
