import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startLoad } from '../../examples/demo/load.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import { type InstallationStory, startInstallationStory } from '../support/installation-story.ts';
import { type SmallDisk, mountSmallDisk } from '../support/small-disk.ts';
import { until } from '../support/until.ts';

let story: InstallationStory;
let good: DeploymentRecord;

beforeAll(async () => {
  story = await startInstallationStory({ name: 'bad-release' });
  await story.setProject((document) => {
    document.setIn(['environments', 'staging', 'limits', 'ready'], '5s');
    document.setIn(['environments', 'staging', 'watch', 'duration'], '2s');
  });
  good = await story.release('feat: keep notes');
}, 300_000);

afterAll(async () => {
  await story.close();
}, 180_000);

const minutes = 60_000;

/** All that the API tells a person about why it ended so. */
function tellsOf({ reason, steps }: DeploymentRecord): string {
  return [reason, ...steps.map(({ name, detail }) => `${name}: ${detail ?? ''}`)].join('\n');
}

/** The good release is what every user got while `work` was done, and is still what is live. */
async function goodServesThroughout(work: () => Promise<DeploymentRecord>): Promise<DeploymentRecord> {
  const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
  try {
    const deployment = await work();
    const seen = load.report();
    const answered = seen.versions[good.version] ?? 0;
    // Never the new one. On a machine with many hands the router may lose sight of what serves for a moment, and says `none`.
    const others = Object.keys(seen.versions).filter((version) => ![good.version, 'none'].includes(version));
    expect(others).toEqual([]);
    expect(answered).toBeGreaterThan(seen.requests / 2);
    // One that ended before its turn says nothing of what is live.
    expect([undefined, good.version]).toContain(deployment.result?.live?.version);
    await expect(story.answer('staging')).resolves.toMatchObject({ version: good.version });
    const environment = await story.operator.readEnvironment({ project: story.project, environment: 'staging' });
    expect(environment).toMatchObject({ live: { version: good.version } });
    return deployment;
  } finally {
    await load.stop();
  }
}

async function attempt(
  subject: string,
  files: Readonly<Record<string, string | null>> = {},
): Promise<DeploymentRecord> {
  const run = await story.push({ branch: 'develop', subject, files });
  return await story.endOf(await story.deploymentOf(run));
}

