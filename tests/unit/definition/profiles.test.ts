import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { resolveEnvironment } from '../../../src/definition/environment.ts';
import { resolveEnvironmentGates, resolveGates } from '../../../src/definition/gates.ts';
import { validateFiles } from '../../../src/definition/load.ts';
import { resolveParameters } from '../../../src/definition/parameters.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import type { PipelineSpec } from '../../../src/definition/specs/pipeline.ts';
import { routesOf } from '../../../src/definition/routes.ts';
import type { GateName, GatePolicy } from '../../../src/domain/gate.ts';
import { judgeGate } from '../../../src/domain/gate-verdict.ts';
import { imageTags } from '../../../src/domain/image-tags.ts';
import { routeEvent } from '../../../src/domain/routing.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { pairOf, problemsOf } from './documents.ts';

const folder = join(import.meta.dirname, '../../../examples/profiles');
const names = ['jenkins-data', 'k8s-matrix', 'tag-release'] as const;
type Profile = (typeof names)[number];

const minuteMs = 60_000;
const commit = 'a3f4b2c'.padEnd(40, '0');

const textsOf = (profile: Profile) => ({
  repository: readFileSync(join(folder, profile, 'slipway.yaml'), 'utf8'),
  project: readFileSync(join(folder, profile, 'project.yaml'), 'utf8'),
});
const pairs = Object.fromEntries(names.map((name) => [name, pairOf(textsOf(name))])) as Record<
  Profile,
  ReturnType<typeof pairOf>
>;

type Given = Readonly<Record<string, string>>;

/** `push main`, `pull-request 7 into develop`, with the parameters of a run by hand. */
interface Run {
  readonly event: Pick<SourceEvent, 'kind' | 'ref' | 'after' | 'into'>;
  readonly parameters: Given;
}

function runOf(profile: Profile, said: string, given: Given = {}): Run {
  const [kind = '', what = '', , into] = said.split(' ');
  const ref = {
    push: `refs/heads/${what}`,
    schedule: `refs/heads/${what}`,
    manual: what.startsWith('refs/') ? what : `refs/heads/${what}`,
    tag: `refs/tags/${what}`,
    'pull-request': `refs/pull/${what}/head`,
  }[kind as SourceEvent['kind']];
  const isAsked = kind === 'manual' || kind === 'schedule';
  return {
    event: { kind: kind as SourceEvent['kind'], ref, after: commit, ...(into === undefined ? {} : { into }) },
    parameters: resolveParameters(pairs[profile].repository.parameters, given, isAsked),
  };
}

/** `push → staging, production, hotfix, emergency`: what is done with images, where they go, and how much it presses. */
function leadsTo(profile: Profile, said: string, given?: Given): string {
  const { event, parameters } = runOf(profile, said, given);
  const decision = routeEvent(event, routesOf(pairs[profile].project), undefined, {
    values: parameters,
    complete: true,
  });
  if (decision.kind === 'ignored') return decision.reason;
  const { buildImages, environments, priority, emergency = false } = decision.route;
  const pressing = [...(priority === 'routine' ? [] : [priority]), ...(emergency ? ['emergency'] : [])];
  return [`${buildImages} → ${environments.join(', ') || 'nowhere'}`, ...pressing].join('; ');
}

function pipelineOf(profile: Profile, said: string, given?: Given): PipelineSpec {
  const { event, parameters } = runOf(profile, said, given);
  const pair = pairs[profile];
  const decision = routeEvent(event, routesOf(pair.project), undefined, { values: parameters, complete: true });
  const groups = decision.kind === 'run' ? decision.route.imageGroups : undefined;
  return resolvePipeline(pair, {
    facts: { event, parameters, changed: undefined },
    ...(groups === undefined ? {} : { imageGroups: groups }),
  });
}

const stagesOf = (profile: Profile, said: string, given?: Given): readonly string[] =>
  pipelineOf(profile, said, given).stages.flatMap(({ name, skip }) => (skip === undefined ? [name] : []));

const gate = (policies: readonly GatePolicy[], name: GateName): GatePolicy =>
  policies.find((one) => one.gate === name)!;
