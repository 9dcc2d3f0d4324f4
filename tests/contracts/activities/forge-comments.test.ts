import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createForgeActivities } from '../../../src/activities/forges.ts';
import { loadPair } from '../../../src/definition/load.ts';
import { hashDefinition, serialiseDefinition } from '../../../src/definition/pair.ts';
import type { GatedReport } from '../../../src/domain/evidence.ts';
import { defaultGate } from '../../../src/domain/gate.ts';
import { judgeGate } from '../../../src/domain/gate-verdict.ts';
import { noCounts } from '../../../src/domain/report.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { ensureEnvironment } from '../../../src/store/environments.ts';
import { putDefinition, putProject, readProject } from '../../../src/store/projects.ts';
import { recordEvidence } from '../../../src/store/reports.ts';
import { settleRunRow } from '../../../src/store/runs.ts';
import { recordStage } from '../../../src/store/stages.ts';
import { json } from '../../../src/store/store.ts';
import { projectYaml } from '../../support/api.ts';
import { type StandIn, startGithubStandIn } from '../../support/forge-stand-ins.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let forge: StandIn;
let origin: GitOrigin;
let folder: string;
let live: string;
let proposed: string;

const none = '0'.repeat(40);

beforeAll(async () => {
  [store, forge] = await Promise.all([temporaryStore(), startGithubStandIn()]);
  origin = createGitOrigin();
  folder = mkdtempSync(join(tmpdir(), 'slipway-comments-'));
  live = origin.commit({ 'migrations/001_notes.sql': '-- slipway: expand\ncreate table notes ();', 'a.txt': 'a\n' });
  proposed = origin.commit({ 'migrations/002_drop.sql': 'drop table notes;', 'a.txt': 'b\n' });
  origin.git('update-ref', 'refs/pull/7/head', proposed);
  const text = projectYaml('shop')
    .replace(/url: .*/, `url: file://${origin.path}`)
    .replaceAll(
      '    target: { kind: docker }',
      '    target: { kind: docker }\n    database: { kind: postgres, url: { env: DATABASE } }',
    )
    .replace(
      'kind: github\n',
      `kind: github\n    api: { url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }\n`,
    );
  await putProject(store.db, { name: 'shop', text, hash: 'h', diff: '', by: 'ada' });
  const pair = loadPair({
    repository: {
      file: 'slipway.yaml',
      text: 'version: 1\nimages: [{ name: web }]\nservice: { image: web, port: 80 }\nmigrations: {}\n',
    },
    project: { file: 'project.yaml', text },
  });
  if (!pair.ok) throw new Error(JSON.stringify(pair.problems));
  await putDefinition(store.db, hashDefinition(pair.value), serialiseDefinition(pair.value));
  definition = hashDefinition(pair.value);
  await ensureEnvironment(store.db, 'shop', 'production');
  const release = { version: '1-aaaaaaa', commit: live, images: [], slot: 'blue', deployment: 1, since: '2026-11-25' };
  await store.db
    .updateTable('environments')
    .set({ live: json(release as never) })
    .execute();
}, 120_000);
let definition: string;

afterAll(async () => {
  await Promise.all([forge.close(), store.drop()]);
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
  expect(forge.violations).toEqual([]);
});

const read = { state: 'read', tool: { name: 'tool' }, lookedAt: 'all of it', findings: [], counts: noCounts } as const;

/** A run that is over, and what its one stage showed. */
async function run(event: SourceEvent, coverage: number, fingerprints: readonly string[]): Promise<number> {
  const key = `${event.ref}-${event.after}`;
  const { number } = await acceptRun(store.db, { project: 'shop', key, event, acceptedAt: new Date().toISOString() });
  const ref = { project: 'shop', key, number };
  const reports: readonly GatedReport[] = [
    {
      ...read,
      kind: 'lcov',
      gate: 'coverage',
      path: 'lcov.info',
      coverage: { lines: { covered: coverage, total: 100 }, files: 1 },
    },
    {
      ...{ ...read, kind: 'bandit', gate: 'code-security', path: 'bandit.json' },
      counts: { ...noCounts, high: fingerprints.length },
      findings: fingerprints.map((fingerprint) => ({
        ...{
          rule: fingerprint,
          severity: 'high',
          message: `<b>${fingerprint}</b> @team`,
          file: 'a.py',
          line: 1,
          fingerprint,
        },
      })),
    },
  ];
  const gate = judgeGate({
    policy: defaultGate('code-security'),
    reports: reports.filter((one) => one.gate === 'code-security'),
    at: '2026-11-25T00:00:00Z',
  });
  await store.db.updateTable('runs').set({ definition }).where('number', '=', number).execute();
  await recordStage(store.db, ref, 0, {
    ...{ name: 'test', verdict: 'passed', startedAt: new Date().toISOString(), durationMs: 1_500 },
    ...{ detail: null, steps: [] },
  });
  await recordEvidence(store.db, ref, 'test', {
    reports,
    gates: gate === undefined ? [] : [gate],
    pages: [],
    lost: [],
  });
  await settleRunRow(store.db, ref, { outcome: 'succeeded', reason: '1 stage passed.' });
  return number;
}

