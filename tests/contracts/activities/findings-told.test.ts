import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createFindingActivities } from '../../../src/activities/findings-told.ts';
import { loadPair } from '../../../src/definition/load.ts';
import { hashDefinition, serialiseDefinition } from '../../../src/definition/pair.ts';
import type { GatedReport } from '../../../src/domain/evidence.ts';
import { noCounts } from '../../../src/domain/report.ts';
import { inTransaction } from '../../../src/store/transaction.ts';
import { putDefinition, putProject } from '../../../src/store/projects.ts';
import { recordEvidence } from '../../../src/store/reports.ts';
import { openRun } from '../../../src/store/runs.ts';
import { projectYaml } from '../../support/api.ts';
import { type IssueStandIn, startIssueStandIn } from '../../support/issue-stand-ins.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let forge: IssueStandIn;
beforeAll(async () => {
  store = await temporaryStore();
});
afterAll(() => store.drop());
beforeEach(async () => {
  forge = await startIssueStandIn('github');
});
afterEach(async () => {
  await forge.close();
  expect(forge.violations).toEqual([]);
});

const commit = 'a'.repeat(40);

function bandit(...rules: readonly string[]): GatedReport {
  return {
    ...{ state: 'read', kind: 'bandit', gate: 'code-security', path: 'bandit.json', lookedAt: '3 files' },
    ...{ tool: { name: 'bandit', version: '1.8' }, counts: { ...noCounts, critical: rules.length } },
    findings: rules.map((rule) => ({
      ...{ rule, severity: 'critical', message: `${rule} is bad`, file: 'a.py', line: 3 },
      fingerprint: Buffer.from(rule.padEnd(16)).toString('hex'),
    })),
  };
}

let runs = 0;
/** A run that found this, settled, and what is told of it. */
async function told(
  findings: string,
  reports: readonly GatedReport[],
  ref = 'refs/heads/main',
  more: { readonly stages?: string; readonly commit?: string; readonly requestedBy?: string } = {},
) {
  const { stages = '', commit = 'a'.repeat(40), requestedBy } = more;
  runs += 1;
  const api = `api: { url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`;
  const text = projectYaml('shop').replace('kind: github\n', `kind: github\n    ${api}\n`);
  const project = text.replace(/^repository:\n/m, `repository:\n  findings: ${findings}\n`);
  await putProject(store.db, { name: 'shop', text: project, hash: String(runs), diff: '', by: 'ada' });
  const pair = loadPair({
    repository: {
      file: 'slipway.yaml',
      text: `version: 1\n${stages}images: [{ name: web }]\nservice: { image: web, port: 80 }\n`,
    },
    project: { file: 'project.yaml', text: project },
  });
  if (!pair.ok) throw new Error(JSON.stringify(pair.problems));
  const definition = hashDefinition(pair.value);
  await putDefinition(store.db, definition, serialiseDefinition(pair.value));
  const event = { kind: 'push', ref, before: '0'.repeat(40), after: commit, author: 'ada' } as const;
  const run = await openRun(store.db, {
    ...{ project: 'shop', key: `run-${runs}`, event, acceptedAt: new Date().toISOString() },
    ...(requestedBy === undefined ? {} : { requestedBy }),
  });
  await inTransaction(store.db, (tx) => recordEvidence(tx, run, 'test', { reports, gates: [], pages: [], lost: [] }));
  const nothing = (): never => {
    throw new Error('not asked for');
  };
  const activities = createFindingActivities({
    ...{ store, readSecret: () => Promise.resolve(forge.token), settings: {} },
    ...{ blobs: { read: nothing, size: nothing }, logs: { open: nothing } },
  });
  const environment = new MockActivityEnvironment({ attempt: 1 });
  return await environment.run(() => activities.tellFindings({ run, definition, commit, ref }));
}

test('critical findings of the release branch have issues until they are gone', async () => {
  expect(await told('{ issues: { most: 5 } }', [bandit('B1', 'B2')])).toEqual([
    'issues: 2 critical findings, 2 changes',
  ]);
  expect(forge.issues).toMatchObject([
    { title: 'Critical: B1 in a.py', open: true, labels: ['slipway'] },
    { title: 'Critical: B2 in a.py', open: true },
  ]);
  expect(await told('{ issues: {} }', [bandit('B1', 'B2')])).toEqual(['issues: 2 critical findings, 0 changes']);
  await told('{ issues: {} }', [bandit('B2')]);
  expect(forge.issues.map(({ open, comments }) => [open, comments.length])).toEqual([
    [false, 1],
    [true, 0],
  ]);
  expect(forge.uploads).toEqual([]);
});

