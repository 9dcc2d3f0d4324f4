import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createSourceActivities } from '../../../src/activities/source.ts';
import { readMachine } from '../../../src/effects/machine.ts';
import type { RunInput, RunPlan } from '../../../src/domain/run.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { activityEnvironment, createRunFixture, type RunFixture } from '../../support/run-fixture.ts';

const definition = `version: 1
tools: { git: ">=2.0" }
stages:
  - name: test
    steps: [{ name: unit, run: ["true"] }, { name: lint, shell: "exit 0" }]
images: [{ name: app }]
`;

let fixture: RunFixture;
let commit: string;

beforeAll(() => {
  fixture = createRunFixture();
  commit = fixture.origin.commit({ 'slipway.yaml': definition, 'a.txt': 'a\n' }, 'first\n\nbody');
});
afterAll(() => fixture.remove());

describe('preparing a run', () => {
  test('checks out the commit and says all that is needed to go on', async () => {
    const plan = await fixture.prepare(fixture.input(commit));
    expect(plan).toMatchObject({
      run: { project: 'hello', number: 1 },
      version: `1-${commit.slice(0, 7)}`,
      commit: { sha: commit, author: 'Ada Lovelace', message: 'first\n\nbody' },
      definition: expect.stringMatching(/^[0-9a-f]{64}$/),
      stages: [{ name: 'test', steps: ['unit', 'lint'], timeoutMs: 1_200_000 }],
      images: ['app'],
      buildImages: 'push',
      environments: [],
    });
    expect(readFileSync(join(plan.workspace.path, 'a.txt'), 'utf8')).toBe('a\n');
    expect(fixture.facts).toContain(`plan ${plan.version}`);
    expect(fixture.notices).toMatchObject([
      { event: 'started', level: 'info', key: 'hello/run/1/started', title: 'hello #1 has started' },
    ]);
    expect(fixture.log('prepare/checkout')).toContain(`commit ${commit} by Ada Lovelace`);
  });

  test('twice is the same run, in a clean workspace', async () => {
    const input = fixture.input(commit);
    const first = await fixture.prepare(input);
    writeFileSync(join(first.workspace.path, 'left-over'), '');
    const second = await fixture.prepare(input);
    expect(second).toEqual(first);
    expect(existsSync(join(second.workspace.path, 'left-over'))).toBe(false);
  });

  test('of a tag takes its version from it', async () => {
    const plan = await fixture.prepare(fixture.input(commit, { kind: 'tag', ref: 'refs/tags/v1.4.0' }));
    expect(plan.version).toBe('1.4.0');
  });

  test('is told where the commit is unknown', async () => {
    await expect(fixture.prepare(fixture.input('4'.repeat(40)))).rejects.toMatchObject({
      type: 'CommitNotFound',
      nonRetryable: true,
    });
  });

  test('shows every mistake of the definition at once', async () => {
    const wrong = fixture.origin.commit({ 'slipway.yaml': 'version: 2\nstages: [{ name: "a b" }]\nunknown: 1\n' });
    await expect(fixture.prepare(fixture.input(wrong))).rejects.toMatchObject({
      type: 'DefinitionInvalid',
      nonRetryable: true,
      message: expect.stringMatching(/slipway\.yaml:1:\d+ version[^]*slipway\.yaml:2:[^]*slipway\.yaml:3:/),
    });
  });

  test('does not follow a definition that leads out of the repository', async () => {
    const elsewhere = join(fixture.folder, 'secret.yaml');
    writeFileSync(elsewhere, 'version: 1\ntop-secret: 1\n');
    fixture.origin.commit({ 'slipway.yaml': null });
    symlinkSync(elsewhere, join(fixture.origin.path, 'slipway.yaml'));
    const linked = fixture.origin.commit({});
    await expect(fixture.prepare(fixture.input(linked))).rejects.toMatchObject({
      type: 'DefinitionInvalid',
      message: 'the commit has no slipway.yaml',
    });
  });

  test.each([
    ['ToolMissing', '{ no-such-tool: ">=1" }', /no-such-tool >=1 is not there/],
    ['ToolTooOld', '{ git: ">=99" }', /git is 2\.\d+\.\d+, wanted >=99/],
  ])('ends with %s where the worker does not do', async (type, tools, message) => {
    const asked = fixture.origin.commit({ 'slipway.yaml': null });
    expect(asked).toBeTruthy();
    const demanding = fixture.origin.commit({ 'slipway.yaml': `version: 1\ntools: ${tools}\n` });
    await expect(fixture.prepare(fixture.input(demanding))).rejects.toMatchObject({
      type,
      nonRetryable: true,
      message: expect.stringMatching(message),
    });
  });

  test('warns about a machine that has too little of everything, and goes on', async () => {
    const wishes = '{ cores: 1024, memory: 1000000G, disk: 1000000000G }';
    const demanding = fixture.origin.commit({ 'slipway.yaml': `version: 1\nmachine: ${wishes}\n` });
    const source = createSourceActivities({ ...fixture.source, readMachine });
    const asked = fixture.input(demanding);
    const plan: RunPlan = await activityEnvironment().run((input: RunInput) => source.prepareRun(input), asked);
    expect(plan.warnings).toEqual([
      expect.stringMatching(/^this worker has \d+ cores?, wanted 1024: give it more, or set `machine\.cores`/),
      expect.stringMatching(/^this worker has [\d.]+ [MG]B of memory, wanted 1000000\.0 GB: .*`machine\.memory`/),
      expect.stringMatching(
        /^[\d.]+ [MG]B are free on the disk of the workspaces, wanted .*: make room, .*`machine\.disk`/,
      ),
    ]);
    const log = fixture.log('prepare/checkout');
    for (const warning of plan.warnings ?? []) expect(log).toContain(`warning: ${warning}`);
  });

  test('warns about nothing where the machine will do', async () => {
    const plan = await fixture.prepare(fixture.input(fixture.origin.commit({ 'slipway.yaml': definition })));
    expect(plan).not.toHaveProperty('warnings');
  });

  test('goes where its parameters lead: to staging alone, by default of the repository, or nowhere', async () => {
    const asks = `version: 1
parameters: { DEPLOY_ENV: { type: choice, options: [production, staging, qa] } }
images: [{ name: app }]
service: { image: app, port: 8080 }
`;
    const asked = fixture.origin.commit({ 'slipway.yaml': asks });
    const before = fixture.projectYaml;
    const environment = (name: string, port: number): string =>
      `  ${name}: { target: { kind: docker }, router: { kind: haproxy, listen: { port: ${port} }, slots: { blue: ${port + 1}, green: ${port + 2} } } }`;
    const route = (name: string): string =>
      `  - { on: push, ref: main, when: { parameter: { DEPLOY_ENV: [${name}] } }, environments: [${name}] }`;
    const lines = ['', 'environments:', environment('staging', 8_100), environment('production', 8_200)];
    fixture.projectYaml += [...lines, 'routes:', route('staging'), route('production')].join('\n');
    const prepare = async (given: Readonly<Record<string, string>> | undefined, key: string): Promise<RunPlan> => {
      const event = { kind: 'manual' } as const;
      const more = { key, ...(given === undefined ? {} : { parameters: given }) };
      return await fixture.prepare(fixture.input(asked, event, more));
    };
    try {
      expect(await prepare({ DEPLOY_ENV: 'staging' }, 'to-staging')).toMatchObject({ environments: ['staging'] });
      expect(await prepare({ DEPLOY_ENV: 'production' }, 'to-production')).toMatchObject({
        environments: ['production'],
      });
      expect(await prepare(undefined, 'by-default')).toMatchObject({ environments: ['production'] });
      expect(await prepare({ DEPLOY_ENV: 'qa' }, 'to-nowhere')).toMatchObject({
        environments: [],
        skipped: 'No route for main is for these parameters: DEPLOY_ENV `qa`.',
      });
      await expect(prepare({ DEPLOY_ENV: 'prod' }, 'to-a-mistake')).rejects.toMatchObject({ type: 'InvalidInput' });
    } finally {
      fixture.projectYaml = before;
    }
  });

  test('chooses the groups of images that its route and parameters name, and says which it leaves out', async () => {
    const groups = `version: 1
images: [{ name: app }, { name: api, group: services }, { name: grafana, group: monitoring }, { name: extra, group: extras }]
imageGroups: { extras: { when: { parameter: { EXTRAS: [true] } } } }
`;
    const mixed = fixture.origin.commit({ 'slipway.yaml': groups });
    const before = fixture.projectYaml;
    fixture.projectYaml += '\nroutes: [{ on: push, buildImages: build, imageGroups: [services, extras] }]\n';
    try {
      const plan = await fixture.prepare(fixture.input(mixed));
      expect(plan.images).toEqual(['app', 'api']);
      const log = fixture.log('prepare/checkout');
      expect(log).toContain('image grafana of monitoring is not built: The route builds services, extras');
      expect(log).toContain('image extra of extras is not built: The run has no parameter EXTRAS.');
      // As after a restart of the worker, when only the plan and the documents are left.
      fixture.source.pipelines.forget(plan.run);
      const { pipeline } = await fixture.source.pipelines.of(plan);
      expect(pipeline.images.map(({ name }) => name)).toEqual(['app', 'api']);
      const asked = fixture.input(mixed, { ref: 'refs/heads/other' }, { parameters: { EXTRAS: 'true' } });
      expect((await fixture.prepare(asked)).images).toEqual(['app', 'api', 'extra']);
    } finally {
      fixture.projectYaml = before;
    }
  });

  test('does not go where the image of its service is left out', async () => {
    const left = fixture.origin.commit({
      'slipway.yaml': `version: 1
images: [{ name: api, group: services }]
imageGroups: { services: { when: { branch: [main] } } }
service: { image: api, port: 8080 }
`,
    });
    const before = fixture.projectYaml;
    fixture.projectYaml += `
environments: { staging: { target: { kind: docker }, router: { kind: haproxy, listen: { port: 8081 }, slots: { blue: 18082, green: 18083 } } } }
routes: [{ on: push, environments: [staging] }]
`;
    try {
      expect(await fixture.prepare(fixture.input(left))).toMatchObject({ images: ['api'], environments: ['staging'] });
      await expect(fixture.prepare(fixture.input(left, { ref: 'refs/heads/develop' }))).rejects.toMatchObject({
        type: 'DefinitionInvalid',
        nonRetryable: true,
        message: expect.stringMatching(/^api goes to staging, but this run does not build it: The branch is develop/),
      });
    } finally {
      fixture.projectYaml = before;
    }
  });

  test('of an unknown project is refused', async () => {
    await expect(fixture.prepare({ ...fixture.input(commit), project: 'other' })).rejects.toMatchObject({
      type: 'NotFound',
    });
  });
});