describe('the comment of a pull request', () => {
  test('has what is new against its branch, and what a merge would deploy', async () => {
    const push = { kind: 'push', ref: 'refs/heads/main', before: none, after: live, author: 'ada' } as const;
    await run(push, 80, ['OLD-1']);
    const number = await run(
      {
        kind: 'pull-request',
        ref: 'refs/pull/7/head',
        before: live,
        after: proposed,
        author: 'eve',
        pullRequest: 7,
        into: 'main',
      },
      75,
      ['OLD-1', 'NEW-1'],
    );
    const activities = createForgeActivities({
      store,
      repositories: createGitRepository({ folder: join(folder, 'mirrors') }),
      readSecret: () => Promise.resolve(forge.token),
      settings: { publicUrl: 'https://slipway.example.com' },
    });
    const comment = { pullRequest: 7, body: 'said by the workflow', ofRecord: true } as const;
    await activities.tellForge({ project: 'shop', commit: proposed, statuses: [], run: number, comment });
    const [said] = forge.comments;
    expect(said?.body).toContain('<!-- slipway:run-shop -->\n**succeeded**: run 2 of');
    expect(said?.body).toContain('| test | passed | 1.5 s |');
    expect(said?.body).toContain('75.00 % of the lines are covered, −5.00 points against run 1 of main (80.00 %).');
    expect(said?.body).toMatch(/\| code\\-security \| .* \| 1 high \| 1 known \|/);
    expect(said?.body).toContain('`NEW-1`');
    expect(said?.body).not.toContain('`OLD-1`');
    expect(said?.body).not.toMatch(/(?<!\\)<b>|(?<!\\)@team/);
    expect(said?.body).toContain('- **production**: the next build of `main`, instead of `1-aaaaaaa`');
    expect(said?.body).toContain('1 commits, 2 files');
    expect(said?.body).toContain('Migrations: `002_drop.sql` (contract).');
    expect(said?.body).toMatch(/Risk (?:medium|high) \(\d+\) as of now: 002\\_drop\.sql breaks the previous release/);
  }, 60_000);

  test('looks at all that a merge brings, not at the newest push alone', async () => {
    const stored = await readProject(store.db, 'shop');
    const routes = "routes:\n  - { on: push, ref: main, environments: [production], paths: ['migrations/**'] }\n";
    await putProject(store.db, {
      ...{ name: 'shop', text: `${stored?.text ?? ''}\n${routes}`, hash: 'routed', diff: '', by: 'ada' },
    });
    origin.git('update-ref', 'refs/heads/main', live);
    origin.git('checkout', '--quiet', '--detach', proposed);
    const tip = origin.commit({ 'a.txt': 'c\n' });
    origin.git('update-ref', 'refs/heads/main', live);
    origin.git('update-ref', 'refs/pull/11/head', tip);
    // The second push of it changes nothing that the route looks at.
    const number = await run(
      {
        ...{ kind: 'pull-request', ref: 'refs/pull/11/head', before: proposed, after: tip },
        ...{ author: 'eve', pullRequest: 11, into: 'main' },
      },
      75,
      [],
    );
    const activities = createForgeActivities({
      store,
      repositories: createGitRepository({ folder: join(folder, 'mirrors') }),
      readSecret: () => Promise.resolve(forge.token),
      settings: {},
    });
    const comment = { pullRequest: 11, body: 'said by the workflow', ofRecord: true } as const;
    await activities.tellForge({ project: 'shop', commit: tip, statuses: [], run: number, comment });
    expect(forge.comments.at(-1)?.body).toContain('- **production**: the next build of `main`');
    await putProject(store.db, {
      ...{ name: 'shop', text: stored?.text ?? '', hash: 'h', diff: '', by: 'ada' },
    });
  }, 60_000);

  test('that the store knows nothing of is the one of the workflow', async () => {
    const activities = createForgeActivities({
      store,
      repositories: createGitRepository({ folder: join(folder, 'mirrors') }),
      readSecret: () => Promise.resolve(forge.token),
      settings: {},
    });
    const comment = { pullRequest: 8, body: 'said by the workflow', ofRecord: true } as const;
    await activities.tellForge({ project: 'shop', commit: proposed, statuses: [], run: 99, comment });
    expect(forge.comments.at(-1)).toMatchObject({
      pullRequest: 8,
      body: expect.stringContaining('said by the workflow'),
    });
  });

  test('is made also where the repository cannot be reached', async () => {
    origin.git('update-ref', 'refs/pull/9/head', proposed);
    const number = await run(
      {
        kind: 'pull-request',
        ref: 'refs/pull/9/head',
        before: live,
        after: proposed,
        author: 'eve',
        pullRequest: 9,
        into: 'main',
      },
      75,
      [],
    );
    const away = (): never => {
      throw new Error('away');
    };
    const activities = createForgeActivities({
      store,
      repositories: {
        ensureCommit: away,
        resolveRef: away,
        compare: away,
        changedPaths: away,
        listTree: away,
        readFile: away,
      },
      readSecret: () => Promise.resolve(forge.token),
      settings: {},
    });
    const comment = { pullRequest: 9, body: 'said by the workflow', ofRecord: true } as const;
    await activities.tellForge({ project: 'shop', commit: proposed, statuses: [], run: number, comment });
    expect(forge.comments.at(-1)?.body).toContain('What it would change there could not be found out.');
  });
});
