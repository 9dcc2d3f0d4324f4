import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { createAuditReportActivities } from '../../../src/activities/audit-reports.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { appendAudit } from '../../../src/store/audit.ts';
import { readAuditReport } from '../../../src/store/audit-report.ts';
import { recordDecisionRow } from '../../../src/store/decisions.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { openIncidentRow } from '../../../src/store/incidents.ts';
import { recordLive } from '../../../src/store/operator-words.ts';
import { putProject } from '../../../src/store/projects.ts';
import { openRun, recordImages, settleRunRow } from '../../../src/store/runs.ts';
import { settleDeploymentRow } from '../../../src/store/settlements.ts';
import { recordRound } from '../../../src/store/upkeep.ts';
import { projectYaml } from '../../support/api.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let folder: string;
const since = new Date(Date.now() - 3_600_000).toISOString();
const until = new Date(Date.now() + 3_600_000).toISOString();
const at = new Date().toISOString();

beforeAll(async () => {
  store = await temporaryStore();
  folder = mkdtempSync(join(tmpdir(), 'slipway-audit-'));
  for (const project of ['hello', 'other']) await happen(project);
}, 60_000);
afterAll(async () => {
  await store.drop();
  rmSync(folder, { recursive: true, force: true });
});

/** A run whose gate was passed over, a deployment that was approved and rolled back, and an operator's word. */
async function happen(project: string): Promise<void> {
  const { db } = store;
  await putProject(db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'eve' });
  const event = { kind: 'push' as const, ref: 'refs/heads/main', before: '', after: 'a'.repeat(40), author: 'ada' };
  const { input } = await acceptRun(db, { project, key: 'k', event, acceptedAt: at });
  const run = await openRun(db, input);
  const counts = { critical: 0, high: 1, medium: 0, low: 0, unknown: 0 };
  const excepted = ['TEST-1 in left-paddle until 2026-12-31: not reachable'];
  const scan = { verdict: 'passed' as const, reason: '', scannedAt: at, packages: 1, counts, lines: [], excepted };
  const image = { name: 'web', repository: 'r/web', digest: `sha256:${'b'.repeat(64)}`, tags: [], sizeBytes: 1 };
  const evidence = { buildKey: 'k', bases: {}, warnings: [], scan };
  await recordImages(db, run, [{ ...image, reused: false, durationMs: 1, evidence }]);
  const suppression = { rule: 'B101', reason: 'a test', expires: '2026-12-31', matched: 2, expired: false };
  const aside = { rule: 'B103', severity: 'high', reason: 'in the source: a test', found: 3 };
  const unused = { ...suppression, rule: 'B102', matched: 0 };
  await sql`insert into gates (project, run, stage, gate, mode, verdict, blocks, reason, verdict_document) values
    (${project}, ${run.number}, 'check', 'code-security', 'warn', 'failed', false, 'bad', ${JSON.stringify({ suppressions: [suppression, unused], putAside: [aside] })}::jsonb)`.execute(
    db,
  );
  await settleRunRow(db, run, { outcome: 'succeeded', reason: 'ok' });
  const deployment = await openDeployment(db, {
    project,
    environment: 'production',
    version: '1.0.1',
    requestedBy: 'ci',
    author: 'ada',
    priority: 'routine',
    requestedAt: at,
    kind: 'rollout',
    request: 'r',
    startedBy: 'api',
  });
  const ref = { project, environment: 'production', number: deployment.input.number };
  const decision = { verdict: 'approve' as const, plan: 'p', at };
  await recordDecisionRow(db, ref, { ...decision, by: 'bob', counted: true, why: null, comment: 'fine', proven: true });
  await recordDecisionRow(db, ref, {
    ...decision,
    by: 'ada',
    counted: false,
    why: 'the author',
    comment: null,
    proven: false,
  });
  const data = { action: 'swapped' as const, detail: 'the copy that proved the backup' };
  const rollback = { trigger: 'error rate', to: '1.0.0', steps: [], servingAfterMs: 150, totalMs: 2_000, data };
  const result = { ...ref, outcome: 'rolled-back' as const, reason: 'bad', steps: [], rollback };
  await settleDeploymentRow(db, result, '1.0.1', at);
  await openIncidentRow(db, ref, { trigger: 'error rate', summary: 's', at });
  await recordLive(db, {
    project,
    environment: 'production',
    how: 'unlock',
    live: null,
    by: 'kim',
    reason: 'looked',
    at,
  });
  const round = { kind: 'scan' as const, subject: `${project}/production`, project, lines: [], detail: {} };
  for (const verdict of ['passed', 'passed', 'failed'] as const)
    await recordRound(db, { ...round, verdict, summary: verdict });
  await appendAudit(db, { actor: 'bob', action: 'deployment.approve', object: `deployment/${project}/production/1` });
  await appendAudit(db, { actor: 'bob', action: 'deployment.approve', object: `deployment/${project}/production/2` });
}