describe('giving the workspace back', () => {
  test('removes it, and again is no error', async () => {
    const activities = createSourceActivities(fixture.source);
    const { run, workspace } = await fixture.prepare(fixture.input(commit));
    for (let times = 0; times < 2; times += 1) {
      await activityEnvironment().run(() => activities.releaseWorkspace({ run, workspace }));
      expect(existsSync(dirname(workspace.path))).toBe(false);
    }
  });
});

test('a store that refuses is told of when nothing works in the checkout any more', async () => {
  const order: string[] = [];
  const { store, repositories } = fixture.source;
  const activities = createSourceActivities({
    ...fixture.source,
    store: {
      ...store,
      openRun: () => Promise.reject(new ProviderError('StoreUnavailable', 'the store is away')),
    },
    repositories: {
      ...repositories,
      checkOut: ({ signal }) =>
        new Promise((_, reject) => {
          signal?.addEventListener('abort', () => {
            setImmediate(() => {
              order.push('the checkout has ended');
              reject(signal.reason as Error);
            });
          });
        }),
    },
  });
  await expect(
    activityEnvironment()
      .run(() => activities.prepareRun(fixture.input(commit)))
      .finally(() => order.push('the failure is told')),
  ).rejects.toMatchObject({ type: 'StoreUnavailable' });
  expect(order).toEqual(['the checkout has ended', 'the failure is told']);
});

