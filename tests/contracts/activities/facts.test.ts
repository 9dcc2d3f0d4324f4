import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { FactActivities, Notice, RunFactActivities, Told } from '../../../src/activities/contracts.ts';
import { createFactActivities } from '../../../src/activities/facts.ts';
import { createNoticeActivities, inPassing } from '../../../src/activities/notices.ts';
import { listNotices } from '../../../src/store/notices.ts';
import { createRunFactActivities } from '../../../src/activities/run-facts.ts';
import { taking } from '../../../src/activities/told.ts';
import { loadPair } from '../../../src/definition/load.ts';
import { hashDefinition, serialiseDefinition } from '../../../src/definition/pair.ts';
import type { StageEvidence } from '../../../src/domain/evidence.ts';
import type { DeploymentInput, DeploymentResult } from '../../../src/domain/deployment.ts';
import type { ImageReport, RunInput, RunPlan, StageReport } from '../../../src/domain/run.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { type Spool, createSpool } from '../../../src/effects/spool.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { listDeployments, openDeployment, readDeployment } from '../../../src/store/deployments.ts';
import { readEnvironment } from '../../../src/store/environments.ts';
import { type Fact, applyFacts } from '../../../src/store/facts.ts';
import { listIncidents } from '../../../src/store/incidents.ts';
import { putDefinition, putProject } from '../../../src/store/projects.ts';
import { noCounts } from '../../../src/domain/report.ts';
import { listReleases } from '../../../src/store/releases.ts';
import { readReports } from '../../../src/store/reports.ts';
import { openRun, readRun } from '../../../src/store/runs.ts';
import { openStore } from '../../../src/store/store.ts';
import { deploymentId, provableDecision } from '../../../src/workflows/messages.ts';
import { projectYaml } from '../../support/api.ts';
import { testProofs } from '../../support/proofs.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let folder: string;
let spool: Spool<Fact>;
let facts: FactActivities;
let runFacts: RunFactActivities;
let blobs: BlobStore;
const sent: Notice[] = [];

beforeAll(async () => {
  store = await temporaryStore();
  folder = await mkdtemp(join(tmpdir(), 'slipway-facts-'));
  await put('hello', projectYaml('hello'));
  spool = await createSpool<Fact>({ folder, forward: (batch) => applyFacts(store.db, batch) });
  const sendNotice = (notice: Notice): Promise<void> => Promise.resolve(void sent.push(notice));
  facts = createFactActivities({ store, spool, sendNotice, proofs: testProofs });
  blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  runFacts = createRunFactActivities({ store, sendNotice, blobs, freeTurn: () => Promise.resolve() });
});
afterAll(async () => {
  await spool.close();
  await store.drop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  sent.length = 0;
});

async function put(name: string, document: string): Promise<void> {
  await putProject(store.db, { name, text: document, hash: String(Math.random()), diff: '', by: 'ada' });
}

/** As a worker would call it. */
async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}

let counter = 0;
async function open(environment: string): Promise<DeploymentInput> {
  counter += 1;
  const { input } = await openDeployment(store.db, {
    project: 'hello',
    environment,
    version: '1.0.0',
    requestedBy: 'ada',
    author: 'grace',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: 'rollout',
    request: `r${counter}`,
    startedBy: 'run',
  });
  return input;
}