const ofRun = (profile: Profile, name: GateName) => gate(resolveGates(pairs[profile]), name);
/** What the project asks by itself: the repository can make it stricter, and must not be what it stands on. */
const ofRelease = (profile: Profile, name: GateName, environment = 'production') =>
  gate(resolveEnvironmentGates({ repository: {}, project: pairs[profile].project }, environment), name);
const policyOf = (profile: Profile, environment: string) => resolveEnvironment(pairs[profile], environment).policy;

test('every profile is looked at here, and has its row', () => {
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual(names);
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  expect([...readme.matchAll(/^\| \[`([a-z0-9-]+)`\]\(\1\/\) \|/gm)].map(([, name]) => name).sort()).toEqual(names);
});

describe.each(names)('%s', (name) => {
  test('is two documents that fit together, and that no release is refused for', async () => {
    expect(problemsOf(textsOf(name))).toEqual([]);
    const files = ['slipway.yaml', 'project.yaml'].map((file) => join(folder, name, file));
    expect(await validateFiles(files, { listsImages: false })).toMatchObject({ problems: [], warnings: [] });
  });

  test('stays short enough to be read', () => {
    for (const text of Object.values(textsOf(name))) expect(text.split('\n').length).toBeLessThan(200);
  });

  test('is told by webhooks of GitHub, shows that it could look by itself, and scans what is live every day', () => {
    const { repository, upkeep } = pairs[name].project;
    expect(repository.poll).toBe(false);
    expect(textsOf(name).project).toMatch(/^  poll: false$/m);
    expect(repository.forge.kind).toBe('github');
    expect(upkeep.scan.enabled).toBe(true);
  });
});

test.each<[Profile, string, Given, string]>([
  ['jenkins-data', 'push main', {}, 'push → production'],
  ['jenkins-data', 'tag v1.2.0', {}, 'push → production'],
  ['jenkins-data', 'tag nightly', {}, 'no-route'],
  ['jenkins-data', 'tag v1.2', {}, 'no-route'],
  ['jenkins-data', 'push develop', {}, 'push → staging'],
  ['jenkins-data', 'push release/1.2', {}, 'push → staging'],
  ['jenkins-data', 'push hotfix/memory-leak', {}, 'push → staging, production; hotfix'],
  ['jenkins-data', 'push feature/add-pair', {}, 'validate → nowhere'],
  ['jenkins-data', 'push feature/ada/add-pair', {}, 'validate → nowhere'],
  ['jenkins-data', 'push experiment', {}, 'none → nowhere'],
  ['jenkins-data', 'pull-request 7 into main', {}, 'none → nowhere'],
  ['jenkins-data', 'pull-request 7 into feature/x', {}, 'none → nowhere'],
  ['jenkins-data', 'manual main', {}, 'push → production'],
  ['jenkins-data', 'manual develop', {}, 'push → staging'],
  ['jenkins-data', 'manual hotfix/memory-leak', {}, 'push → staging, production; hotfix'],
  ['jenkins-data', 'manual refs/tags/v1.2.0', {}, 'push → production'],
  ['jenkins-data', 'manual main', { DEPLOY_ENV: 'production' }, 'push → production'],
  ['jenkins-data', 'manual main', { DEPLOY_ENV: 'staging' }, 'push → staging'],
  ['jenkins-data', 'manual release/1.2', { DEPLOY_ENV: 'staging' }, 'push → staging'],
  ['jenkins-data', 'manual hotfix/memory-leak', { DEPLOY_ENV: 'staging' }, 'push → staging'],
  ['jenkins-data', 'manual main', { DEPLOY_ENV: 'dev' }, 'none → nowhere'],
  // What was asked for is refused in silence nowhere: not another environment, but none.
  ['jenkins-data', 'manual develop', { DEPLOY_ENV: 'production' }, 'none → nowhere'],
  ['jenkins-data', 'manual feature/add-pair', { DEPLOY_ENV: 'staging' }, 'none → nowhere'],
  ['jenkins-data', 'manual main', { SUITE: 'data-quality' }, 'none → nowhere'],
  ['jenkins-data', 'manual main', { SUITE: 'security', DEPLOY_ENV: 'production' }, 'none → nowhere'],
  ['jenkins-data', 'manual develop', { RUN_TESTS: 'false' }, 'push → staging'],

  ['tag-release', 'tag v1.2.0', {}, 'push → production'],
  ['tag-release', 'tag 1.2.0', {}, 'no-route'],
  ['tag-release', 'tag v1.2', {}, 'no-route'],
  ['tag-release', 'push main', {}, 'push → nowhere'],
  ['tag-release', 'push develop', {}, 'push → staging'],
  ['tag-release', 'push release/1.2', {}, 'push → staging'],
  ['tag-release', 'push hotfix/login', {}, 'push → staging; hotfix; emergency'],
  ['tag-release', 'push feature/login', {}, 'validate → nowhere'],
  ['tag-release', 'push experiment', {}, 'validate → nowhere'],
  ['tag-release', 'pull-request 7 into develop', {}, 'validate → nowhere'],
  ['tag-release', 'manual main', {}, 'push → nowhere'],
  ['tag-release', 'manual refs/tags/v1.0.0', {}, 'push → production'],

  ['k8s-matrix', 'push main', {}, 'push → staging'],
  ['k8s-matrix', 'push develop', {}, 'push → nowhere'],
  ['k8s-matrix', 'push hotfix/orders', {}, 'push → staging; hotfix; emergency'],
  ['k8s-matrix', 'push feature/garch', {}, 'validate → nowhere'],
  ['k8s-matrix', 'push release/1.2', {}, 'validate → nowhere'],
  ['k8s-matrix', 'tag v1.2.0', {}, 'no-route'],
  ['k8s-matrix', 'pull-request 7 into main', {}, 'push → nowhere'],
  ['k8s-matrix', 'pull-request 7 into develop', {}, 'no-route'],
  ['k8s-matrix', 'manual main', {}, 'push → production'],
  ['k8s-matrix', 'manual main', { TARGET: 'staging' }, 'push → staging'],
  ['k8s-matrix', 'manual develop', {}, 'push → nowhere'],
  ['k8s-matrix', 'manual hotfix/orders', {}, 'push → staging, production; hotfix; emergency'],
])('%s: %s with %j leads to %s', (profile, said, given, expected) => {
  expect(leadsTo(profile, said, given)).toBe(expected);
});