describe('a release that cannot be rolled out', () => {
  test(
    'a container that never gets healthy: its last lines and what the probe got are said, and no request was its',
    async () => {
      const main = await story.repository.read('src/main.js');
      const sick = `${main}
console.error('cannot reach the card reader');
console.error('giving up on readiness');
app.server.removeAllListeners('request');
app.server.on('request', (_request, response) => response.writeHead(503).end('card reader missing'));
`;
      const deployment = await goodServesThroughout(() => attempt('feat: sick', { 'src/main.js': sick }));
      await story.repository.commit({ branch: 'develop', subject: 'revert: sick', files: { 'src/main.js': main } });

      expect(deployment.outcome).toBe('failed');
      expect(deployment.reason).toMatch(/is not healthy.*Read the last lines of the container.*no traffic was moved/);
      const told = tellsOf(deployment);
      expect(told).toContain('its last lines:');
      expect(told).toContain('giving up on readiness');
      expect(told).toMatch(/asked:\n[^]*\/health: 503[^]*its last lines:/);
      expect(deployment.steps.filter(({ name }) => name.startsWith('traffic'))).toEqual([]);
    },
    4 * minutes,
  );

  test(
    'a migration that fails: its own words, and what went before them, are read from its log',
    async () => {
      const bad = {
        'migrations/003_bad.sql': `-- slipway: expand
do $$ begin raise notice 'looking at the cards'; end $$;
alter table card_readers add column model text;
`,
      };
      const deployment = await goodServesThroughout(() => attempt('feat: bad migration', bad));
      await story.repository.commit({
        branch: 'develop',
        subject: 'revert: bad migration',
        files: { 'migrations/003_bad.sql': null },
      });
      expect(deployment.outcome).toBe('failed');
      const logs = await story.operator.listLogs(deployment);
      expect(logs.every(({ closedAt }) => closedAt !== null)).toBe(true);
      expect(new Set(logs.map(({ stage }) => stage))).toEqual(
        new Set(['backup', 'start', 'migrate', 'stop', 'restore', 'probe']),
      );
      const [migrate] = logs.filter(({ stage }) => stage === 'migrate');
      const text = await story.operator.readLog(migrate?.log ?? '');
      expect(text).toMatch(/003_bad\.sql begins\nNOTICE: looking at the cards\n003_bad\.sql was rolled back/);
      expect(text).toContain('relation "card_readers" does not exist');
      expect(await story.operator.searchLogs(deployment, 'card_readers', 'migrate')).toHaveLength(1);
      const read = async (stage: string): Promise<string> =>
        await story.operator.readLog(logs.find((log) => log.stage === stage)?.log ?? '');
      expect(await read('backup')).toMatch(/dumping contents of table[^]*took \d+ bytes[^]*proved in \d+ ms/);
      expect(await read('start')).toMatch(/listening on 0\.0\.0\.0:\d+\n[^]*healthy after \d+ ms/);
      expect(await read('stop')).toMatch(/the last lines of (blue|green):\n[^]*listening on/);
    },
    4 * minutes,
  );

  test(
    'the port of a slot that somebody took: who has it is said, and once it is free the same release goes live',
    async () => {
      const port = story.sites.staging.slots.green;
      const squatter = createServer();
      await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', resolve));
      const deployment = await goodServesThroughout(() => attempt('feat: nowhere to go'));
      await new Promise((resolve) => squatter.close(resolve));

      expect(deployment.outcome).toBe('errored');
      expect(deployment.reason).toContain(String(port));
      expect(deployment.reason).toContain(String(process.pid));
      expect(deployment.reason).toMatch(/Free the port/);

      const again = await story.operator.deploy(
        { project: story.project, environment: 'staging' },
        { version: deployment.version },
      );
      const live = await story.endOf(again);
      expect(live).toMatchObject({ outcome: 'succeeded', version: deployment.version });
      good = live;
    },
    4 * minutes,
  );

  test(
    'no room for the backup: nothing is changed, the disk is named, and with room the same release goes live',
    async () => {
      const blobs = blobFolder();
      const onDisk = async (size: string, work: () => Promise<DeploymentRecord>): Promise<DeploymentRecord> => {
        const disk = mountBlobs(size);
        try {
          return await work();
        } finally {
          disk.unmount();
        }
      };
      // Room enough by the bytes that it says are free, but none for another file: found out only in the middle of the backup.
      const deployment = await onDisk('1g,nr_inodes=5', () => goodServesThroughout(() => attempt('feat: no room')));

      expect(deployment.outcome).toBe('errored');
      expect(deployment.reason).toContain(`on the disk of ${blobs}`);
      expect(deployment.reason).toMatch(/Make room on the disk/);
      expect(deployment.steps.filter(({ name }) => name.startsWith('start'))).toEqual([]);

      const place = { project: story.project, environment: 'staging' };
      const foreseen = await onDisk('8k', async () =>
        story.endOf(await story.operator.deploy(place, { version: deployment.version })),
      );
      expect(foreseen.outcome).toBe('errored');
      expect(foreseen.reason).toMatch(/It does not fit: disk: .* bytes, \d+ are free on the disk of .*make room there/);
      expect(foreseen.reason).toContain(blobs);

      const live = await story.endOf(await story.operator.deploy(place, { version: deployment.version }));
      expect(live).toMatchObject({ outcome: 'succeeded', version: deployment.version });
      good = live;
    },
    4 * minutes,
  );

  test(
    'a database whose backup cannot be restored: it is said which table, and nothing is changed',
    async () => {
      const { staging } = story.databases;
      // Its check is true only where the row was made: in the copy the function sees another database.
      await story.query(
        staging,
        `CREATE FUNCTION here() RETURNS boolean LANGUAGE sql AS $$ SELECT current_database() = '${staging}' $$;
         CREATE TABLE stuck (id int CHECK (public.here()));
         INSERT INTO stuck VALUES (1)`,
      );
      const deployment = await goodServesThroughout(() => attempt('feat: unprovable'));
      await story.query(staging, 'DROP TABLE stuck; DROP FUNCTION here()');

      expect(deployment.outcome).toBe('errored');
      expect(deployment.reason).toMatch(/could not be restored or differs from the source\. Nothing was changed/);
      expect(tellsOf(deployment)).toContain('stuck');
      expect(deployment.steps.filter(({ name }) => name.startsWith('start'))).toEqual([]);
    },
    4 * minutes,
  );
});

