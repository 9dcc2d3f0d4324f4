import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { promotionOf } from '../../../src/activities/promotion.ts';
import type { Place } from '../../../src/activities/places.ts';
import { loadProject } from '../../../src/definition/load.ts';
import type { DeploymentInput } from '../../../src/domain/deployment.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { putProject } from '../../../src/store/projects.ts';
import { readRelease, recordRelease } from '../../../src/store/releases.ts';
import { projectYaml } from '../../support/api.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await temporaryStore();
  await putProject(store.db, { name: 'hello', text: projectYaml('hello'), hash: 'h', diff: '', by: 'ada' });
});
afterAll(async () => {
  await store.drop();
});

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

async function release(version: string, images: readonly string[], commit = version): Promise<void> {
  await recordRelease(store.db, {
    project: 'hello',
    version,
    build: 1,
    commit: commit.padEnd(40, '0'),
    images: images.map((letter, index) => ({ name: `image-${index}`, repository: 'r/x', digest: digest(letter) })),
    definition: 'd',
    migrations: [],
    author: 'ada',
  });
}

async function deployed(environment: string, version: string, outcome: string): Promise<void> {
  const { input } = await openDeployment(store.db, {
    ...asked(environment, version),
    kind: 'rollout',
    request: `${environment}/${version}`,
    startedBy: 'api',
  });
  await store.db
    .updateTable('deployments')
    .set({ outcome: outcome as 'succeeded' })
    .where('environment', '=', environment)
    .where('number', '=', input.number)
    .execute();
}

function asked(environment: string, version: string): Omit<DeploymentInput, 'number'> {
  const who = { requestedBy: 'ada', author: 'ada', priority: 'routine' as const };
  return { project: 'hello', environment, version, ...who, requestedAt: new Date().toISOString() };
}

async function rule(
  version: string,
  over: { readonly rule?: string; readonly environment?: string; readonly priority?: 'hotfix' } = {},
): Promise<string | undefined> {
  const environment = over.environment ?? 'production';
  const text = projectYaml('hello').replace(
    `  ${environment}:`,
    `  ${environment}:${over.rule === undefined ? '' : `\n    requireStagingSuccess: ${over.rule}`}`,
  );
  const loaded = loadProject({ file: 'project.yaml', text });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const place = {
    pair: { project: loaded.value },
    spec: { name: environment },
    release: await readRelease(store.db, 'hello', version),
  };
  const input = {
    ...asked(environment, version),
    number: 1,
    ...(over.priority === undefined ? {} : { priority: over.priority }),
  };
  return await promotionOf(store.db, place as unknown as Place, input);
}

describe('production after staging', () => {
  test('warns by default, says nothing where it is off, and refuses where it blocks', async () => {
    await release('1.0.0', ['a']);
    await expect(rule('1.0.0')).resolves.toContain('never succeeded in staging');
    await expect(rule('1.0.0', { rule: 'off' })).resolves.toBeUndefined();
    await expect(rule('1.0.0', { rule: 'block' })).rejects.toMatchObject({ type: 'NotPromoted', retryable: false });
    await expect(rule('1.0.0', { environment: 'staging', rule: 'block' })).resolves.toBeUndefined();
  });

  test('is met by the same images under another version, and only by a deployment that succeeded', async () => {
    await release('2.0.0', ['b', 'c']);
    await deployed('staging', '2.0.0', 'rolled-back');
    await expect(rule('2.0.0', { rule: 'block' })).rejects.toMatchObject({ type: 'NotPromoted' });
    await release('2.0.1', ['b', 'c']);
    await deployed('staging', '2.0.1', 'succeeded');
    await expect(rule('2.0.0', { rule: 'block' })).resolves.toBeUndefined();
    await release('2.0.2', ['b', 'd']);
    await expect(rule('2.0.2', { rule: 'block' })).rejects.toMatchObject({ type: 'NotPromoted' });
  });

  test('goes by the commit where there are no images', async () => {
    await release('3.0.0', [], 'abc');
    await release('3.0.1', [], 'abc');
    await release('3.0.2', [], 'def');
    await deployed('staging', '3.0.0', 'succeeded');
    await expect(rule('3.0.1', { rule: 'block' })).resolves.toBeUndefined();
    await expect(rule('3.0.2', { rule: 'block' })).rejects.toMatchObject({ type: 'NotPromoted' });
  });

  test('lets a hotfix go with a warning, and writes that down', async () => {
    await release('4.0.0', ['e']);
    await expect(rule('4.0.0', { rule: 'block', priority: 'hotfix' })).resolves.toContain('hotfix');
    const { items } = await listAudit(store.db, {}, {});
    expect(items).toMatchObject([{ action: 'promotion.exempted', actor: 'ada', object: 'hello/production/1' }]);
  });
});