test.each<[Profile, string, Given, readonly string[]]>([
  ['jenkins-data', 'push feature/x', {}, ['install', 'quality', 'security', 'test']],
  ['jenkins-data', 'manual develop', { RUN_TESTS: 'false' }, ['install', 'quality', 'security']],
  ['jenkins-data', 'schedule main', { SUITE: 'security' }, ['install', 'security']],
  ['jenkins-data', 'schedule main', { SUITE: 'data-quality' }, ['install', 'data-quality']],
  ['tag-release', 'push feature/x', {}, ['install', 'lint', 'test', 'security']],
  ['tag-release', 'schedule main', {}, ['install', 'lint', 'test', 'security']],
  ['k8s-matrix', 'push feature/x', {}, ['install', 'lint', 'unit']],
  ['k8s-matrix', 'push main', {}, ['install', 'lint', 'static', 'unit', 'integration']],
  ['k8s-matrix', 'push develop', {}, ['install', 'lint', 'static', 'unit', 'integration']],
  ['k8s-matrix', 'manual main', {}, ['install', 'lint', 'static', 'unit', 'integration']],
  ['k8s-matrix', 'schedule main', {}, ['install', 'lint', 'static', 'unit', 'integration']],
  [
    'k8s-matrix',
    'pull-request 7 into main',
    {},
    ['install', 'lint', 'static-of-pull-request', 'unit', 'integration-of-pull-request'],
  ],
])('%s: %s with %j runs the stages %j', (profile, said, given, expected) => {
  expect(stagesOf(profile, said, given)).toEqual(expected);
});

test.each<[Profile, Readonly<Record<string, number>>]>([
  ['jenkins-data', { install: 10, quality: 14, security: 10, test: 20, 'data-quality': 20 }],
  ['tag-release', { install: 10, lint: 2, test: 6, security: 4 }],
  [
    'k8s-matrix',
    {
      install: 10,
      lint: 14,
      static: 20,
      'static-of-pull-request': 20,
      unit: 20,
      integration: 20,
      'integration-of-pull-request': 20,
    },
  ],
])('%s: stages may take %j minutes', (profile, minutes) => {
  const { stages } = pipelineOf(profile, 'push main');
  expect(Object.fromEntries(stages.map(({ name, timeoutMs }) => [name, timeoutMs / minuteMs]))).toEqual(minutes);
});