describe('a repository that cannot be reached', () => {
  let before: string;
  beforeEach(() => {
    before = fixture.projectYaml;
  });
  test('is tried again', async () => {
    fixture.projectYaml = before.replace(/file:\/\/[^"]+/, 'file:///nowhere/at-all');
    const unknown = fixture.input('5'.repeat(40));
    await expect(fixture.prepare(unknown)).rejects.toMatchObject({
      type: 'RepositoryUnreachable',
      nonRetryable: false,
    });
    fixture.projectYaml = before;
  });
});

describe('a route that looks at what changed', () => {
  const skippedPlan = { stages: [], images: [], environments: [], buildImages: 'none' };
  let own: RunFixture;
  let base: string;
  beforeAll(() => {
    own = createRunFixture();
    own.projectYaml += `\nroutes:\n  - { on: push, ref: main, paths: ['services/**'], ignorePaths: ['**/*.md'] }\n  - { on: pull-request, paths: ['services/**'] }\n`;
    base = own.origin.commit({ 'slipway.yaml': definition, 'services/a.js': '1\n' });
  });
  afterAll(() => own.remove());

  test('runs what touches its paths, and says why it does not run the rest', async () => {
    const inside = own.origin.commit({ 'services/a.js': '2\n' });
    expect((await own.prepare(own.input(inside, { before: base }))).skipped).toBeUndefined();
    const outside = own.origin.commit({ 'docs/x.txt': 'x\n', 'services/README.md': 'x\n' });
    const plan = await own.prepare(own.input(outside, { before: inside }));
    expect(plan).toMatchObject({ ...skippedPlan, skipped: expect.stringContaining('2 changed paths') });
    expect(own.log('prepare/checkout')).toContain('nothing is run');
    // Two pushes in one: the first of them counts.
    expect((await own.prepare(own.input(outside, { before: base }))).skipped).toBeUndefined();
  });

  test('runs a new branch, and one that was put on something that is gone', async () => {
    const head = own.origin.commit({ 'docs/y.txt': 'y\n' });
    expect((await own.prepare(own.input(head))).skipped).toBeUndefined();
    expect((await own.prepare(own.input(head, { before: '7'.repeat(40) }))).skipped).toBeUndefined();
  });

  test('looks at all that a pull request would bring, and at nothing that others brought', async () => {
    own.origin.git('checkout', '--quiet', '-b', 'better');
    const early = own.origin.commit({ 'services/a.js': '3\n' });
    const late = own.origin.commit({ 'docs/z.txt': 'z\n' });
    const event = { kind: 'pull-request', ref: 'refs/pull/7/head', from: 'refs/heads/better', into: 'main' } as const;
    expect((await own.prepare(own.input(late, { ...event, before: early }))).skipped).toBeUndefined();
    own.origin.git('checkout', '--quiet', '-b', 'papers', 'main');
    const papers = own.origin.commit({ 'docs/p.txt': 'p\n' });
    own.origin.git('checkout', '--quiet', 'main');
    own.origin.commit({ 'services/a.js': '4\n' });
    expect(await own.prepare(own.input(papers, { ...event, from: 'refs/heads/papers' }))).toMatchObject(skippedPlan);
  });
});

describe('a project whose runs go one after the other', () => {
  let own: RunFixture;
  let head: string;
  beforeAll(() => {
    own = createRunFixture();
    own.projectYaml += `\nruns: { mode: queue, timeout: 1h }\nroutes:\n  - { on: push, ref: 'fast/*', runs: supersede }\n  - { on: push, ref: 'free/*', runs: parallel }\n  - { on: push }\n`;
    head = own.origin.commit({ 'slipway.yaml': definition });
  });
  afterAll(() => own.remove());

  test.each([
    ['refs/heads/main', { mode: 'queue', timeoutMs: 3_600_000 }],
    ['refs/heads/fast/one', { mode: 'supersede', timeoutMs: 3_600_000 }],
    ['refs/heads/free/one', undefined],
  ])('has %s in its plan by the route', async (ref, turn) => {
    expect((await own.prepare(own.input(head, { ref }))).turn).toEqual(turn);
  });

  test('lets what is only to check, and what is skipped, wait for nobody', async () => {
    const input = own.input(head);
    expect((await own.prepare({ ...input, key: `${input.key}-nightly`, checksOnly: true })).turn).toBeUndefined();
    const quiet = own.origin.commit({ 'slipway.yaml': definition, 'a.txt': 'b\n' }, 'typo [skip ci]');
    expect((await own.prepare(own.input(quiet))).turn).toBeUndefined();
  });
});

test('a commit that asks to be skipped is, unless somebody asks for it by hand', async () => {
  const quiet = fixture.origin.commit({ 'slipway.yaml': definition, 'a.txt': 'b\n' }, 'typo [skip ci]');
  expect(await fixture.prepare(fixture.input(quiet))).toMatchObject({
    stages: [],
    skipped: expect.stringContaining('skipped'),
  });
  expect((await fixture.prepare(fixture.input(quiet, { kind: 'manual' }))).skipped).toBeUndefined();
  expect(
    (await fixture.prepare(fixture.input(quiet, { kind: 'tag', ref: 'refs/tags/v3.0.0' }))).skipped,
  ).toBeUndefined();
});

describe('a run by hand', () => {
  let own: RunFixture;
  let first: string;
  let second: string;
  let stray: string;
  beforeAll(() => {
    own = createRunFixture();
    first = own.origin.commit({ 'slipway.yaml': definition, 'a.txt': '1\n' });
    second = own.origin.commit({ 'a.txt': '2\n' });
    own.origin.git('tag', 'v1.0.0', second);
    // As a forge keeps the commits of forks: no branch leads to it, and whoever knows its hash is given it.
    own.origin.git('checkout', '--quiet', '--detach', first);
    stray = own.origin.commit({ 'a.txt': 'mine\n' });
    own.origin.git('update-ref', 'refs/pull/7/head', stray);
    own.origin.git('checkout', '--quiet', 'main');
  });
  afterAll(() => own.remove());
  const asked = (commit: string, ref: string): RunInput => own.input(commit, { kind: 'manual', ref });

  test('is of any commit that its branch leads to, and of that of its tag', async () => {
    for (const commit of [first, second]) {
      expect((await own.prepare(asked(commit, 'refs/heads/main'))).commit.sha).toBe(commit);
    }
    expect((await own.prepare(asked(second, 'refs/tags/v1.0.0'))).version).toBe('1.0.0');
  });

  test.each([
    [
      'a commit that its branch does not lead to',
      () => stray,
      'refs/heads/main',
      /refs\/heads\/main does not lead to /,
    ],
    ['a commit before its tag', () => first, 'refs/tags/v1.0.0', /refs\/tags\/v1\.0\.0 is not /],
    ['a commit after its tag', () => stray, 'refs/tags/v1.0.0', /is not /],
    ['a branch that is not there', () => second, 'refs/heads/gone', /has no refs\/heads\/gone/],
  ])('of %s is refused before anything of it is read', async (_, commit, ref, message) => {
    const before = [...own.facts];
    await expect(own.prepare(asked(commit(), ref))).rejects.toMatchObject({
      type: 'InvalidInput',
      nonRetryable: true,
      message: expect.stringMatching(message),
    });
    expect(own.facts).toEqual(before);
  });

  test('that names no commit of its own is not touched by it: a forge knows what was pushed', async () => {
    expect((await own.prepare(own.input(stray))).commit.sha).toBe(stray);
  });
});

describe('the parameters that a repository declares', () => {
  const declared = `${definition}parameters:
  DEPLOY_ENV: { type: choice, options: [staging, production] }
  RUN_TESTS: { type: boolean, default: true }
  count: { type: number, min: 1, max: 9 }
`;
  let typed: string;
  beforeAll(() => {
    typed = fixture.origin.commit({ 'slipway.yaml': declared });
  });
  const given = async (kind: 'manual' | 'push' | 'schedule', parameters?: Record<string, string>): Promise<unknown> => {
    const input = { ...fixture.input(typed, { kind }), ...(parameters === undefined ? {} : { parameters }) };
    const plan = await fixture.prepare(input);
    // As an activity of another process of this machine finds them.
    fixture.source.pipelines.forget(plan.run);
    return (await fixture.source.pipelines.of(plan)).input.parameters;
  };

  test('are filled in and kept for every later stage', async () => {
    expect(await given('manual', { count: '3', RUN_TESTS: 'false' })).toEqual({
      DEPLOY_ENV: 'staging',
      RUN_TESTS: 'false',
      count: '3',
    });
    // Nobody could have given the one without a default to a push.
    expect(await given('push')).toEqual({ DEPLOY_ENV: 'staging', RUN_TESTS: 'true' });
  });

  test('are what conditions see, also where nobody has given them', async () => {
    const conditional = fixture.origin.commit({
      'slipway.yaml': declared.replace(
        'stages:\n',
        `stages:
  - { name: tests, when: { parameter: { RUN_TESTS: [true] } }, steps: [{ name: x, run: ["true"] }] }
  - { name: none, when: { parameter: { RUN_TESTS: [false] } }, steps: [{ name: x, run: ["true"] }] }
  - { name: moon, when: { parameter: { DEPLOY_ENV: [production] } }, steps: [{ name: x, run: ["true"] }] }
  - { name: few, when: { parameter: { count: [3] } }, steps: [{ name: x, run: ["true"] }] }
`,
      ),
    });
    const kept = async (kind: 'manual' | 'push', parameters: Record<string, string>): Promise<readonly string[]> => {
      const plan = await fixture.prepare({ ...fixture.input(conditional, { kind }), parameters });
      const skipped = plan.stages.filter(({ skip }) => skip !== undefined).map(({ name }) => name);
      // Resolved again by an activity of another process, they are the same.
      fixture.source.pipelines.forget(plan.run);
      const { pipeline } = await fixture.source.pipelines.of(plan);
      expect(pipeline.stages.filter(({ skip }) => skip !== undefined).map(({ name }) => name)).toEqual(skipped);
      return skipped;
    };
    expect(await kept('push', {})).toEqual(['none', 'moon', 'few']);
    expect(await kept('manual', { count: '3' })).toEqual(['none', 'moon']);
    expect(await kept('manual', { count: '3', RUN_TESTS: 'false', DEPLOY_ENV: 'production' })).toEqual(['tests']);
  });

  test('refuse everything that does not fit, at once', async () => {
    for (const kind of ['manual', 'schedule'] as const) {
      await expect(given(kind, { DEPLOY_ENV: 'moon', RUN_TESTS: 'no', other: '1' })).rejects.toMatchObject({
        type: 'InvalidInput',
        nonRetryable: true,
        message: expect.stringMatching(/other[^]*moon[^]*staging, production[^]*RUN_TESTS[^]*count must be given/),
      });
    }
  });
});

test('a condition tells a run by schedule from one that a person has started', async () => {
  const stage = (name: string, event: string): string =>
    `  - { name: ${name}, when: { event: [${event}] }, steps: [{ name: x, run: ["true"] }] }\n`;
  const conditional = fixture.origin.commit({
    'slipway.yaml': `version: 1\nstages:\n${stage('nightly', 'schedule')}${stage('load', 'manual')}`,
  });
  const left = async (kind: 'manual' | 'schedule'): Promise<readonly string[]> =>
    (await fixture.prepare(fixture.input(conditional, { kind }))).stages
      .filter(({ skip }) => skip === undefined)
      .map(({ name }) => name);
  expect(await left('schedule')).toEqual(['nightly']);
  expect(await left('manual')).toEqual(['load']);
});

test('a run by schedule is checks only, whatever its route says', async () => {
  const input = { ...fixture.input(commit, { kind: 'schedule' }), key: 'scheduled', checksOnly: true as const };
  expect(await fixture.prepare(input)).toMatchObject({
    environments: [],
    buildImages: 'none',
    stages: [{ name: 'test' }],
  });
});

describe('a pull request whose route leads to an environment', () => {
  let own: RunFixture;
  let head: string;
  beforeAll(() => {
    own = createRunFixture();
    own.projectYaml += `
environments:
  review: { target: { kind: docker }, router: { kind: haproxy, listen: { port: 8081 }, slots: { blue: 18082, green: 18083 } } }
routes:
  - { on: pull-request, into: main, environments: [review] }
  - { on: pull-request, into: next, buildImages: validate }
  - { on: push, environments: [review] }
`;
    const inContainers = `${definition}image: "alpine:3"\nservice: { image: app, port: 8080 }\n`;
    head = own.origin.commit({ 'slipway.yaml': inContainers });
    own.origin.git('update-ref', 'refs/pull/7/head', head);
  });
  afterAll(() => own.remove());

  const request = { kind: 'pull-request', ref: 'refs/pull/7/head', pullRequest: 7, into: 'main' } as const;

  test('of an own branch goes there', async () => {
    const plan = await own.prepare(own.input(head, { ...request, fork: false }));
    expect(plan).toMatchObject({ environments: ['review'], buildImages: 'push' });
    expect(plan).not.toHaveProperty('warnings');
  });

  test.each<[string, Parameters<RunFixture['input']>[1]]>([
    ['of a fork', { ...request, fork: true }],
    ['of which nobody says where it comes from', request],
    ['that another project starts by hand', { kind: 'manual', ref: request.ref }],
    ['of a fork, whatever else it says', { kind: 'push', fork: true }],
  ])('%s is checked and built, and goes nowhere', async (what, event) => {
    for (const forks of ['ask', 'allow']) {
      const before = own.projectYaml;
      own.projectYaml += `pullRequests: { forks: ${forks} }\n`;
      try {
        const asked = own.input(head, event);
        const plan = await own.prepare({ ...asked, key: `${asked.key}-${forks}-${what}` });
        expect(plan).toMatchObject({
          stages: [{ name: 'test' }],
          images: ['app'],
          buildImages: 'build',
          environments: [],
        });
        expect(plan.warnings).toEqual([expect.stringMatching(/from a fork.* not deployed to review.* not pushed/)]);
        expect(own.log('prepare/checkout')).toContain('goes to: nowhere');
      } finally {
        own.projectYaml = before;
      }
    }
  });

  test('of a fork that would go nowhere anyway is not warned of', async () => {
    const plan = await own.prepare(own.input(head, { ...request, into: 'next', fork: true }));
    expect(plan).toMatchObject({ buildImages: 'validate', environments: [] });
    expect(plan).not.toHaveProperty('warnings');
  });
});

describe('the urgency of a run', () => {
  let own: RunFixture;
  let base: string;
  beforeAll(() => {
    own = createRunFixture();
    own.projectYaml += `
environments:
  staging: { target: { kind: docker }, router: { kind: haproxy, listen: { port: 8081 }, slots: { blue: 18082, green: 18083 } } }
routes:
  - { on: push, ref: main, paths: ['urgent/**'], environments: [staging], priority: hotfix, emergency: true }
  - { on: push, ref: main, environments: [staging] }
`;
    base = own.origin.commit({ 'slipway.yaml': `${definition}service: { image: app, port: 8080 }\n`, 'a.txt': 'a\n' });
  });
  afterAll(() => own.remove());

  test('is that of the route which its changed paths have chosen', async () => {
    const other = own.origin.commit({ 'a.txt': 'b\n' });
    const urgent = own.origin.commit({ 'urgent/a.txt': 'a\n' });
    const routine = await own.prepare(own.input(other, { before: base }));
    expect(routine).toMatchObject({ environments: ['staging'] });
    expect(routine.urgency).toEqual({ priority: 'routine' });
    const hotfix = await own.prepare(own.input(urgent, { before: other }));
    expect(hotfix.urgency).toEqual({ priority: 'hotfix', emergency: true });
  });

  test('is not in the plan of a run that goes nowhere', async () => {
    const input = own.input(base);
    expect(await own.prepare({ ...input, key: `${input.key}-checks`, checksOnly: true })).not.toHaveProperty('urgency');
  });
});
