import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { coverageBlob } from '../../../src/activities/coverage-kept.ts';
import { createFindingActivities, tellsFindings } from '../../../src/activities/findings-told.ts';
import { loadPair } from '../../../src/definition/load.ts';
import { hashDefinition, serialiseDefinition } from '../../../src/definition/pair.ts';
import type { GatedReport } from '../../../src/domain/evidence.ts';
import { noCounts } from '../../../src/domain/report.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { createBlobs } from '../../../src/providers/blobs/index.ts';
import { putDefinition, putProject } from '../../../src/store/projects.ts';
import { recordEvidence } from '../../../src/store/reports.ts';
import { openRun } from '../../../src/store/runs.ts';
import { inTransaction } from '../../../src/store/transaction.ts';
import { projectYaml } from '../../support/api.ts';
import { type CodecovStandIn, startCodecov } from '../../support/codecov-stand-in.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let codecov: CodecovStandIn;
const folder = mkdtempSync(join(tmpdir(), 'coverage-told-'));
const blobs = createBlobs({ kind: 'folder', folder });
beforeAll(async () => {
  store = await temporaryStore();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await store.drop();
});
beforeEach(async () => {
  codecov = await startCodecov();
});
afterEach(async () => {
  await codecov.close();
  expect(codecov.violations).toEqual([]);
});

const commit = 'b'.repeat(40);
const base = { lookedAt: '3 files', tool: { name: 'a' }, counts: noCounts, findings: [] } as const;
const measured: readonly GatedReport[] = [
  { ...base, state: 'read', kind: 'junit', gate: 'tests', path: 'junit.xml' },
  { ...base, state: 'read', kind: 'lcov', gate: 'coverage', path: 'lcov.info' },
];

let runs = 0;
/** What is told of a run that measured this, and what stands in its log. */
async function told(
  reports: readonly GatedReport[] = measured,
  { event = {}, kept = true }: { readonly event?: Partial<SourceEvent>; readonly kept?: boolean } = {},
) {
  runs += 1;
  const coverage = `{ kind: codecov, url: ${codecov.url}, service: github, repository: team/app, token: { env: T } }`;
  const project = projectYaml('shop').replace(/^repository:\n/m, `repository:\n  coverage: ${coverage}\n`);
  await putProject(store.db, { name: 'shop', text: project, hash: String(runs), diff: '', by: 'ada' });
  const pair = loadPair({
    repository: {
      file: 'slipway.yaml',
      text: 'version: 1\nimages: [{ name: web }]\nservice: { image: web, port: 80 }\n',
    },
    project: { file: 'project.yaml', text: project },
  });
  if (!pair.ok) throw new Error(JSON.stringify(pair.problems));
  expect(tellsFindings(pair.value.project)).toBe(true);
  const definition = hashDefinition(pair.value);
  await putDefinition(store.db, definition, serialiseDefinition(pair.value));
  const ref = event.ref ?? 'refs/heads/main';
  const run = await openRun(store.db, {
    project: 'shop',
    key: `run-${runs}`,
    event: { kind: 'push', ref, before: '0'.repeat(40), after: commit, author: 'ada', ...event },
    acceptedAt: new Date().toISOString(),
  });
  await inTransaction(store.db, (tx) => recordEvidence(tx, run, 'test', { reports, gates: [], pages: [], lost: [] }));
  if (kept) await blobs.put(coverageBlob(run, 'test', 1), Buffer.from('TN:\nend_of_record\n'));
  const log: string[] = [];
  const activities = createFindingActivities({
    ...{ store, blobs, readSecret: () => Promise.resolve(codecov.token) },
    settings: { publicUrl: 'https://slipway.example' },
    logs: {
      open: ({ stage, step }) => ({
        write: () => undefined,
        say: (line) => void log.push(`${stage}/${step} ${line}`),
        close: () => Promise.resolve(),
      }),
    },
  });
  const environment = new MockActivityEnvironment({ attempt: 1 });
  const said: readonly string[] = await environment.run(() =>
    activities.tellFindings({ run, definition, commit, ref }),
  );
  return { run, said, log };
}

test('what was kept of a run is uploaded with its branch', async () => {
  const { run, said, log } = await told();
  expect(said).toEqual(['coverage: 1 reports uploaded to codecov']);
  expect(log).toEqual(['prepare/coverage.upload coverage: 1 reports uploaded to codecov']);
  expect(codecov.stored).toEqual([{ 'lcov.info': 'TN:\nend_of_record\n' }]);
  expect(codecov.commits).toMatchObject([{ commitid: commit, branch: 'main', pullid: null }]);
  expect(codecov.uploads).toMatchObject([
    { job_code: `shop/${run.number}`, ci_url: `https://slipway.example/v1/projects/shop/runs/${run.number}` },
  ]);
});

test('that of a pull request has its number, and never a branch', async () => {
  await told(measured, { event: { kind: 'pull-request', ref: 'refs/pull/7/head', pullRequest: 7 } });
  expect(codecov.commits).toMatchObject([{ branch: null, pullid: 7 }]);
});

test('an upload that is refused is a warning in the log, and no failure', async () => {
  codecov.failNext(401);
  const { said, log } = await told();
  expect(said).toEqual([expect.stringMatching(/^warning: coverage was not uploaded to codecov: the commit: 401/)]);
  expect(log).toEqual([`prepare/coverage.upload ${said[0]}`]);
  expect(JSON.stringify(log)).not.toContain(codecov.token);
});

test('what was not kept is a warning, and a run without coverage is quiet', async () => {
  const { said } = await told(measured, { kept: false });
  expect(said).toEqual([expect.stringMatching(/no report of it was kept; without lcov.info/)]);
  expect(await told(measured.slice(0, 1))).toMatchObject({ said: [], log: [] });
  expect(codecov.requests).toEqual([]);
});