describe('the end of a run', () => {
  const event = {
    kind: 'push' as const,
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: 'c'.repeat(40),
    author: 'ada',
  };
  const input = (key: string): RunInput => ({ project: 'hello', key, event, acceptedAt: new Date().toISOString() });
  const plan = (key: string, number: number): RunPlan => ({
    run: { project: 'hello', key, number },
    version: `${number}-ccccccc`,
    commit: { sha: event.after, author: 'ada', message: 'a change', at: new Date().toISOString() },
    definition: 'd'.repeat(64),
    workspace: { queue: 'q', path: '/w' },
    stages: [{ name: 'tests', steps: ['unit'], timeoutMs: 1 }],
    buildImages: 'push',
    images: ['web'],
    environments: ['staging', 'production'],
    buildTimeoutMs: 1,
  });
  const image: ImageReport = {
    name: 'web',
    repository: 'registry:5000/web',
    digest: `sha256:${'e'.repeat(64)}`,
    tags: [],
    sizeBytes: 1,
    reused: false,
    durationMs: 1,
  };
  const stage = (verdict: 'passed' | 'failed'): StageReport => ({
    name: 'tests',
    verdict,
    steps: [
      {
        name: 'unit',
        verdict,
        exitCode: verdict === 'passed' ? 0 : 1,
        startedAt: new Date().toISOString(),
        durationMs: 1,
        detail: '3 tests failed',
      },
    ],
    startedAt: new Date().toISOString(),
    durationMs: 1,
  });

  test('writes down what the stages showed with the deployments that are planned by it', async () => {
    const evidence: StageEvidence = {
      reports: [
        {
          state: 'errored',
          kind: 'bandit',
          gate: 'code-security',
          path: 'bandit.json',
          problem: { reason: 'is empty', place: 'bandit.json', remedy: 'Run it again.' },
        },
      ],
      gates: [],
      pages: [],
      lost: [],
    };
    const shown: StageReport = { ...stage('passed'), gates: [], evidence: 'reports/shown/1/tests.json' };
    await put('shown', projectYaml('shown'));
    const run = { project: 'shown', key: 'shown', number: 1 };
    const settle = {
      ...{
        run,
        input: { ...input('shown'), project: 'shown' },
        plan: { ...plan('shown', 1), run },
        stages: [shown],
        images: [image],
      },
      ...{ outcome: 'succeeded' as const, reason: 'All stages passed.' },
    };
    // Until the evidence can be read nothing is settled, and nothing could be deployed without it.
    await expect(call((one) => runFacts.settleRun(one), settle)).rejects.toMatchObject({
      type: 'BlobsUnavailable',
      nonRetryable: false,
    });
    expect(await listDeployments(store.db, { project: 'shown' }, {})).toMatchObject({ items: [] });
    await blobs.put('reports/shown/1/tests.json', Buffer.from(JSON.stringify(evidence)));
    const { deployments } = await call((one) => runFacts.settleRun(one), settle);
    expect(deployments).toHaveLength(2);
    expect(await readReports(store.db, 'shown', 1)).toEqual([{ ...evidence.reports[0], stage: 'tests' }]);
  });

  test('writes down what the gate of the images went by, also where that stopped them', async () => {
    const finding = {
      ...{ rule: 'GHSA-1', severity: 'critical' as const, message: 'bad', file: 'web', fingerprint: 'f'.repeat(32) },
      aliases: ['CVE-2026-1'],
    };
    const evidence: StageEvidence = {
      reports: [
        {
          ...{ state: 'read', kind: 'osv-scanner', gate: 'container', path: 'web', lookedAt: '3 packages of web' },
          ...{ tool: { name: 'osv-scanner', version: '2.2.4' }, findings: [finding] },
          counts: { ...noCounts, critical: 1 },
        },
      ],
      ...{ gates: [], pages: [], lost: [] },
    };
    await put('scanned', projectYaml('scanned'));
    const settle = (number: number, images: readonly ImageReport[]) => {
      const run = { project: 'scanned', key: `scanned-${number}`, number };
      return {
        ...{ run, input: { ...input(run.key), project: 'scanned' }, plan: { ...plan(run.key, number), run } },
        ...{ stages: [], images, outcome: 'failed' as const, reason: 'Gate container failed.' },
      };
    };
    await blobs.put('reports/scanned/1/scan.images.json', Buffer.from(JSON.stringify(evidence)));
    await call((one) => runFacts.settleRun(one), settle(1, []));
    expect(await readReports(store.db, 'scanned', 1)).toEqual([{ ...evidence.reports[0], stage: 'scan images' }]);
    // A run that ended before its images were scanned has none, and one that says they were judged must show it.
    await call((one) => runFacts.settleRun(one), settle(2, []));
    expect(await readReports(store.db, 'scanned', 2)).toEqual([]);
    const gate = { gate: 'container', mode: 'warn', verdict: 'failed', blocks: false, reason: 'bad' } as const;
    const judged = { ...image, evidence: { buildKey: '', bases: {}, warnings: [], gate } };
    await expect(call((one) => runFacts.settleRun(one), settle(3, [judged]))).rejects.toMatchObject({
      type: 'BlobsUnavailable',
    });
  });

  test('says of a deployment that nobody has to approve it, where nobody has and nothing long is planned', async () => {
    const names = ['quiet', 'asked', 'long', 'production'];
    const environments = names.map((name, index) =>
      [
        `  ${name}:`,
        `    production: ${name === 'production'}`,
        '    target: { kind: docker }',
        `    router: { kind: haproxy, listen: { port: ${30_000 + 10 * index} }, slots: { blue: ${30_001 + 10 * index}, green: ${30_002 + 10 * index} } }`,
        ...(name === 'asked' ? ['    approval: { required: true, rules: [{ group: ops, count: 1 }] }'] : []),
        ...(name === 'long'
          ? [
              '    infrastructure: { kind: exec, executor: host, plan: [p], apply: [a], state: [s], planKey: { env: K } }',
            ]
          : []),
      ].join('\n'),
    );
    const pair = loadPair({
      repository: {
        file: 'slipway.yaml',
        text: 'version: 1\nstages: []\nimages: [{ name: web }]\nservice: { image: web, port: 80, health: { path: / } }\ninfrastructure: { folder: infra }\n',
      },
      project: {
        file: 'project.yaml',
        text: projectYaml('told').replace(/environments:[^]*$/, `environments:\n${environments.join('\n')}\n`),
      },
    });
    if (!pair.ok) throw new Error(pair.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
    await put('told', projectYaml('told'));
    const definition = hashDefinition(pair.value);
    await putDefinition(store.db, definition, serialiseDefinition(pair.value));
    const run = { project: 'told', key: 'told', number: 1 };
    const { deployments } = await call((one) => runFacts.settleRun(one), {
      run,
      input: { ...input('told'), project: 'told' },
      plan: { ...plan('told', 1), run, definition, environments: names },
      stages: [stage('passed')],
      images: [image],
      outcome: 'succeeded' as const,
      reason: 'All stages passed.',
    });
    expect(deployments.map(({ environment, waitsForNobody }) => [environment, waitsForNobody])).toEqual([
      ['quiet', true],
      ['asked', undefined],
      ['long', undefined],
      ['production', undefined],
    ]);
  });

  describe('whose code may be anybody\u2019s', () => {
    const request = { ...event, kind: 'pull-request' as const, ref: 'refs/pull/7/head', pullRequest: 7 };
    const settle = async (project: string, given: RunInput['event'], more: Partial<RunPlan> = {}) => {
      await put(project, projectYaml(project));
      const run = { project, key: project, number: 1 };
      return await call((one) => runFacts.settleRun(one), {
        run,
        input: { ...input(project), project, event: given },
        plan: { ...plan(project, 1), run, environments: ['staging'], ...more },
        ...{ stages: [stage('passed')], images: [image] },
        ...{ outcome: 'succeeded' as const, reason: 'All stages passed.' },
      });
    };

    test.each<[string, RunInput['event'], Partial<RunPlan>]>([
      ['fork', { ...request, fork: true }, {}],
      ['fork-without-images', { ...request, fork: true }, { images: [], buildImages: 'none' }],
      ['unsaid', request, {}],
      ['by-hand', { ...event, kind: 'manual', ref: request.ref }, {}],
    ])('deploys and releases nothing, whatever its plan says: %s', async (project, given, more) => {
      expect(await settle(project, given, more)).toEqual({ deployments: [] });
      expect((await listReleases(store.db, project, {})).items).toEqual([]);
      expect(await readRun(store.db, project, 1)).toMatchObject({
        outcome: 'succeeded',
        reason: 'All stages passed. It is not deployed to staging: a pull request from a fork goes nowhere.',
        deployments: [],
      });
      expect(sent[0]?.lines.join('\n')).not.toContain('staging 1');
    });

    test('is none of a pull request of an own branch, which is deployed', async () => {
      const { deployments } = await settle('own-branch', { ...request, fork: false });
      expect(deployments).toMatchObject([{ environment: 'staging', number: 1, version: '1-ccccccc' }]);
    });
  });

  describe('that presses', () => {
    const hotfix = { ...event, ref: 'refs/heads/hotfix/login' };
    const routes = `routes:
  - { on: push, paths: ['urgent/**'], environments: [staging, production], priority: hotfix, emergency: true }
  - { on: push, environments: [staging, production] }
`;
    const settle = async (project: string, given: RunInput['event'], more: string, own: Partial<RunPlan>) => {
      const text = projectYaml(project, more);
      await put(project, text);
      const repository = {
        file: 'slipway.yaml',
        text: 'version: 1\nimages: [{ name: web }]\nservice: { image: web, port: 80 }\n',
      };
      const pair = loadPair({ repository, project: { file: 'project.yaml', text } });
      if (!pair.ok) throw new Error(pair.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
      const definition = hashDefinition(pair.value);
      await putDefinition(store.db, definition, serialiseDefinition(pair.value));
      const run = { project, key: project, number: 1 };
      const { deployments } = await call((one) => runFacts.settleRun(one), {
        run,
        input: { ...input(project), project, event: given },
        plan: { ...plan(project, 1), run, definition, ...own },
        ...{ stages: [stage('passed')], images: [image] },
        ...{ outcome: 'succeeded' as const, reason: 'All stages passed.' },
      });
      return deployments.map(({ environment, priority, emergency, after, runKey }) => ({
        ...{ environment, priority, emergency, after: after?.environment, runKey },
      }));
    };
    const both = (priority: string, emergency: true | undefined, runKey: string) => [
      { environment: 'staging', priority, emergency, after: undefined, runKey },
      { environment: 'production', priority, emergency, after: 'staging', runKey },
    ];

    test('hands on how much, to each environment in its order', async () => {
      const urgency = { priority: 'hotfix', emergency: true } as const;
      expect(await settle('urgent', hotfix, routes, { urgency })).toEqual(both('hotfix', true, 'urgent'));
    });

    test('goes by the route that its changed paths chose, and not by the first that could be meant', async () => {
      expect(await settle('calm', event, routes, { urgency: { priority: 'routine' } })).toEqual(
        both('routine', undefined, 'calm'),
      );
    });

    test('has its route from the documents where an older Slipway has made its plan', async () => {
      // The branch is enough for the default table.
      expect(await settle('older', hotfix, '', {})).toEqual(both('hotfix', undefined, 'older'));
      expect(await settle('older-paths', event, routes, {})).toEqual(both('hotfix', true, 'older-paths'));
    });
  });

  test('records the release and opens its deployments once, however often it is told', async () => {
    const settle = {
      run: { project: 'hello', key: 'ok', number: 1 },
      input: input('ok'),
      plan: plan('ok', 1),
      stages: [stage('passed')],
      images: [image],
      outcome: 'succeeded' as const,
      reason: 'All stages passed.',
    };
    const answers = await Promise.all([
      call((input) => runFacts.settleRun(input), settle),
      call((input) => runFacts.settleRun(input), settle).catch(() => null),
    ]);
    const again = await call((input) => runFacts.settleRun(input), settle);
    expect(
      again.deployments.map(({ environment, number, version, author }) => [environment, number, version, author]),
    ).toEqual([
      ['staging', 1, '1-ccccccc', 'ada'],
      ['production', 1, '1-ccccccc', 'ada'],
    ]);
    // As people name the run that asked for them.
    expect(again.deployments.map(({ runNumber }) => runNumber)).toEqual([1, 1]);
    // In the order of the route: the second waits for the first.
    expect(again.deployments.map(({ after }) => after)).toEqual([
      undefined,
      { project: 'hello', environment: 'staging', number: 1 },
    ]);
    for (const answer of answers) if (answer !== null) expect(answer).toEqual(again);
    expect((await listReleases(store.db, 'hello', {})).items).toMatchObject([
      { version: '1-ccccccc', build: 1, images: [{ name: 'web', digest: image.digest }] },
    ]);
    expect(await readRun(store.db, 'hello', 1)).toMatchObject({
      outcome: 'succeeded',
      stages: [{ name: 'tests', verdict: 'passed' }],
      images: [{ name: 'web' }],
      deployments: [{ environment: 'staging' }, { environment: 'production' }],
    });
    // Also when it is told again it is under the same keys, by which a channel has each only once.
    expect(new Set(sent.map((notice) => notice.key))).toEqual(
      new Set(['hello/run/1/settled', 'hello/run/1/tests-passed', 'hello/run/1/build-succeeded']),
    );
    expect(sent[0]).toMatchObject({ event: 'run-succeeded', level: 'info', title: 'hello #1 succeeded' });
  });

  test('that failed opens nothing and says where and what to type', async () => {
    const { deployments } = await call((input) => runFacts.settleRun(input), {
      run: { project: 'hello', key: 'bad', number: 0 },
      input: input('bad'),
      plan: plan('bad', 2),
      stages: [stage('failed')],
      images: [],
      outcome: 'failed',
      reason: 'tests failed.',
    });
    expect(deployments).toEqual([]);
    expect(sent).toMatchObject([{ event: 'tests-failed', level: 'error', title: 'hello #2 failed at tests' }]);
    expect(sent[0]?.lines).toEqual(expect.arrayContaining(['3 tests failed', 'slipway logs hello#2 --step unit']));
    expect((await listReleases(store.db, 'hello', {})).items).toHaveLength(1);
  });

  test('whose preparation failed has a number and an outcome all the same', async () => {
    await call((input) => runFacts.settleRun(input), {
      run: { project: 'hello', key: 'early', number: 0 },
      input: input('early'),
      stages: [],
      images: [],
      outcome: 'failed',
      reason: 'The definition has 10 problems.',
    });
    expect(await readRun(store.db, 'hello', 3)).toMatchObject({ key: 'early', outcome: 'failed' });
  });

  test('that deploys a recorded release records no other', async () => {
    const { deployments } = await call((input) => runFacts.settleRun(input), {
      run: { project: 'hello', key: 'again', number: 4 },
      input: { ...input('again'), release: 'v1-ccccccc'.slice(1) },
      plan: { ...plan('again', 4), environments: ['staging'] },
      stages: [],
      images: [],
      outcome: 'succeeded',
      reason: 'Nothing had to be built.',
    });
    expect(deployments).toMatchObject([{ environment: 'staging', number: 2, version: '1-ccccccc' }]);
    expect((await listReleases(store.db, 'hello', {})).items).toHaveLength(1);
  });

  test('knows the author of its commit from who pushed it, and from who started it by hand', async () => {
    const by = (author: string) => ({ ...plan('hand', 9).commit, author });
    const settle = {
      run: { project: 'hello', key: 'hand', number: 0 },
      input: {
        ...input('hand'),
        event: { ...event, kind: 'manual' as const, author: 'oscar', after: '9'.repeat(40) },
        requestedBy: 'oscar',
      },
      plan: { ...plan('hand', 9), version: '9-9999999', commit: { ...by('Grace Hopper'), sha: '9'.repeat(40) } },
      stages: [],
      images: [image],
      outcome: 'succeeded' as const,
      reason: 'All stages passed.',
    };
    const { deployments } = await call((given) => runFacts.settleRun(given), settle);
    expect(deployments[0]).toMatchObject({ requestedBy: 'oscar', author: 'Grace Hopper', involved: ['oscar'] });
    // Another deploys the same release later: its author and whoever built it have had a hand in it still.
    const again = await call((given) => runFacts.settleRun(given), {
      ...settle,
      run: { project: 'hello', key: 'later', number: 0 },
      input: { ...settle.input, key: 'later', release: '9-9999999', requestedBy: 'max', event },
    });
    expect(again.deployments[0]).toMatchObject({
      requestedBy: 'max',
      author: 'Grace Hopper',
      involved: ['max', 'ada', 'oscar'],
    });
  });
});

describe('a deployment', () => {
  const result = (input: DeploymentInput, over: Partial<DeploymentResult>): DeploymentResult => ({
    project: input.project,
    environment: input.environment,
    number: input.number,
    outcome: 'succeeded',
    reason: 'It serves.',
    steps: [],
    ...over,
  });

  test('is told by facts that arrive once, and its end with a notice', async () => {
    const input = await open('staging');
    const environment = new MockActivityEnvironment();
    const recordPhase = (phase: Parameters<FactActivities['recordPhase']>[0]) => facts.recordPhase(phase);
    await environment.run(recordPhase, {
      deployment: input,
      phase: 'watching',
      detail: 'for 2 minutes',
    } as const);
    await environment.run(recordPhase, {
      deployment: input,
      phase: 'watching',
      detail: 'for 2 minutes',
    } as const);
    const step = { name: 'switch', verdict: 'passed', startedAt: new Date().toISOString(), durationMs: 5 } as const;
    await call((input) => facts.recordStep(input), { deployment: input, key: 'switch', step });
    expect(await spool.flush(5_000)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({
      phase: 'watching',
      phaseDetail: 'for 2 minutes',
      steps: [step],
    });
    const live = {
      version: '1.0.0',
      commit: 'c',
      images: [],
      slot: 'blue',
      deployment: input.number,
      since: step.startedAt,
    } as const;
    await call((input) => facts.settleDeployment(input), { result: result(input, { live }), version: '1.0.0' });
    await call((input) => facts.settleDeployment(input), { result: result(input, { live }), version: '1.0.0' });
    expect(await spool.flush(5_000)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({ outcome: 'succeeded', phase: 'closed' });
    expect(await readEnvironment(store.db, 'hello', 'staging')).toMatchObject({ live: { version: '1.0.0' } });
    expect(new Set(sent.map(({ key }) => key)).size).toBe(1);
    expect(sent[0]).toMatchObject({ event: 'staging-deployed', level: 'info' });
  });

  test('has every step of its timeline once: those told beside calls, and with its outcome those that no call took along', async () => {
    const input = await open('staging');
    const at = (second: number): string => new Date(Date.now() + second * 1_000).toISOString();
    const steps = ['start', 'probe', 'settle'].map(
      (name, index) => ({ name, verdict: 'passed', startedAt: at(index), durationMs: 5 }) as const,
    );
    const acts = taking(spool, {
      work: (given: number) => Promise.resolve(given * 2),
      break: (given: number): Promise<number> => Promise.reject(new Error(`broken ${given}`)),
    });
    const take = acts.work as (given: number, told: Told) => Promise<number>;
    const fail = acts.break as (given: number, told: Told) => Promise<number>;
    const phase = { kind: 'phase', key: 'run-1/1', phase: 'probing', detail: 'green', at: at(0) } as const;
    const told = (index: number): Told['facts'][number] => ({
      kind: 'step',
      key: `rollout.1/${index + 1}`,
      step: steps[index]!,
    });
    expect(await take(21, { deployment: input, facts: [phase, told(0)] })).toBe(42);
    // Whatever becomes of the call, what it took along is told; and a second attempt tells the same.
    for (const attempt of [1, 2]) {
      await expect(fail(attempt, { deployment: input, facts: [phase, told(1)] })).rejects.toThrow('broken');
    }
    expect(await spool.flush(5_000)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({
      phase: 'probing',
      phaseDetail: 'green',
      steps: steps.slice(0, 2),
    });
    await call((given) => facts.settleDeployment(given), {
      result: result(input, { steps }),
      version: '1.0.0',
      stepsKey: 'rollout.1',
    });
    expect(await spool.flush(5_000)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({ phase: 'closed', steps });
  });

  test.each([
    ['succeeded', 'production', 'production-deployed', 'error'],
    ['succeeded', 'staging', 'staging-deployed', 'info'],
    ['rejected', 'production', 'rejected', 'error'],
    ['expired', 'staging', 'expired', 'error'],
    ['superseded', 'staging', 'superseded', 'info'],
    ['aborted', 'production', 'aborted', 'info'],
    ['rolled-back', 'production', 'rolled-back', 'critical'],
    ['rolled-back', 'staging', 'rolled-back', 'error'],
    ['rollback-failed', 'staging', 'rollback-failed', 'critical'],
    ['rollback-unavailable', 'staging', 'rollback-unavailable', 'critical'],
    ['held', 'staging', 'held', 'critical'],
    ['failed', 'staging', 'run-failed', 'error'],
  ] as const)('that ended %s in %s is told as %s at level %s', async (outcome, environment, event, level) => {
    const input = await open(environment);
    await call((input) => facts.settleDeployment(input), { result: result(input, { outcome }), version: '1.0.0' });
    expect(sent).toMatchObject([{ event, level, project: 'hello', environment }]);
  });

  test('is told as what it is: a rollback by its own words, a hold with the way out of it', async () => {
    const live = { version: '0.9.0', commit: 'c', images: [], slot: 'blue', deployment: 1, since: '' } as const;
    const rollback = { trigger: 'oscar: bad', to: '0.9.0', steps: [], totalMs: 10, servingAfterMs: 90 };
    const told = async (over: Partial<DeploymentResult>, version = '1.0.0') => {
      sent.length = 0;
      const input = await open('production');
      await call((given) => facts.settleDeployment(given), { result: result(input, over), version });
      return { title: sent[0]?.title, lines: sent[0]?.lines ?? [] };
    };
    const back = await told({ outcome: 'rolled-back', live, rollback }, '0.9.0');
    expect(back.title).toBe('hello production is back on 0.9.0');
    expect(back.lines).toEqual(expect.arrayContaining(['0.9.0 serving after 90 ms', 'live now: 0.9.0 in blue']));
    const failed = await told({ outcome: 'rollback-failed', rollback }, '0.9.0');
    expect(failed.title).toBe('hello production could not go back to 0.9.0');
    const undone = await told({ outcome: 'rolled-back', live, rollback });
    expect(undone.title).toBe('hello 1.0.0 was rolled back in production');
    const held = await told({ outcome: 'held', live });
    expect(held.lines).toContain('slipway rollback hello/production --reason …');
    const data = await told({ outcome: 'held', live, rollback });
    expect(data.lines).toContain('slipway retry hello/production --reason …');
    const gone = await told({ outcome: 'rollback-unavailable' });
    expect(gone.lines).toEqual(expect.arrayContaining(['live now: nothing']));
    expect((await told({ outcome: 'expired' })).lines.join()).not.toContain('live now');
  });

  test('that nobody wrote down, because the store was away when it began, has a row in the end', async () => {
    const number = Date.now();
    const input = { ...(await open('late')), number };
    const report = { trigger: 'errors', steps: [], totalMs: 10 };
    await call((input) => facts.settleDeployment(input), {
      result: result(input, { outcome: 'rolled-back', rollback: report }),
      version: '0.9.0',
    });
    expect(await spool.flush(5_000)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({ number, outcome: 'rolled-back', version: '0.9.0' });
    expect((await open('late')).number).toBe(2);
  });

  test('whose end finds the store away ends all the same, and it is told', async () => {
    const away = openStore({ url: 'postgres://nobody@127.0.0.1:9/nothing' });
    const lonely = createFactActivities({
      store: away,
      spool,
      proofs: testProofs,
      sendNotice: (notice) => Promise.resolve(void sent.push(notice)),
    });
    const input = await open('production');
    await call((input) => lonely.settleDeployment(input), {
      result: result(input, { outcome: 'rolled-back' }),
      version: '1.0.0',
    });
    await call((input) => lonely.recordPhase(input), { deployment: input, phase: 'closed' });
    expect(
      await call((input) => lonely.openIncident(input), { deployment: input, trigger: 'errors', summary: 'bad' }),
    ).toBe(`incident/hello/production/${input.number}`);
    expect(sent).toMatchObject([{ event: 'rolled-back', level: 'critical' }]);
    // A decision is different: it is not made before it is written.
    const decision = {
      deployment: input,
      by: 'ada',
      verdict: 'approve',
      counted: true,
      plan: 'x',
      proven: true,
      at: new Date().toISOString(),
    } as const;
    await expect(call((input) => lonely.recordDecision(input), decision)).rejects.toMatchObject({
      type: 'StoreUnavailable',
      nonRetryable: false,
    });
    expect(await spool.flush(5_000)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({ outcome: 'rolled-back' });
    expect((await listIncidents(store.db, { project: 'hello' })).map((each) => each.number)).toContain(input.number);
    await away.close();
  });

  test('is decided on once, in the audit too', async () => {
    const input = await open('production');
    const decision = {
      deployment: input,
      by: 'grace',
      verdict: 'reject',
      counted: false,
      why: 'too late',
      plan: 'x',
      proven: false,
      at: new Date().toISOString(),
    } as const;
    await call((input) => facts.recordDecision(input), decision);
    await call((input) => facts.recordDecision(input), decision);
    expect((await readDeployment(store.db, input))?.decisions).toMatchObject([
      { by: 'grace', why: 'too late', proven: false },
    ]);
    const { items } = await listAudit(store.db, { object: `deployment/hello/production/${input.number}` }, {});
    expect(items).toMatchObject([{ actor: 'grace', action: 'decision.reject' }]);
  });
});

describe('a decision on record is proven', () => {
  const words = { by: 'grace', plan: 'a'.repeat(64), comment: 'fine' };

  test.each([
    ['by a proof that holds', {}, {}, true],
    ['not by the word of whoever records it', { proof: undefined }, {}, false],
    ['not by a proof of another person', { by: 'ada' }, {}, false],
    ['not by a proof of another plan', { plan: 'b'.repeat(64) }, {}, false],
    ['not by a proof of another verdict', { verdict: 'reject' }, {}, false],
    ['not by a proof of other words', { comment: 'never' }, {}, false],
    ['not by a proof of another deployment', {}, { workflowId: 'deployment/hello/production/999999' }, false],
    ['not by a proof that was changed to fit', {}, { groups: ['tech-lead', 'devops'] }, false],
    ['not where the workflow found that it does not hold', { proven: false }, {}, false],
  ] as const)('%s', async (_, over, forged, proven) => {
    const input = await open('production');
    const at = new Date().toISOString();
    const decision = provableDecision(deploymentId(input), 'approve', { ...words, groups: ['tech-lead'] });
    const proof = { ...decision, proof: testProofs.prove(decision), receivedAt: at, ...forged };
    await call((input) => facts.recordDecision(input), {
      ...{ deployment: input, verdict: 'approve', counted: true, proven: true, at },
      ...words,
      proof,
      ...over,
    } as Parameters<FactActivities['recordDecision']>[0]);
    expect((await readDeployment(store.db, input))?.decisions).toMatchObject([{ proven }]);
    const { items } = await listAudit(store.db, { object: deploymentId(input) }, {});
    expect(items).toMatchObject([{ detail: { proven } }]);
  });
});

describe('a rollback', () => {
  test('has the next number of its environment, once for each request', async () => {
    const before = (await listDeployments(store.db, { environment: 'staging' }, {})).items[0]!.number;
    const asked = {
      project: 'hello',
      environment: 'staging',
      requestId: 'one',
      to: '1-ccccccc',
      reason: 'bad',
      by: 'oscar',
    };
    const input = await call((input) => facts.openRollback(input), asked);
    expect(input).toMatchObject({
      number: before + 1,
      version: '1-ccccccc',
      priority: 'rollback',
      requestedBy: 'oscar',
    });
    expect(await call((input) => facts.openRollback(input), asked)).toEqual(input);
  });

  test('goes to what was live before the live one, and after a rollback not to what was left', async () => {
    const settle = async (input: DeploymentInput, over: Partial<DeploymentResult>) => {
      const { project, environment, number, version } = input;
      const live = { version, commit: 'c', images: [], slot: 'blue' as const, deployment: number, since: '' };
      const ended = {
        project,
        environment,
        number,
        outcome: 'succeeded' as const,
        reason: 'It serves.',
        steps: [],
        live,
      };
      await call((given) => facts.settleDeployment(given), { result: { ...ended, ...over }, version });
      expect(await spool.flush(5_000)).toBe(true);
    };
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) await settle({ ...(await open('back')), version }, {});
    const asked = { project: 'hello', environment: 'back', reason: 'bad', by: 'oscar' };
    const first = await call((given) => facts.openRollback(given), { ...asked, requestId: 'first' });
    expect(first.version).toBe('2.0.0');
    await settle(first, { outcome: 'rolled-back' });
    const second = await call((given) => facts.openRollback(given), { ...asked, requestId: 'second' });
    expect(second.version).toBe('1.0.0');
  });

  test('to nothing is refused with what to do', async () => {
    const asked = { project: 'hello', environment: 'empty', requestId: 'x', reason: 'bad', by: 'oscar' };
    await expect(call((input) => facts.openRollback(input), asked)).rejects.toMatchObject({
      type: 'ReleaseMissing',
      nonRetryable: true,
    });
  });
});

describe('a notice', () => {
  const notice: Notice = {
    event: 'rolled-back',
    level: 'critical',
    project: 'loud',
    environment: 'production',
    key: 'loud/production/1/settled',
    title: 'rolled back',
    lines: ['because'],
  };
  const logged: string[] = [];
  const logger = {
    info: (_: object, message: string) => void logged.push(message),
    warn: (_: object, message: string) => void logged.push(message),
    error: (_: object, message: string) => void logged.push(message),
  };

  test('goes once to each channel that wants it, and a channel that fails keeps nobody', async () => {
    const heard: string[] = [];
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        heard.push(`${request.url ?? ''} ${body}`);
        response.writeHead(request.url === '/broken' ? 500 : 200).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await put(
      'loud',
      projectYaml(
        'loud',
        `notifications:
  - { kind: slack, url: { env: ALL } }
  - { kind: slack, url: { env: BROKEN }, name: broken }
  - { kind: slack, url: { env: STAGING }, name: staging, environments: [staging] }
  - { kind: slack, url: { env: HELD }, name: held, events: [held] }
  - { kind: slack, url: { env: TESTS }, name: tests, events: [tests-passed, run-failed] }
  - { kind: log, level: critical }
`,
      ),
    );
    const notices = createNoticeActivities({
      store,
      logger,
      readSecret: (ref) => Promise.resolve(`${address}/${ref.kind === 'env' ? ref.name.toLowerCase() : ''}`),
      settings: { publicUrl: 'https://slipway.example.com' },
    });
    await Promise.all([notices.sendNotice(notice), notices.sendNotice(notice)]);
    await notices.sendNotice(notice);
    const paths = heard.map((each) => each.split(' ')[0]);
    expect(paths.filter((path) => path === '/all')).toHaveLength(1);
    expect(paths.filter((path) => path === '/broken').length).toBeGreaterThanOrEqual(1);
    expect(paths).not.toContain('/staging');
    expect(paths).not.toContain('/held');
    expect(heard[0]).toContain('https://slipway.example.com/v1/projects/loud/environments/production/deployments/1');
    expect(logged.filter((message) => message === 'rolled back')).toHaveLength(1);
    await notices.sendNotice({ ...notice, key: 'loud/staging/2/settled', level: 'info', environment: 'staging' });
    expect(heard.some((each) => each.startsWith('/staging'))).toBe(true);
    heard.length = 0;
    const { project: of, title, lines } = notice;
    const ofRun = { project: of, title, lines, level: 'info' } as const;
    await notices.sendNotice({ ...ofRun, key: 'loud/run/1/tests-passed', event: 'tests-passed' });
    // The notice of the run says the same, so only who asked for it by name has it.
    expect(heard.map((each) => each.split(' ')[0])).toEqual(['/tests']);
    heard.length = 0;
    await notices.sendNotice({ ...ofRun, key: 'loud/run/2/settled', event: 'tests-failed' });
    expect(heard.map((each) => each.split(' ')[0])).toEqual(expect.arrayContaining(['/all', '/tests']));
    heard.length = 0;
    await notices.sendNotice({ ...ofRun, key: 'loud/run/3/settled', event: 'run-succeeded' });
    expect(heard.map((each) => each.split(' ')[0])).not.toContain('/tests');
    server.closeAllConnections();
    server.close();
  });

  test('that a channel answered with 503 is delivered later, once, though nobody asks for it again', async () => {
    const heard: string[] = [];
    const answers = [503, 200, 200];
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        heard.push(body);
        response.writeHead(answers.shift() ?? 200).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await put('shaky', projectYaml('shaky', 'notifications:\n  - { kind: slack, url: { env: SLACK } }\n'));
    const dependencies = { store, logger, readSecret: () => Promise.resolve(address), settings: {} };
    const key = 'shaky/production/1/settled';
    // As the end of a deployment sends it: beside its work, and without a second try.
    await inPassing((one) => createNoticeActivities(dependencies).sendNotice(one))({
      ...notice,
      project: 'shaky',
      key,
    });
    expect(heard).toHaveLength(1);
    const untold = () => listNotices(store.db, { project: 'shaky', undelivered: true });
    expect(await untold()).toMatchObject([{ key, channel: 'slack', state: 'failed', level: notice.level, tries: 1 }]);
    // Another worker, later.
    const later = createNoticeActivities(dependencies);
    expect(await later.resendNotices()).toBe(0);
    await store.db
      .updateTable('notices')
      .set({ retryAt: new Date(Date.now() - 1_000).toISOString() })
      .where('key', '=', key)
      .execute();
    await Promise.all([later.resendNotices(), createNoticeActivities(dependencies).resendNotices()]);
    expect(heard).toHaveLength(2);
    expect(heard[1]).toBe(heard[0]);
    expect(heard[1]).toContain('because');
    expect(await untold()).toEqual([]);
    expect(await later.resendNotices()).toBe(0);
    server.closeAllConnections();
    server.close();
  });

  test('that will never be taken is tried once, and shown', async () => {
    const server = createServer((_, response) => response.writeHead(404).end('no_service'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await put('gone', projectYaml('gone', 'notifications:\n  - { kind: slack, url: { env: SLACK } }\n'));
    const notices = createNoticeActivities({ store, logger, readSecret: () => Promise.resolve(address), settings: {} });
    await notices.sendNotice({ ...notice, project: 'gone', key: 'gone/production/1/settled' });
    expect(await listNotices(store.db, { project: 'gone', undelivered: true })).toMatchObject([
      { state: 'failed', retryAt: null, error: expect.stringContaining('404') },
    ]);
    server.closeAllConnections();
    server.close();
  });

  test('that is neither delivered nor written down is thrown, for whoever can to try again', async () => {
    const server = createServer((_, response) => response.writeHead(503).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await put('dark', projectYaml('dark', 'notifications:\n  - { kind: slack, url: { env: SLACK } }\n'));
    let db = store.db;
    const away = openStore({ url: 'postgres://nobody@127.0.0.1:9/nothing' });
    const reading = {
      get db() {
        return db;
      },
    };
    const readSecret = (): Promise<string> => Promise.resolve(address);
    const notices = createNoticeActivities({ store: reading, logger, readSecret, settings: {} });
    await notices.sendNotice({ ...notice, project: 'dark', key: 'dark/production/1/settled' });
    db = away.db;
    const sending = notices.sendNotice({ ...notice, project: 'dark', key: 'dark/production/2/settled' });
    await expect(sending).rejects.toMatchObject({ type: 'NotifierFailed', nonRetryable: false });
    await away.close();
    server.closeAllConnections();
    server.close();
  });

  test('is sent although the store is away, and never fails', async () => {
    const away = openStore({ url: 'postgres://nobody@127.0.0.1:9/nothing' });
    const notices = createNoticeActivities({
      store: away,
      logger,
      readSecret: () => Promise.reject(new Error('no secret')),
      settings: {},
    });
    logged.length = 0;
    await notices.sendNotice({ ...notice, title: 'without a store' });
    expect(logged).toContain('without a store');
    await away.close();
  });
});

describe('the run of a pull request from a fork', () => {
  const input = (project: string): RunInput => ({
    project,
    key: 'fork-1',
    event: {
      kind: 'pull-request',
      ref: 'refs/pull/7/head',
      before: '0'.repeat(40),
      after: 'c'.repeat(40),
      fork: true,
      pullRequest: 7,
      author: 'stranger',
    },
    acceptedAt: new Date().toISOString(),
  });
  const openFork = (project: string) => call((one: RunInput) => runFacts.openForkRun(one), input(project));

  test('waits for a word, and people are told which, however often it is opened', async () => {
    await put('asked', projectYaml('asked'));
    const first = await openFork('asked');
    expect(first).toEqual({
      run: { project: 'asked', key: 'fork-1', number: 1 },
      rule: 'ask',
      timeoutMs: 604_800_000,
      tellsForge: false,
    });
    expect(await openFork('asked')).toEqual(first);
    expect(await readRun(store.db, 'asked', 1)).toMatchObject({ phase: 'awaiting-word', outcome: null });
    expect(sent[0]).toMatchObject({
      event: 'approval-requested',
      key: 'asked/run/1/word',
      lines: expect.arrayContaining(['slipway allow asked#1 --commit cccccccccccc']),
    });
    expect(new Set(sent.map(({ key }) => key)).size).toBe(1);
    // What is prepared does not wait any more.
    await openRun(store.db, input('asked'));
    expect(await readRun(store.db, 'asked', 1)).toMatchObject({ phase: 'preparing' });
  });

  test.each(['allow', 'deny'] as const)('goes by what the project says: %s, and nobody is asked', async (rule) => {
    await put(rule, projectYaml(rule, `pullRequests: { forks: ${rule} }\n`));
    expect(await openFork(rule)).toMatchObject({ rule });
    expect(await readRun(store.db, rule, 1)).toMatchObject({ phase: 'preparing' });
    expect(sent).toEqual([]);
  });

  test('of no project is none', async () => {
    await expect(openFork('nowhere')).rejects.toMatchObject({ type: 'NotFound' });
  });
});