test('what a stage that was left out would have found is not gone, whoever else writes the same form', async () => {
  const step = (name: string) =>
    `{ name: ${name}, image: tools, run: [bandit], reports: [{ kind: bandit, path: bandit.json }] }`;
  const stages = `stages:\n  - { name: test, steps: [${step('one')}] }\n  - { name: worker, steps: [${step('two')}] }\n`;
  await told('{ issues: {} }', [bandit('W1')], undefined, { stages });
  expect(await told('{ issues: {} }', [bandit()], undefined, { stages })).toEqual([
    'issues: 0 critical findings, 0 changes',
  ]);
  expect(forge.issues.map(({ open }) => open)).toEqual([true]);
});

test('an older commit that somebody has run again by hand changes no issue', async () => {
  await told('{ issues: {} }', [bandit('B1')], undefined, { commit: 'b'.repeat(40) });
  const old = { commit: 'c'.repeat(40), requestedBy: 'dora' };
  expect(await told('{ issues: {} }', [bandit('B2')], undefined, old)).toEqual([
    'issues: left alone, refs/heads/main is at bbbbbbbbbbbb by now',
  ]);
  expect(forge.issues.map(({ open }) => open)).toEqual([true]);
  const again = { commit: 'b'.repeat(40), requestedBy: 'dora' };
  expect(await told('{ issues: {} }', [bandit()], undefined, again)).toEqual([
    'issues: 0 critical findings, 1 changes',
  ]);
});

test('no other branch has issues, and code scanning has all', async () => {
  const ref = 'refs/heads/feature';
  expect(await told('{ issues: {}, codeScanning: true }', [bandit('B1')], ref)).toEqual([
    'code scanning of 1 findings: complete',
  ]);
  expect(forge.issues).toEqual([]);
  expect(forge.uploads).toMatchObject([
    { commit, ref, sarif: { runs: [{ tool: { driver: { name: 'bandit' } }, results: [{ ruleId: 'B1' }] }] } },
  ]);
  forge.processing.push({ status: 'failed', errors: ['no such commit'] });
  expect(await told('{ codeScanning: true }', [bandit()], ref)).toEqual([
    'code scanning of 0 findings: failed: no such commit',
  ]);
});

test('code scanning has the findings of images too, under a category of their own', async () => {
  const image = (file: string): GatedReport => ({
    ...{ state: 'read', kind: 'osv-scanner', gate: 'container', path: 'web', lookedAt: '3 packages' },
    ...{ tool: { name: 'bandit', version: '2' }, counts: { ...noCounts, critical: 1 } },
    findings: [
      {
        ...{
          rule: 'CVE-2026-1',
          severity: 'critical',
          message: 'CVE-2026-1 in zlib 1',
          file,
          fingerprint: 'f'.repeat(32),
        },
        component: { name: 'zlib', version: '1' },
      },
    ],
  });
  expect(await told('{ codeScanning: true }', [bandit('B1'), image('web'), image('/var/lib/dpkg/status')])).toEqual([
    'code scanning of 3 findings: complete',
  ]);
  expect(forge.uploads).toMatchObject([
    {
      sarif: {
        runs: [
          { automationDetails: { id: 'slipway/shop/bandit/' }, results: [{ ruleId: 'B1' }] },
          {
            automationDetails: { id: 'slipway/shop/container/bandit/' },
            results: [
              { locations: [{ physicalLocation: { artifactLocation: { uri: 'web' } } }] },
              { locations: [{ physicalLocation: { artifactLocation: { uri: 'var/lib/dpkg/status' } } }] },
            ],
          },
        ],
      },
    },
  ]);
});

test('a forge that refuses is an error that is not tried again', async () => {
  forge.failNext({ status: 410, message: 'Issues are disabled for this repo' });
  await expect(told('{ issues: {} }', [bandit('B1')])).rejects.toMatchObject({
    type: 'ForgeRefused',
    nonRetryable: true,
    message: expect.stringContaining('Issues are disabled'),
  });
});
