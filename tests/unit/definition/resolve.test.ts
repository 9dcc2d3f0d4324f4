import { describe, expect, test } from '@jest/globals';
import { resolveEnvironment } from '../../../src/definition/environment.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import { fc } from '../../support/property.ts';
import { Route as RouteDefinition } from '../../../src/definition/project.ts';
import { routeEvent } from '../../../src/domain/routing.ts';
import { routesOf } from '../../../src/definition/routes.ts';
import { pairOf, projectText, repositoryText } from './documents.ts';

const minuteMs = 60_000;

describe('defaults of an environment', () => {
  const { policy } = resolveEnvironment(pairOf(), 'production');

  test('approval: 30 minutes, a tech lead and somebody of devops, not the author, the turn released', () => {
    expect(policy.approval).toEqual({
      required: true,
      rules: [
        { group: 'tech-lead', count: 1 },
        { group: 'devops', count: 1 },
      ],
      allowAuthor: false,
      timeoutMs: 30 * minuteMs,
      turn: 'release',
    });
  });

  test('approval: proof is required where the project says so, and stands in no plan otherwise', () => {
    expect('requireProof' in policy.approval).toBe(false);
    const project = projectText.replace('  production:', '  production:\n    approval: { requireProof: true }');
    expect(resolveEnvironment(pairOf({ project }), 'production').policy.approval.requireProof).toBe(true);
  });

  test('limits: settle, ready and grace 30 s, the previous release kept 24 h', () => {
    expect(policy.limits).toEqual({
      readyMs: 30_000,
      settleMs: 30_000,
      stopGraceMs: 30_000,
      drainMs: 30_000,
      keepPreviousMs: 24 * 60 * minuteMs,
    });
  });

  test('watch: 30 minutes, both bands with the figures of the specification', () => {
    expect(policy.watch).toMatchObject({
      durationMs: 30 * minuteMs,
      intervalMs: 10_000,
      warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
      rollback: {
        errorRatio: 0.05,
        errorWindowMs: 5 * minuteMs,
        p95Ms: 5_000,
        p95SustainedMs: minuteMs,
        databaseFailures: 3,
        logMatches: 1,
      },
      minSamples: 20,
      onInconclusive: 'succeed',
    });
  });

  test('queue, data and migrations', () => {
    expect(policy.queue).toEqual({ mode: 'keep-all', timeoutMs: 24 * 60 * minuteMs });
    expect(policy.rollback).toEqual({ automatic: true, restore: 'ask' });
    expect(policy.backup).toEqual({ database: false, configuration: true, prove: true });
    expect(policy.migrationPhase).toBe('before-switch');
  });

  test('staging watches 2 minutes and asks nobody; any other environment does not watch', () => {
    expect(resolveEnvironment(pairOf(), 'staging').policy).toMatchObject({
      production: false,
      approval: { required: false },
      watch: { durationMs: 2 * minuteMs },
    });
    const pair = pairOf({ project: projectText.replace('  staging:', '  qa:') });
    expect(resolveEnvironment(pair, 'qa').policy.watch.durationMs).toBe(0);
  });

  test('an environment of another name can be production', () => {
    const pair = pairOf({ project: projectText.replace('  staging:', '  live:\n    production: true') });
    expect(resolveEnvironment(pair, 'live').policy).toMatchObject({
      production: true,
      approval: { required: true },
      watch: { durationMs: 30 * minuteMs },
    });
  });

  test('every release has the two probes, and the target a name', () => {
    const { probes, target } = resolveEnvironment(pairOf(), 'production');
    expect(probes).toMatchObject([
      { name: 'container', kind: 'container' },
      { name: 'health', kind: 'http', path: '/health', expectStatus: 200, through: 'both' },
    ]);
    expect(target).toMatchObject({ kind: 'docker', name: 'shop-production' });
  });

  test('an environment that is not there, or nothing to deploy, says so', () => {
    expect(() => resolveEnvironment(pairOf(), 'toString')).toThrow(
      'Project shop has no environment toString; it has production, staging.',
    );
    const pair = pairOf();
    const { service, ...rest } = pair.repository;
    expect(service).toBeDefined();
    expect(() => resolveEnvironment({ ...pair, repository: rest }, 'staging')).toThrow('has no `service`');
  });
});

