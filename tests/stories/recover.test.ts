import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { sql } from 'kysely';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import { type Store, openStore } from '../../src/store/store.ts';
import { environmentId } from '../../src/workflows/messages.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

let story: InstallationStory;
let store: Store;
let connection: Connection;
let first: DeploymentRecord;
let second: DeploymentRecord;

const minutes = 60_000;
const place = () => ({ project: story.project, environment: 'staging' });

beforeAll(async () => {
  story = await startInstallationStory({ name: 'recover', files: { 'slipway.yaml': quickDefinition() } });
  await story.setProject((document) => {
    document.setIn(['environments', 'staging', 'watch', 'duration'], '2s');
  });
  store = openStore({ url: story.own.store.url });
  connection = await Connection.connect({ address: story.own.temporal.address });
  first = await story.release('feat: one');
  second = await story.release('feat: two');
}, 10 * minutes);

afterAll(async () => {
  await connection.close();
  await store.close();
  await story.close();
}, 2 * minutes);

/** Everything but who may speak to the API, which an operator makes anew; then both processes begin without a memory. */
async function loseTheStore(): Promise<void> {
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables
    where schemaname = 'public' and tablename not like 'kysely%' and tablename <> 'tokens'`.execute(store.db);
  expect(rows.length).toBeGreaterThan(20);
  await store.db.transaction().execute(async (tx) => {
    // Some tables refuse to forget, as a broken disk does not.
    for (const { name } of rows) await sql`alter table ${sql.table(name)} disable trigger user`.execute(tx);
    await sql`truncate ${sql.join(rows.map(({ name }) => sql.table(name)))} restart identity cascade`.execute(tx);
    for (const { name } of rows) await sql`alter table ${sql.table(name)} enable trigger user`.execute(tx);
  });
  await story.kill('worker');
  await story.kill('api');
  await until(async () => (await story.operator.listReleases({ project: story.project })).items.length === 0, {
    timeoutMs: minutes,
    what: 'the API to answer on an empty store',
  });
  await story.setProject(() => undefined);
}

test(
  'an environment whose store was lost is usable again: what is live is known, the one before can be gone back to, and the next is deployed',
  async () => {
    await loseTheStore();
    expect(await until(() => story.answer('staging'))).toMatchObject({ version: second.version });

    const said = await until(() => story.operator.recover(place(), { apply: false }), { timeoutMs: minutes });
    expect(said).toMatchObject({ applied: false, problems: [] });
    // What the worker has not crossed off yet comes again, so the store may know of an end, and of nobody who asked for it.
    const lines: unknown = expect.arrayContaining([
      expect.stringMatching(`^release ${second.version} of commit .*, as a worker kept it$`),
      expect.stringMatching(`^deployment ${story.project}/staging/1 of ${first.version}: succeeded at `),
      expect.stringMatching(`^live: ${second.version} in .* on record is `),
      expect.stringMatching(`^previous: ${first.version} in .* on record is nothing$`),
    ]);
    expect(said.lines).toEqual(lines);
    expect((await story.operator.listReleases({ project: story.project })).items).toEqual([]);

    const written = await story.operator.recover(place(), { apply: true, reason: 'the disk broke' });
    expect(written).toMatchObject({ applied: true, problems: [], lines });
    expect(await story.operator.recover(place(), { apply: false })).toMatchObject({ lines: [], problems: [] });
    expect(await story.answer('staging')).toMatchObject({ version: second.version });
    expect(await story.operator.readEnvironment(place())).toMatchObject({
      live: { version: second.version, commit: second.result?.live?.commit },
      previous: { version: first.version },
      hold: null,
    });
    expect(await story.operator.readDeployment({ ...place(), number: first.number })).toMatchObject({
      outcome: 'succeeded',
      requestedBy: first.requestedBy,
    });

    const back = await story.endOf(await story.operator.rollback(place(), { reason: 'two is not what we wanted' }));
    expect(back).toMatchObject({ number: 3, kind: 'rollback', outcome: 'rolled-back', version: first.version });
    expect(await story.answer('staging')).toMatchObject({ version: first.version });
    const third = await story.release('feat: three');
    expect(third.number).toBe(4);
    expect(Number(third.version.split('-')[0])).toBeGreaterThan(Number(second.version.split('-')[0]));
    expect(await story.answer('staging')).toMatchObject({ version: third.version });
  },
  10 * minutes,
);

test(
  'also where the environment’s workflow and what the worker kept are lost with it: by containers, router and commits',
  async () => {
    const { version } = await story.answer('staging');
    await new Client({ connection, namespace: story.own.temporal.namespace }).workflow
      .getHandle(environmentId(story.project, 'staging'))
      .terminate('lost');
    rmSync(join(story.context.stateFolder, 'work/places'), { recursive: true });
    await loseTheStore();

    const written = await until(() => story.operator.recover(place(), { apply: true, reason: 'all of it' }), {
      timeoutMs: minutes,
    });
    expect(written.problems).toEqual([]);
    expect(written.lines).toContainEqual(expect.stringContaining('by its commit, with the project.yaml of today'));
    const view = await story.operator.readEnvironment(place());
    expect(view).toMatchObject({ live: { version }, previous: { version: first.version } });
    expect(await story.answer('staging')).toMatchObject({ version });

    const back = await story.endOf(await story.operator.rollback(place(), { reason: 'as a proof' }));
    expect(back).toMatchObject({ kind: 'rollback', outcome: 'rolled-back', version: first.version });
    expect(await story.answer('staging')).toMatchObject({ version: first.version });
    const next = await story.release('feat: after all');
    expect(next.number).toBeGreaterThan(back.number);
  },
  10 * minutes,
);