test.each<[Profile, number]>([
  ['jenkins-data', 40],
  ['tag-release', 10],
  ['k8s-matrix', 40],
])('%s: images may take %i minutes', (profile, minutes) => {
  expect(pipelineOf(profile, 'push main').builds.timeoutMs).toBe(minutes * minuteMs);
});

/** The command of a step, on one line. */
function commandOf(profile: Profile, stageName: string, stepName: string): string {
  const stage = pipelineOf(profile, 'push main').stages.find(({ name }) => name === stageName);
  const command = stage?.steps.find(({ name }) => name === stepName)?.command;
  return command?.kind === 'argv' ? command.argv.join(' ') : (command?.script ?? '');
}

describe('checks', () => {
  test('linters run at once, with the line length of each', () => {
    for (const [profile, stage] of [
      ['jenkins-data', 'quality'],
      ['jenkins-data', 'security'],
      ['tag-release', 'lint'],
      ['k8s-matrix', 'lint'],
      ['k8s-matrix', 'static'],
    ] as const) {
      const found = pipelineOf(profile, 'push main').stages.find(({ name }) => name === stage);
      expect(found?.parallel).toBe(4);
      // What they find is for the gate: a linter that ends with 1 must not take the report of its neighbour along.
      expect(found?.steps.map(({ onFailure }) => onFailure)).toEqual(found?.steps.map(() => 'warn'));
    }
    expect(commandOf('jenkins-data', 'quality', 'flake8')).toMatch(/--max-line-length 120 --count/);
    expect(commandOf('k8s-matrix', 'lint', 'flake8')).toMatch(/--max-line-length=100 --count/);
    expect(commandOf('k8s-matrix', 'static', 'mypy')).toContain('--ignore-missing-imports');
  });

  test('a failed test ends the run, in every profile', () => {
    for (const profile of names) {
      const steps = pipelineOf(profile, 'push main').stages.flatMap((stage) => stage.steps);
      const tests = steps.filter(({ name }) => ['pytest', 'unit', 'integration', 'performance'].includes(name));
      expect(tests.length).toBeGreaterThan(0);
      expect(tests.map(({ onFailure }) => onFailure)).toEqual(tests.map(() => 'fail'));
      expect(ofRun(profile, 'tests').mode).toBe('block');
    }
  });

  test('tag-release runs lint, tests and the look at dependencies beside each other', () => {
    const { stages } = pipelineOf('tag-release', 'push main');
    expect(stages.map(({ name, needs }) => [name, needs])).toEqual([
      ['install', undefined],
      ['lint', ['install']],
      ['test', ['install']],
      ['security', ['install']],
    ]);
  });

  test('k8s-matrix has a Redis beside its integration tests', () => {
    const stages = pipelineOf('k8s-matrix', 'push main').stages.filter(({ services }) => services.length > 0);
    expect(stages.map(({ name }) => name)).toEqual(['integration', 'integration-of-pull-request']);
    for (const { services, steps } of stages) {
      expect(services).toMatchObject([
        { name: 'redis', image: 'redis:7-alpine', port: 6379, health: { command: ['redis-cli', 'ping'] } },
      ]);
      expect(steps[0]?.env).toEqual({
        REDIS_URL: 'redis://redis:6379',
        DATABASE_URL: 'sqlite:///test.db',
        LOG_LEVEL: 'DEBUG',
      });
    }
  });

  test('jenkins-data asks for tools on the worker, and warns of a small machine', () => {
    const { tools, machine } = pipelineOf('jenkins-data', 'push main');
    expect(Object.fromEntries(tools.map(({ name, range }) => [name, range]))).toEqual({
      docker: '>=24.0',
      python3: '>=3.10',
      git: '>=2.30',
    });
    expect(machine).toEqual({ cores: 4, memoryBytes: 8e9, diskBytes: 100e9 });
  });
});