describe('floors', () => {
  test('the repository makes the watch stricter, figure by figure, and never looser', () => {
    const repository = `${repositoryText}watch:
  duration: 45m
  warn: { p95: 500ms }
  rollback: { errors: 3% }
  logPatterns: [OutOfMemory]
`;
    const project = projectText.replace('  staging:\n', '  staging:\n    watch: { rollback: { errors: 2% } }\n');
    const pair = pairOf({ repository, project });
    expect(resolveEnvironment(pair, 'production').policy.watch).toMatchObject({
      durationMs: 45 * minuteMs,
      warn: { p95Ms: 500, errorRatio: 0.01 },
      rollback: { errorRatio: 0.03, p95Ms: 5_000 },
    });
    expect(resolveEnvironment(pair, 'staging').policy.watch.rollback.errorRatio).toBe(0.02);
    expect(resolveEnvironment(pair, 'production').policy.watch.logPatterns).toEqual([
      '\\b(?:CRITICAL|FATAL|PANIC)\\b',
      'OutOfMemory',
    ]);
  });

  test('what every release is asked stays, whatever was stored before milder probes were refused', () => {
    const milder = {
      ...pairOf().repository,
      probes: [
        {
          name: 'health',
          kind: 'http',
          path: '/x',
          method: 'HEAD',
          expectStatus: 404,
          through: 'slot',
          versionField: 'v',
        },
        { name: 'container', kind: 'tcp', through: 'slot' },
        { name: 'front', kind: 'tcp', through: 'router' },
      ].map((probe) => ({ ...probe, retries: 100, interval: 60_000, timeout: 60_000 })),
    } as unknown as ReturnType<typeof pairOf>['repository'];
    const patience = { retries: 3, intervalMs: 2_000, timeoutMs: 5_000 };
    const [container, health, front, ...more] = resolveEnvironment(
      { ...pairOf(), repository: milder },
      'production',
    ).probes;
    expect(container).toEqual({ name: 'container', kind: 'container', through: 'both', ...patience });
    expect(health).toEqual({
      ...{ name: 'health', kind: 'http', through: 'both', ...patience },
      ...{ method: 'GET', path: '/health', expectStatus: 200, versionField: 'v' },
    });
    expect(front).toMatchObject({ name: 'front', retries: 100 });
    expect(more).toEqual([]);
  });

  test('what every release is asked can be made stricter by the repository, and is the word of the project where it has one', () => {
    const probes = `probes:
  - { name: health, kind: http, path: /health, retries: 0, interval: 1s, timeout: 1s, expectBody: ok, versionField: v }
`;
    const strict = pairOf({ repository: repositoryText + probes });
    expect(resolveEnvironment(strict, 'production').probes).toMatchObject([
      { name: 'container' },
      { name: 'health', retries: 0, intervalMs: 1_000, timeoutMs: 1_000, expectBody: 'ok', versionField: 'v' },
    ]);
    const fixed = `probes: [{ name: health, kind: http, path: /up, retries: 9, through: slot }]\n`;
    expect(resolveEnvironment(pairOf({ project: projectText + fixed }), 'production').probes).toMatchObject([
      { name: 'container' },
      { name: 'health', path: '/up', retries: 9, through: 'slot' },
    ]);
  });

  test('a service stops no slower than the environment allows', () => {
    const stopGraceOf = (grace: string): number =>
      resolveEnvironment(
        pairOf({ repository: repositoryText.replace('port: 8080', `port: 8080\n  stopGrace: ${grace}`) }),
        'staging',
      ).service.stopGraceMs;
    expect(stopGraceOf('5s')).toBe(5_000);
    expect(stopGraceOf('5m')).toBe(30_000);
  });

  test("the project's phase of migrations comes before the repository's", () => {
    const repository = `${repositoryText}migrations: { folder: db, phase: after-start }\n`;
    const database = 'database: { kind: postgres, url: { env: DATABASE } }';
    const project = projectText
      .replaceAll('target: { kind: docker }', `target: { kind: docker }\n    ${database}`)
      .replace('  staging:\n', '  staging:\n    migrations: { phase: after-switch }\n');
    const pair = pairOf({ repository, project });
    expect(resolveEnvironment(pair, 'production').migrations).toEqual({
      runner: 'sql',
      folder: 'db',
      phase: 'after-start',
    });
    expect(resolveEnvironment(pair, 'staging').policy.migrationPhase).toBe('after-switch');
    expect(resolveEnvironment(pair, 'staging').policy.backup.database).toBe(true);
  });

  test('settings of steps and build arguments of the project win', () => {
    const repository = repositoryText
      .replace('run:', 'env: { CI: mine, OWN: 1 }\n        run:')
      .replace('- name: app', '- name: app\n    args: { BASE: mine, OWN: x }');
    const project = `${projectText}steps: { env: { CI: theirs } }\nbuilds: { args: { BASE: theirs }, network: none }\n`;
    const { stages, images } = resolvePipeline(pairOf({ repository, project }));
    expect(stages[0]?.steps[0]?.env).toEqual({ CI: 'theirs', OWN: '1' });
    expect(images[0]).toMatchObject({ args: { BASE: 'theirs', OWN: 'x' }, network: 'none' });
  });
});

