import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { openDeployment } from '../../../src/store/deployments.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { registryClaims } from '../../../src/store/migrations/0022-registry-claims.ts';
import { putProject } from '../../../src/store/projects.ts';
import {
  type ImageUser,
  type Removal,
  claimRemoval,
  claimUse,
  endRemoval,
  forgetBrokenRemovals,
  forgetEndedClaims,
  isWaitedFor,
  readBrokenRemovals,
  renewRemoval,
} from '../../../src/store/registry-claims.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { openRun, recordImages, settleRunRow } from '../../../src/store/runs.ts';
import type { Db } from '../../../src/store/schema.ts';
import { settleDeploymentRow } from '../../../src/store/settlements.ts';
import { projectYaml } from '../../support/api.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';

const project = 'shop';
const environment = 'production';

let store: TestStore;
let repository: string;
let count = 0;

beforeAll(async () => {
  store = await temporaryStore();
  await putProject(store.db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'ada' });
}, 120_000);

afterAll(async () => {
  await store.drop();
}, 60_000);

beforeEach(() => {
  count += 1;
  repository = `127.0.0.1:5000/claims/${count}`;
});

const removalOf = (name: string): Removal => ({ holder: `retention ${name} ${count}`, project, repository });
const remove = (digests: readonly string[], name = 'a'): Promise<boolean> =>
  claimRemoval(store.db, removalOf(name), digests);
const use = (user: ImageUser, digests: readonly string[], db: Db = store.db): Promise<boolean> =>
  claimUse(db, { user, repository, digests });

async function begin(): Promise<{ readonly project: string; readonly key: string; readonly number: number }> {
  const key = crypto.randomUUID();
  const after = key.replaceAll('-', '').padEnd(40, '0');
  const event = { kind: 'push' as const, ref: 'refs/heads/main', before: '0'.repeat(40), after, author: 'ada' };
  const { input } = await acceptRun(store.db, { project, key, event, acceptedAt: new Date().toISOString() });
  return await openRun(store.db, input);
}

async function release(digest: string): Promise<string> {
  const version = `1.0.${count}`;
  const images = [{ name: 'web', repository, digest }];
  const more = { commit: 'c', build: 1, migrations: [], definition: 'd', runKey: 'k', author: 'ada' };
  await recordRelease(store.db, { project, version, images, ...more });
  return version;
}

function ask(version: string, kind: 'rollout' | 'rollback' = 'rollout', db: Db = store.db): Promise<number> {
  return openDeployment(db, {
    project,
    environment,
    version,
    requestedBy: 'ada',
    author: 'ada',
    priority: kind === 'rollback' ? 'rollback' : 'routine',
    requestedAt: new Date().toISOString(),
    kind,
    request: crypto.randomUUID(),
    startedBy: 'api',
  }).then(({ input }) => input.number);
}

async function settle(number: number, version: string): Promise<void> {
  const result = { project, environment, number, reason: 'no', steps: [], outcome: 'failed' as const };
  await settleDeploymentRow(store.db, result, version, new Date().toISOString());
}

/** As if so much time had passed. */
async function age(holder: string): Promise<void> {
  await sql`update registry_claims set expires_at = now() - interval '1 ms' where holder like ${`${holder}%`}`.execute(
    store.db,
  );
}