describe('gates', () => {
  test.each<[Profile, GatePolicy['mode'], number]>([
    ['jenkins-data', 'warn', 0.7],
    ['tag-release', 'block', 0.7],
    ['k8s-matrix', 'block', 0.8],
  ])('coverage of %s: %s under %f, and blocked under 0.5', (profile, mode, min) => {
    for (const policy of [ofRun(profile, 'coverage'), ofRelease(profile, 'coverage')]) {
      expect(policy).toMatchObject({ mode, demanded: true, coverage: { min, critical: 0.5 } });
    }
  });

  test.each<[Profile, GateName, GatePolicy['mode'], readonly string[]]>([
    ['jenkins-data', 'tests', 'block', ['junit']],
    ['jenkins-data', 'coverage', 'warn', ['cobertura']],
    ['jenkins-data', 'quality', 'warn', ['flake8', 'pylint', 'black', 'isort']],
    ['jenkins-data', 'code-security', 'warn', ['bandit', 'gitleaks']],
    ['jenkins-data', 'dependencies', 'warn', ['safety', 'pip-licenses']],
    ['jenkins-data', 'container', 'warn', []],
    ['jenkins-data', 'access-control', 'block', []],
    ['jenkins-data', 'compliance', 'block', []],
    ['tag-release', 'tests', 'block', ['junit']],
    ['tag-release', 'quality', 'block', ['flake8', 'black']],
    ['tag-release', 'dependencies', 'block', ['pip-audit']],
    ['tag-release', 'container', 'block', []],
    ['tag-release', 'compliance', 'block', []],
    ['k8s-matrix', 'tests', 'block', ['junit']],
    ['k8s-matrix', 'quality', 'block', ['black', 'isort', 'flake8', 'mypy']],
    ['k8s-matrix', 'code-security', 'block', ['bandit']],
    ['k8s-matrix', 'dependencies', 'block', ['safety']],
    ['k8s-matrix', 'container', 'block', []],
    ['k8s-matrix', 'compliance', 'block', []],
  ])('of production: %s, %s is %s and needs %j', (profile, name, mode, reports) => {
    expect(ofRelease(profile, name)).toMatchObject({ mode, demanded: true, reports });
  });

  test('HIGH and CRITICAL count, and pylint is judged by its score of 7', () => {
    for (const profile of names) {
      for (const name of ['code-security', 'dependencies', 'container'] as const) {
        expect(ofRelease(profile, name).least).toBe('high');
      }
    }
    expect(ofRelease('jenkins-data', 'quality').score).toBe(7);
  });

  test('jenkins-data asks no run for what a schedule leaves out, and no staging for tests', () => {
    const asked = resolveGates(pairs['jenkins-data']).filter(({ demanded }) => demanded);
    expect(pairs['jenkins-data'].project.gates).toBeUndefined();
    expect(asked.map(({ gate: name, mode }) => [name, mode])).toEqual([
      ['coverage', 'warn'],
      ['quality', 'warn'],
      ['code-security', 'warn'],
      ['dependencies', 'warn'],
    ]);
    expect(ofRelease('jenkins-data', 'tests', 'staging').demanded).toBe(false);
  });

  test('jenkins-data without tests may go to staging, and is stopped before production', () => {
    const judged = (environment: string) =>
      judgeGate({
        policy: ofRelease('jenkins-data', 'tests', environment),
        reports: [],
        at: '2026-11-27T08:00:00.000Z',
      });
    expect(judged('staging')).toBeUndefined();
    expect(judged('production')).toMatchObject({ verdict: 'errored', blocks: true });
  });

  test('k8s-matrix asks a feature branch for no tool that it does not run', () => {
    const floors = Object.keys(pairs['k8s-matrix'].project.gates ?? {});
    expect(floors).toEqual(['tests', 'coverage', 'quality', 'container']);
    expect(ofRun('k8s-matrix', 'quality').reports).toEqual(['black', 'isort', 'flake8']);
    expect(ofRun('k8s-matrix', 'code-security')).toMatchObject({ mode: 'block', reports: [] });
    expect(ofRelease('k8s-matrix', 'code-security', 'staging')).toMatchObject({ mode: 'block', reports: ['bandit'] });
  });
});

