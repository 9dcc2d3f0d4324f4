import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { readEnvironment } from '../../src/store/environments.ts';
import { type Store, openStore } from '../../src/store/store.ts';
import { environmentId, rolloutId } from '../../src/workflows/messages.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

let story: InstallationStory;
let store: Store;
let connection: Connection;
let client: Client;

beforeAll(async () => {
  story = await startInstallationStory({ name: 'operators', files: { 'slipway.yaml': quickDefinition() } });
  await story.setProject((document) => {
    document.setIn(['environments', 'staging', 'watch', 'duration'], '2s');
  });
  store = openStore({ url: story.own.store.url });
  connection = await Connection.connect({ address: story.own.temporal.address });
  client = new Client({ connection, namespace: story.own.temporal.namespace });
}, 300_000);

afterAll(async () => {
  await connection.close();
  await store.close();
  await story.close();
}, 60_000);

const minutes = 60_000;

describe('what an operator says is live', () => {
  test.each([
    ['unlock', (version: string) => story.operator.unlock(place(), { stateIs: version, reason: 'I looked' })],
    ['reconcile', () => story.operator.reconcile(place(), { reason: 'look for yourself' })],
  ] as const)(
    'with %s is what lists, pages, the next plan and the next rollback go by',
    async (how, say) => {
      const before = await story.release(`feat: before ${how}`);
      await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '10m'));
      const lost = await story.deploymentOf(
        await story.push({ branch: 'develop', subject: `feat: ${how}`, files: {} }),
      );
      await until(async () => (await story.operator.readDeployment(lost)).phase === 'watching', {
        timeoutMs: 120_000,
        what: 'the watch',
      });
      await client.workflow.getHandle(rolloutId(lost)).terminate('by mistake');
      const { outcome, version } = await story.endOf(lost);
      expect(outcome).toBe('errored');
      await story.setProject((document) => document.setIn(['environments', 'staging', 'watch', 'duration'], '2s'));
      expect((await story.operator.readEnvironment(place())).hold).toMatchObject({ state: 'unknown' });
      expect((await row())?.live?.version).toBe(before.version);

      expect(await say(version)).toMatchObject({ hold: null, live: { version } });

      await until(async () => (await row())?.live?.version === version, { timeoutMs: 20_000, what: 'the row' });
      expect(await row()).toMatchObject({
        live: { version, commit: expect.stringMatching(/^[0-9a-f]{40}$/) },
        previous: { version: before.version },
        hold: null,
      });
      // Where the workflow does not run, that row is all there is to show.
      await client.workflow.getHandle(environmentId(story.project, 'staging')).terminate('nobody answers');
      const listed = await story.operator.listEnvironments(story.project);
      expect(listed.find(({ environment }) => environment === 'staging')?.live?.version).toBe(version);

      const next = await story.release(`feat: after ${how}`);
      expect(next.plan?.changes.fromVersion).toBe(version);
      const { number } = await story.operator.rollback(place(), { reason: 'no good' });
      expect(await story.endOf({ ...place(), number })).toMatchObject({ outcome: 'rolled-back', version });
      await until(async () => (await row())?.previous?.version === before.version, { what: 'what was before' });
    },
    6 * minutes,
  );
});

function place(): { project: string; environment: string } {
  return { project: story.project, environment: 'staging' };
}

async function row(): ReturnType<typeof readEnvironment> {
  return await readEnvironment(store.db, story.project, 'staging');
}