describe('steps', () => {
  const host = `${projectText}steps: { executor: host, secrets: { TOKEN: { env: CI_TOKEN } } }\n`;
  const repository = repositoryText.replace('run:', 'secrets: [TOKEN]\n        run:');

  test('run in a container unless the project says otherwise, with the image that is nearest', () => {
    const [step] = resolvePipeline(pairOf()).stages[0]?.steps ?? [];
    expect(step).toMatchObject({
      executor: 'container',
      image: 'node:24-slim',
      network: 'bridge',
      command: { kind: 'argv', argv: ['npm', 'test'] },
      stallAfterMs: 5 * minuteMs,
      timeoutMs: 20 * minuteMs,
      workdir: '.',
    });
  });

  test('run on the host where the project allows it, with the secrets they name', () => {
    const [step] = resolvePipeline(pairOf({ repository, project: host })).stages[0]?.steps ?? [];
    expect(step).toMatchObject({ executor: 'host', secrets: { TOKEN: { kind: 'env', name: 'CI_TOKEN' } } });
  });

  test('of a fork never run on the host and get no secret', () => {
    const [step] = resolvePipeline(pairOf({ repository, project: host }), { fork: true }).stages[0]?.steps ?? [];
    expect(step).toMatchObject({ executor: 'container', image: 'node:24-slim', secrets: {} });
    const bare = repository.replace('        image: node:24-slim\n', '');
    expect(() => resolvePipeline(pairOf({ repository: bare, project: host }), { fork: true })).toThrow(
      'a pull request from a fork never runs on the host',
    );
  });

  test.each([
    ['install', 10],
    ['quality', 14],
    ['security', 10],
    ['test', 20],
    ['anything', 20],
  ])('a stage named %s may take %i minutes, twice the upper nominal time', (name, minutes) => {
    const { stages } = resolvePipeline(
      pairOf({ repository: repositoryText.replace('- name: test', `- name: ${name}`) }),
    );
    expect(stages[0]?.timeoutMs).toBe(minutes * minuteMs);
    expect(stages[0]?.steps[0]?.timeoutMs).toBe(minutes * minuteMs);
  });

  test('images are named by registry, prefix and name', () => {
    expect(resolvePipeline(pairOf()).images[0]?.repository).toBe('registry.example:5000/shop/app');
    const project = projectText.replace('registry.example:5000', 'docker.io, prefix: team/shop');
    expect(resolvePipeline(pairOf({ project })).images[0]?.repository).toBe('docker.io/team/shop/app');
  });
});