describe('images', () => {
  const services = ['ingestion', 'kalman-filter', 'garch-model', 'execution', 'risk-manager', 'orchestrator'].map(
    (service) => `hft-crypto-bot-${service}`,
  );
  const monitoring = ['monitoring-prometheus', 'monitoring-grafana', 'monitoring-alertmanager'];

  test.each<[Profile, string, readonly string[]]>([
    ['jenkins-data', 'push main', ['airflow', 'spark', 'flink']],
    ['jenkins-data', 'push feature/x', ['airflow', 'spark', 'flink']],
    ['tag-release', 'tag v1.2.0', ['webapp']],
    ['k8s-matrix', 'push main', [...services, ...monitoring]],
    ['k8s-matrix', 'push develop', [...services, ...monitoring]],
    ['k8s-matrix', 'push feature/x', services],
    ['k8s-matrix', 'pull-request 7 into main', services],
    ['k8s-matrix', 'push hotfix/x', services],
  ])('%s: %s builds %j', (profile, said, expected) => {
    expect(pipelineOf(profile, said).images.map(({ name }) => name)).toEqual(expected);
  });

  test('are called what Docker Hub takes, and the service is one of them', () => {
    expect(pipelineOf('jenkins-data', 'push main').images[0]?.repository).toBe('docker.io/example/airflow');
    for (const profile of names) {
      const { images } = pipelineOf(profile, 'push main');
      for (const { repository } of images) expect(repository).toMatch(/^docker\.io\/example\/[a-z0-9-]+$/);
      expect(images.map(({ name }) => name)).toContain(pairs[profile].repository.service?.image);
    }
  });

  test('of k8s-matrix are for two platforms, by a BuildKit daemon, those of monitoring one by one', () => {
    const { images, builds } = pipelineOf('k8s-matrix', 'push main');
    expect(builds).toMatchObject({ builder: { kind: 'buildkit' }, concurrency: 6 });
    for (const { platforms } of images) expect(platforms).toEqual(['linux/amd64', 'linux/arm64']);
    expect(images.map(({ group }) => group)).toEqual([
      ...services.map(() => ({ name: 'services', concurrency: 6 })),
      ...monitoring.map(() => ({ name: 'monitoring', concurrency: 1 })),
    ]);
    expect(images[1]?.args).toEqual({ SERVICE: 'kalman_filter' });
  });

  test.each<[Profile, string, readonly string[]]>([
    ['jenkins-data', 'refs/heads/main', ['12-a3f4b2c', 'latest']],
    ['jenkins-data', 'refs/heads/develop', ['12-a3f4b2c']],
    ['jenkins-data', 'refs/tags/v2.0.5', ['12-a3f4b2c', '2.0.5']],
    ['tag-release', 'refs/tags/v1.2.0', ['12-a3f4b2c', '1.2.0']],
    ['k8s-matrix', 'refs/heads/main', ['main-a3f4b2c', 'a3f4b2c', 'latest']],
    ['k8s-matrix', 'refs/heads/hotfix/x', ['hotfix-x-a3f4b2c', 'a3f4b2c']],
    ['k8s-matrix', 'refs/pull/7/head', ['a3f4b2c', 'pr-7']],
  ])('%s: of %s are tagged %j', (profile, ref, tags) => {
    const { project } = pairs[profile];
    const [, number] = /^refs\/pull\/(\d+)\/head$/.exec(ref) ?? [];
    const made = imageTags({
      ref,
      build: 12,
      commit,
      releaseBranch: project.repository.releaseBranch,
      templates: project.images.tags,
      ...(number === undefined ? {} : { pullRequest: Number(number) }),
    });
    expect(made.map(({ name }) => name)).toEqual(tags);
  });

  test.each<[Profile, string, string]>([
    ['jenkins-data', 'warn', 'auto'],
    ['tag-release', 'block', 'required'],
    ['k8s-matrix', 'block', 'required'],
  ])('%s: HIGH and CRITICAL of an image %s, its list is %s', (profile, mode, sbom) => {
    const { supplyChain } = pipelineOf(profile, 'push main');
    expect(supplyChain).toMatchObject({
      sbom,
      scan: { scanner: 'trivy', mode, severities: ['high', 'critical'], modes: { staging: mode, production: mode } },
    });
  });
});

