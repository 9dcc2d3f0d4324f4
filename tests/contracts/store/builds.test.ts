import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import type { KnownBuild, KnownBuilds } from '../../../src/activities/image-work.ts';
import { forgetOldBuiltImages } from '../../../src/store/builds.ts';
import { createKnownBuilds } from '../../../src/workers/facts.ts';
import { createMemoryBuilds } from '../../support/fakes/builds.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
const problems: unknown[] = [];
beforeAll(async () => {
  store = await temporaryStore();
});
afterAll(async () => {
  await store.drop();
});

const id = (letter: string): string => `sha256:${letter.repeat(64)}`;

describe.each<[string, () => KnownBuilds]>([
  ['the store', () => createKnownBuilds(store, (error) => void problems.push(error))],
  ['a memory', createMemoryBuilds],
])('known builds of %s', (name, open) => {
  const project = `shop-of-${name.replaceAll(' ', '-')}`;
  const build: KnownBuild = {
    project,
    key: 'k1',
    name: 'web',
    repository: 'reg/shop/web',
    digest: id('a'),
    sizeBytes: 7,
  };

  test('that were pushed are found by their inputs, and the first of a key stays', async () => {
    const builds = open();
    expect(await builds.find(project, 'k1')).toBeUndefined();
    await builds.record(build);
    await builds.record({ ...build, digest: id('b') });
    expect(await builds.find(project, 'k1')).toEqual(build);
    expect(await builds.find('other', 'k1')).toBeUndefined();
    expect(await builds.latest(project, 'web')).toEqual(build);
    await builds.forget(project, 'k1');
    expect(await builds.find(project, 'k1')).toBeUndefined();
  });

  test('that lie on an engine are found by their inputs alone, the newest first, each once', async () => {
    const builds = open();
    expect(await builds.listBuilt(project, 'k2')).toEqual([]);
    for (const letter of ['c', 'd', 'c']) {
      await builds.recordBuilt({ project, key: 'k2', name: 'web', id: id(letter) });
    }
    await builds.recordBuilt({ project, key: 'k3', name: 'web', id: id('e') });
    expect(await builds.listBuilt(project, 'k2')).toEqual([id('d'), id('c')]);
    expect(await builds.listBuilt('other', 'k2')).toEqual([]);
    expect(await builds.find(project, 'k2')).toBeUndefined();
  });
});

test('the newest is first among those of one millisecond too', async () => {
  const builds = createKnownBuilds(store, (error) => void problems.push(error));
  const project = 'quick';
  for (const letter of ['e', 'f', 'd']) {
    await builds.recordBuilt({ project, key: 'k', name: 'web', id: id(letter) });
  }
  await store.db
    .updateTable('builtImages')
    .set({
      builtAt: sql<string>`'2026-11-27T02:00:00.0010Z'::timestamptz
        + case id when ${id('e')} then 0 when ${id('f')} then 2 else 1 end * interval '1 microsecond'`,
    })
    .where('project', '=', project)
    .execute();
  expect(await builds.listBuilt(project, 'k')).toEqual([id('f'), id('d'), id('e')]);
});

test('what nobody has asked for in a long time is forgotten, and asking counts as use', async () => {
  const builds = createKnownBuilds(store, (error) => void problems.push(error));
  const project = 'old';
  for (const key of ['asked', 'unasked']) await builds.recordBuilt({ project, key, name: 'web', id: id('f') });
  await store.db
    .updateTable('builtImages')
    .set({ usedAt: new Date(Date.now() - 91 * 86_400_000).toISOString() })
    .where('project', '=', project)
    .execute();
  expect(await builds.listBuilt(project, 'asked')).toHaveLength(1);
  expect(await forgetOldBuiltImages(store.db)).toBe(1);
  expect(await builds.listBuilt(project, 'asked')).toHaveLength(1);
  expect(await builds.listBuilt(project, 'unasked')).toEqual([]);
});

test('without the store nothing is known, which is no error', async () => {
  const closed = await temporaryStore();
  await closed.drop();
  const told: unknown[] = [];
  const builds = createKnownBuilds(closed, (error) => void told.push(error));
  expect(await builds.listBuilt('shop', 'k')).toEqual([]);
  await builds.recordBuilt({ project: 'shop', key: 'k', name: 'web', id: id('a') });
  expect(await builds.find('shop', 'k')).toBeUndefined();
  expect(told).toHaveLength(3);
  expect(problems).toEqual([]);
});