describe('a disk that gets full while a release is rolled back', () => {
  test(
    'users have the good release and its data again, the environment is held with the disk named, and with room `retry` ends it',
    async () => {
      const place = { project: story.project, environment: 'staging' };
      const disk = mountBlobs('128m');
      const load = startLoad({ url: story.addresses.staging, ratePerS: 20 });
      try {
        await story.setProject((document) => {
          document.setIn(['environments', 'staging', 'watch', 'duration'], '60s');
        });
        const ref = await story.deploymentOf(
          await story.push({
            branch: 'develop',
            subject: 'feat: bad, with a migration',
            files: {
              'src/fault.json': '{ "errorRatio": 0.5, "afterMs": 5000 }\n',
              'migrations/003_more.sql': '-- slipway: expand\nALTER TABLE notes ADD COLUMN more text;\n',
              'migrations/003_more.down.sql': 'ALTER TABLE notes DROP COLUMN more;\n',
            },
          }),
        );
        await until(async () => (await story.operator.readDeployment(ref)).phase === 'watching', {
          timeoutMs: 2 * minutes,
          everyMs: 30,
          what: 'it to be watched',
        });
        await story.query(story.databases.staging, `INSERT INTO notes (body) SELECT repeat('later', 2000)`);
        disk.fill();
        const deployment = await story.endOf(ref);

        expect(deployment.outcome).toBe('rollback-failed');
        expect(deployment.reason).toMatch(/`retry`/);
        const told = tellsOf(deployment);
        expect(told).toMatch(/The proved copy took its place.*not exported yet.*Make room on the disk/);
        expect(told).toContain(disk.folder);
        await expect(story.answer('staging')).resolves.toMatchObject({ version: good.version });
        const held = await story.operator.readEnvironment(place);
        expect(held).toMatchObject({ live: { version: good.version }, hold: { reason: expect.anything() } });
        await expect(columnsOfNotes()).resolves.not.toContain('more');

        disk.clear();
        const refused = load.report();
        await story.operator.retry(place, { reason: 'there is room again' });
        await until(async () => (await story.operator.readEnvironment(place)).hold === null, {
          timeoutMs: 2 * minutes,
          what: 'the hold to end',
        });
        const exported = join(
          disk.folder,
          'backups',
          story.project,
          'staging',
          String(ref.number),
          'later-writes.jsonl',
        );
        expect(statSync(exported).size).toBeGreaterThan(10_000);
        await expect(columnsOfNotes()).resolves.not.toContain('more');
        await expect(story.answer('staging')).resolves.toMatchObject({ version: good.version });
        expect(load.report().versions[good.version] ?? 0).toBeGreaterThan(refused.versions[good.version] ?? 0);
      } finally {
        await load.stop();
        disk.unmount();
      }
    },
    6 * minutes,
  );
});

function blobFolder(): string {
  return join(story.context.stateFolder, 'blobs');
}

/** Over what is there: backups of earlier releases are out of sight until it is taken away. */
function mountBlobs(size: string): SmallDisk {
  return mountSmallDisk(size, { folder: blobFolder(), owner: 'mode=0755' });
}

async function columnsOfNotes(): Promise<string[]> {
  const rows = await story.query<{ name: string }>(
    story.databases.staging,
    `SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'notes'`,
  );
  return rows.map(({ name }) => name);
}