describe('environments', () => {
  test.each<[Profile, string, string | undefined]>([
    ['jenkins-data', 'supersede', 'warn'],
    ['tag-release', 'keep-all', 'warn'],
    ['k8s-matrix', 'supersede', 'block'],
  ])('%s: staging is waited for by %s, and must have been before production: %s', (profile, mode, before) => {
    expect(policyOf(profile, 'staging').queue).toEqual({ mode, timeoutMs: 24 * 60 * minuteMs });
    expect(policyOf(profile, 'production').queue.mode).toBe('keep-all');
    expect(pairs[profile].project.environments['production']?.requireStagingSuccess).toBe(before);
  });

  test.each<[Profile, readonly string[]]>([
    ['jenkins-data', ['tech-lead', 'devops']],
    ['tag-release', ['tech-lead']],
    ['k8s-matrix', ['tech-lead']],
  ])(
    '%s: one of each of %j approves production within 30 minutes, never the author; staging asks nobody',
    (profile, groups) => {
      expect(policyOf(profile, 'production').approval).toEqual({
        required: true,
        rules: groups.map((group) => ({ group, count: 1 })),
        allowAuthor: false,
        timeoutMs: 30 * minuteMs,
        turn: 'release',
      });
      expect(policyOf(profile, 'staging').approval.required).toBe(false);
    },
  );

  test.each(names)('%s: staging is watched 2 minutes, production 30, by both bands', (profile) => {
    expect(policyOf(profile, 'staging').watch.durationMs).toBe(2 * minuteMs);
    expect(policyOf(profile, 'production')).toMatchObject({
      production: true,
      watch: {
        durationMs: 30 * minuteMs,
        warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
        rollback: { errorRatio: 0.05, errorWindowMs: 5 * minuteMs, p95Ms: 5_000, databaseFailures: 3, logMatches: 1 },
      },
      limits: { readyMs: 30_000, settleMs: 30_000, stopGraceMs: 30_000, keepPreviousMs: 24 * 60 * minuteMs },
      rollback: { automatic: true },
    });
  });

  test('jenkins-data backs up, migrates where its pipeline did, and puts the database back by itself', () => {
    const data = { backup: { database: true, configuration: true, prove: true }, rollback: { restore: 'automatic' } };
    expect(policyOf('jenkins-data', 'staging')).toMatchObject({ ...data, migrationPhase: 'after-start' });
    expect(policyOf('jenkins-data', 'production')).toMatchObject({ ...data, migrationPhase: 'before-switch' });
  });

  test.each<[Profile, string, Readonly<Record<string, string>>]>([
    ['jenkins-data', 'staging', { LOG_LEVEL: 'INFO' }],
    ['jenkins-data', 'production', { LOG_LEVEL: 'WARNING' }],
    ['k8s-matrix', 'staging', { LOG_LEVEL: 'DEBUG', BINANCE_TESTNET: 'true', CHAMPION_INITIAL_CAPITAL: '10000.0' }],
    ['k8s-matrix', 'production', { LOG_LEVEL: 'INFO', BINANCE_TESTNET: 'false', CHAMPION_INITIAL_CAPITAL: '500000.0' }],
  ])('%s: %s has its own settings', (profile, environment, settings) => {
    expect(pairs[profile].project.environments[environment]?.env).toMatchObject({
      ENVIRONMENT: environment,
      ...settings,
    });
  });
});

test.each<[Profile, readonly (readonly [string, string, Given])[]]>([
  [
    'jenkins-data',
    [
      ['security-scan', '0 2 * * *', { SUITE: 'security' }],
      ['data-quality', '0 6 * * *', { SUITE: 'data-quality' }],
    ],
  ],
  ['tag-release', [['security-scan', '0 3 * * *', {}]]],
  ['k8s-matrix', [['security-scan', '0 2 * * *', {}]]],
])('%s: by schedule, in UTC: %j', (profile, expected) => {
  const { schedules } = pairs[profile].project;
  expect(schedules.map(({ name, cron, parameters }) => [name, cron, parameters])).toEqual(expected);
  expect(schedules.map(({ timeZone }) => timeZone)).toEqual(expected.map(() => 'UTC'));
});

test.each<[Profile, object]>([
  [
    'tag-release',
    { approvals: 1, upToDate: false, dismissStale: false, administrators: 'included', development: 'develop' },
  ],
  ['k8s-matrix', { approvals: 1, upToDate: true, dismissStale: true, administrators: 'may-push' }],
])('%s: main must be protected by %j', (profile, expected) => {
  expect(pairs[profile].project.repository.protection).toEqual(expected);
});