describe('routes of a project', () => {
  test('by default lead where the specification says', () => {
    expect(
      routesOf(pairOf().project).map(({ on, ref, buildImages, environments }) => [on, ref, buildImages, environments]),
    ).toEqual([
      ['tag', 'v*.*.*', 'push', ['production']],
      ['push', 'main', 'push', ['production']],
      ['push', 'hotfix/**', 'push', ['staging', 'production']],
      ['push', 'release/**', 'push', ['staging']],
      ['push', 'develop', 'push', ['staging']],
      ['push', 'feature/**', 'validate', []],
      ['pull-request', '**', 'none', []],
      ['push', '**', 'none', []],
    ]);
  });

  test('by default leave out environments that there are not', () => {
    const project = projectText.slice(0, projectText.indexOf('  staging:'));
    const develop = routesOf(pairOf({ project }).project).find(({ ref }) => ref === 'develop');
    expect(develop).toMatchObject({ environments: [], buildImages: 'push' });
  });

  test('push images where they deploy, and build none otherwise', () => {
    const routes = routesOf(
      pairOf({ project: `${projectText}routes: [{ on: push, ref: main, environments: [staging] }, { on: push }]\n` })
        .project,
    );
    expect(routes).toEqual([
      { on: 'push', ref: 'main', environments: ['staging'], buildImages: 'push', priority: 'routine' },
      { on: 'push', ref: '**', environments: [], buildImages: 'none', priority: 'routine' },
    ]);
  });

  test('go one after the other where the project says so, or the route, which has the last word', () => {
    const modes = (yaml: string) =>
      routesOf(pairOf({ project: `${projectText}${yaml}\n` }).project).map(({ runs }) => runs);
    expect(new Set(modes(''))).toEqual(new Set([undefined]));
    expect(new Set(modes('runs: { mode: queue }'))).toEqual(new Set(['queue']));
    expect(
      modes(
        'runs: { mode: queue }\nroutes: [{ on: push, ref: main, runs: supersede }, { on: push, ref: x, runs: parallel }, { on: push }]',
      ),
    ).toEqual(['supersede', undefined, 'queue']);
    expect(pairOf({ project: `${projectText}runs: { mode: queue, timeout: 90m }\n` }).project.runs).toEqual({
      mode: 'queue',
      timeout: 5_400_000,
    });
    expect(pairOf().project.runs).toEqual({ mode: 'parallel', timeout: 86_400_000 });
  });

  test('whatever they are, are all of them, in their order, and lead any event to one of them or to a reason', () => {
    const ref = fc.constantFrom('main', '**', 'feature/**', 'v*.*.*', '{a,b}/*', 'x?');
    const paths = fc.array(fc.constantFrom('**/*.md', 'services/**', 'a'), { minLength: 1, maxLength: 3 });
    const row = fc.record(
      {
        on: fc.constantFrom('push', 'tag', 'pull-request', 'manual'),
        ref,
        environments: fc.subarray(['staging', 'production']),
        buildImages: fc.constant('push'),
        priority: fc.constantFrom('routine', 'hotfix'),
        emergency: fc.boolean(),
        into: ref,
        paths,
        ignorePaths: paths,
      },
      { requiredKeys: ['on'] },
    );
    const event = fc.record({
      kind: fc.constantFrom('push' as const, 'tag' as const, 'pull-request' as const, 'manual' as const),
      ref: fc.oneof(
        fc.constantFrom('refs/heads/main', 'refs/tags/v1.0.0', 'refs/pull/1/head', 'refs/heads/a/b'),
        fc.string(),
      ),
      after: fc.constantFrom('0'.repeat(40), 'a'.repeat(40)),
      into: fc.constantFrom('main', 'develop'),
    });
    const { project } = pairOf();
    fc.assert(
      fc.property(
        fc.array(row, { maxLength: 8 }),
        event,
        fc.option(fc.array(fc.string()), { nil: undefined }),
        (rows, what, changed) => {
          const table = routesOf({ ...project, routes: rows.map((one) => RouteDefinition.parse(one)) });
          expect(table.map(({ on, environments }) => [on, environments])).toEqual(
            rows.map(({ on, environments = [] }) => [on, environments]),
          );
          const decision = routeEvent(what, table, changed);
          if (decision.kind === 'run') expect(decision.route).toBe(table[decision.index]);
          else expect(decision.why).toMatch(/.{10,}/);
        },
      ),
    );
  });
});