/** Somebody waits for the lock of a repository. */
async function waiting(): Promise<boolean> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::integer as count from pg_locks where locktype = 'advisory' and not granted`.execute(store.db);
  return (rows[0]?.count ?? 0) > 0;
}

describe('what a run has claimed', () => {
  test('is removed by nobody until the run has an outcome, and nothing else is held by it', async () => {
    const run = await begin();
    expect(await use({ run, image: 'web' }, ['a', 'a-amd64'])).toBe(true);
    expect(await remove(['a'])).toBe(false);
    expect(await remove(['other', 'a-amd64'])).toBe(false);
    // All of a group or nothing.
    expect(await remove(['other'], 'b')).toBe(true);
    await endRemoval(store.db, removalOf('b'));
    await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'ok' });
    expect(await remove(['a', 'a-amd64'])).toBe(true);
  });

  test('is the whole repository where the digest is not known yet, and the digest in place of it afterwards', async () => {
    const run = await begin();
    expect(await use({ run, image: 'web' }, [])).toBe(true);
    expect(await use({ run, image: 'api' }, [])).toBe(true);
    expect(await remove(['any'])).toBe(false);
    expect(await use({ run, image: 'web' }, ['a'])).toBe(true);
    // The other image of the run is still on its way.
    expect(await remove(['any'])).toBe(false);
    expect(await use({ run, image: 'api' }, ['b'])).toBe(true);
    expect(await remove(['any'])).toBe(true);
    expect(await remove(['a'])).toBe(false);
    expect(await remove(['b'])).toBe(false);
  });

  test('is free after its days, whatever has become of the run', async () => {
    const run = await begin();
    await use({ run, image: 'web' }, ['a']);
    expect(await remove(['a'])).toBe(false);
    await age(`run ${project}/${run.number}`);
    expect(await remove(['a'])).toBe(true);
  });

  test('is nothing in another repository', async () => {
    await use({ run: await begin(), image: 'web' }, []);
    repository = `${repository}/other`;
    expect(await remove(['a'])).toBe(true);
  });
});

describe('what a deployment will run', () => {
  test('is claimed with its row, and held until it has an outcome', async () => {
    const version = await release('a');
    const number = await ask(version);
    expect(await remove(['a'])).toBe(false);
    expect(await remove(['b'])).toBe(true);
    await settle(number, version);
    expect(await remove(['a'])).toBe(true);
  });

  test('is not asked for while it is being removed: nothing is opened, and it can be asked again', async () => {
    const version = await release('a');
    expect(await remove(['a'])).toBe(true);
    await expect(ask(version)).rejects.toMatchObject({ type: 'ImageBeingRemoved', retryable: true });
    const open = store.db.selectFrom('deployments').select('number').where('version', '=', version);
    expect(await open.execute()).toEqual([]);
    await endRemoval(store.db, removalOf('a'));
    expect(await ask(version)).toBeGreaterThan(0);
  });

  test('is gone back to whatever is being removed', async () => {
    const version = await release('a');
    expect(await remove(['a'])).toBe(true);
    expect(await ask(version, 'rollback')).toBeGreaterThan(0);
    // And who removes it sees that, and leaves it.
    expect(await isWaitedFor(store.db, removalOf('a'), ['a'])).toBe(true);
  });

  test('counts from before its transaction has ended: who would remove it waits for that', async () => {
    const version = await release('a');
    const asked: string[] = [];
    const opening = store.db.transaction().execute(async (tx) => {
      await ask(version, 'rollout', tx);
      void remove(['a']).then((claimed) => asked.push(String(claimed)));
      await until(waiting, { what: 'the removal to wait' });
      expect(asked).toEqual([]);
    });
    await opening;
    await until(() => asked.length > 0, { what: 'the removal to be answered' });
    expect(asked).toEqual(['false']);
  });
});

describe('a removal', () => {
  test('makes who needs the image wait, and is told of it', async () => {
    const run = await begin();
    expect(await remove(['a', 'b'])).toBe(true);
    expect(await remove(['b'], 'of another worker')).toBe(false);
    expect(await isWaitedFor(store.db, removalOf('a'), ['a'])).toBe(false);
    expect(await use({ run, image: 'web' }, ['a'])).toBe(false);
    expect(await isWaitedFor(store.db, removalOf('a'), ['a'])).toBe(true);
    expect(await isWaitedFor(store.db, removalOf('a'), ['b'])).toBe(false);
    // Of a digest that is not known yet, any may be the one.
    expect(await use({ run, image: 'api' }, [])).toBe(false);
    expect(await isWaitedFor(store.db, removalOf('a'), ['b'])).toBe(true);
    await endRemoval(store.db, removalOf('a'));
    expect(await use({ run, image: 'web' }, ['a'])).toBe(true);
    // It is not begun again before who has waited is done.
    expect(await remove(['a'])).toBe(false);
  });

  test('is renewed as a whole, and lost where that came too late', async () => {
    expect(await remove(['a'])).toBe(true);
    expect(await remove(['b'])).toBe(true);
    expect(await renewRemoval(store.db, removalOf('a'), ['a', 'b'])).toBe(true);
    expect(await renewRemoval(store.db, removalOf('a'), ['a', 'never claimed'])).toBe(false);
    await age('retention a');
    expect(await renewRemoval(store.db, removalOf('a'), ['a'])).toBe(false);
    expect(await use({ run: await begin(), image: 'web' }, ['a'])).toBe(true);
    expect(await renewRemoval(store.db, removalOf('a'), ['a'])).toBe(false);
  });

  test('that was cut off is remembered until somebody has looked after it', async () => {
    expect(await remove(['a', 'b'])).toBe(true);
    expect(await readBrokenRemovals(store.db, repository)).toEqual({ holders: [], digests: [] });
    await age('retention a');
    await forgetEndedClaims(store.db);
    const broken = await readBrokenRemovals(store.db, repository);
    expect(broken.holders).toEqual([removalOf('a').holder]);
    expect([...broken.digests].sort()).toEqual(['a', 'b']);
    await forgetBrokenRemovals(store.db, broken.holders);
    expect(await readBrokenRemovals(store.db, repository)).toEqual({ holders: [], digests: [] });
  });

  test('and a use of the same image are never both free to begin, however close together they are', async () => {
    const runs = await Promise.all(Array.from({ length: 4 }, begin));
    const seen = { uses: 0, removals: 0 };
    for (let round = 1; round <= 100; round += 1) {
      const digest = `round-${round}`;
      const claims = runs
        .slice(0, 1 + (round % 4))
        .map((run, index) => () => use({ run, image: `${round}-${index}` }, [digest]));
      const [removed, ...used] = await Promise.all(
        round % 2 === 0
          ? [remove([digest], `r${round}`), ...claims.map((claim) => claim())]
          : [...claims.map((claim) => claim()), remove([digest], `r${round}`)].reverse(),
      );
      // One that uses may wait for a removal that was first, but none begins beside it.
      expect(removed === true && used.includes(true)).toBe(false);
      expect(removed === true || used.every((free) => free)).toBe(true);
      if (removed === true) seen.removals += 1;
      else seen.uses += 1;
    }
    // Else nothing was close.
    expect(Math.min(seen.uses, seen.removals)).toBeGreaterThan(0);
  }, 60_000);
});

test('claims of what is over are forgotten', async () => {
  const run = await begin();
  const open = await begin();
  await use({ run, image: 'web' }, ['a']);
  await use({ run: open, image: 'web' }, ['a']);
  await settleRunRow(store.db, run, { outcome: 'failed', reason: 'no' });
  await forgetEndedClaims(store.db);
  const rows = await store.db.selectFrom('registryClaims').select('run').where('repository', '=', repository).execute();
  expect(rows).toEqual([{ run: open.number }]);
});

test('runs that are open when claims come to be have their repositories claimed', async () => {
  const [over, open] = [await begin(), await begin()];
  const image = { name: 'web', digest: 'a', tags: [], sizeBytes: 1, reused: false, durationMs: 1 };
  await recordImages(store.db, over, [{ ...image, repository }]);
  await settleRunRow(store.db, over, { outcome: 'succeeded', reason: 'ok' });
  await sql`drop table registry_claims`.execute(store.db);
  await sql.raw(registryClaims).execute(store.db);
  expect(await remove(['a'])).toBe(false);
  await sql`update runs set outcome = 'succeeded' where outcome is null and number <> ${open.number}`.execute(store.db);
  expect(await remove(['a'])).toBe(false);
  await settleRunRow(store.db, open, { outcome: 'succeeded', reason: 'ok' });
  expect(await remove(['a'])).toBe(true);
});