test('a report of a project has all of it, and nothing of another', async () => {
  const report = await readAuditReport(store.db, { project: 'hello', since, until });
  expect(report.deployments).toMatchObject([
    {
      name: 'hello/production/1',
      kind: 'rollout',
      version: '1.0.1',
      author: 'ada',
      requestedBy: 'ci',
      outcome: 'rolled-back',
      decisions: [
        { by: 'bob', verdict: 'approve', counted: true, comment: 'fine', proven: true, at },
        { by: 'ada', counted: false, why: 'the author', proven: false },
      ],
    },
  ]);
  expect(report.rollbacks).toMatchObject([
    {
      name: 'hello/production/1',
      trigger: 'error rate',
      toVersion: '1.0.0',
      servingAfterMs: 150,
      data: 'swapped: the copy that proved the backup',
    },
  ]);
  expect(report.operatorWords).toMatchObject([{ name: 'hello/production', how: 'unlock', by: 'kim', version: null }]);
  expect(report.incidents).toMatchObject([{ name: 'hello/production/1', closedAt: null }]);
  expect(report.suppressions).toEqual([
    {
      project: 'hello',
      gate: 'code-security',
      rule: 'B101',
      reason: 'a test',
      until: '2026-12-31',
      runs: 1,
      expired: false,
    },
    {
      ...{ project: 'hello', gate: 'code-security', rule: 'B103', reason: 'in the source: a test' },
      ...{ until: null, runs: 1, expired: false },
    },
  ]);
  expect(report.exceptions).toEqual([
    { project: 'hello', line: 'TEST-1 in left-paddle until 2026-12-31: not reachable', runs: 1 },
  ]);
  expect(report.gatesPassedOver).toEqual([{ project: 'hello', gate: 'code-security', verdict: 'failed', runs: 1 }]);
  // Only where it changed.
  expect(report.scans.map(({ verdict }) => verdict)).toEqual(['passed', 'failed']);
  expect(report.runs).toEqual([{ outcome: 'succeeded', count: 1 }]);
  expect(report.documents).toMatchObject([{ project: 'hello', revision: 1, by: 'eve' }]);
  expect(report.actions).toContainEqual({ actor: 'bob', action: 'deployment.approve', count: 2 });
  expect(report.cut).toEqual([]);
});

test('one of everything has both, and one of another time has nothing', async () => {
  const all = await readAuditReport(store.db, { since, until });
  expect(all.deployments.map(({ name }) => name)).toEqual(['hello/production/1', 'other/production/1']);
  const before = await readAuditReport(store.db, { since: '2020-01-01T00:00:00.000Z', until: since });
  expect([before.deployments, before.rollbacks, before.actions, before.documents, before.runs]).toEqual([
    [],
    [],
    [],
    [],
    [],
  ]);
});

test('what is kept by schedule begins where the last one ended, and skips one that could not be made', async () => {
  const blobs = createFolderBlobs({ folder });
  const activities = createAuditReportActivities({ store, blobs });
  const first = await activities.keepAuditReport({ project: 'hello', until });
  expect(first).toMatchObject({ deployments: 1, rollbacks: 1, operatorWords: 1, unproven: 1 });
  expect(Date.parse(until) - Date.parse(first.since)).toBe(31 * 86_400_000);
  const name = `${until.slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
  expect(first.files).toEqual([`${name}.json`, `${name}.md`]);
  const kept = JSON.parse(readFileSync(join(folder, `audit/hello/${name}.json`), 'utf8')) as { readonly until: string };
  expect(kept.until).toBe(until);
  expect(readFileSync(join(folder, `audit/hello/${name}.md`), 'utf8')).toContain('# Audit of hello');
  const round = { kind: 'audit' as const, subject: 'hello', project: 'hello', summary: '', lines: [] };
  await recordRound(store.db, { ...round, verdict: 'passed', detail: { ...first } });
  await recordRound(store.db, { ...round, verdict: 'errored', detail: {} });
  const later = new Date(Date.parse(until) + 86_400_000).toISOString();
  expect(await activities.keepAuditReport({ project: 'hello', until: later })).toMatchObject({
    since: until,
    deployments: 0,
  });
});
