import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { RunInput, RunPlan, SourceEvent } from '../../../src/domain/run.ts';
import type { StageScope } from '../../../src/providers/executors/port.ts';
import { activityEnvironment, createRunFixture, type RunFixture } from '../../support/run-fixture.ts';
import { until } from '../../support/until.ts';

let fixture: RunFixture;

beforeEach(() => {
  fixture = createRunFixture();
});
afterEach(() => fixture.remove());

async function prepare(
  stages: string,
  files: Record<string, string> = {},
  event: Partial<SourceEvent> = {},
  more: Partial<RunInput> = {},
): Promise<RunPlan> {
  const commit = fixture.origin.commit({ 'slipway.yaml': `version: 1\nstages:\n${stages}`, ...files });
  return fixture.prepare(fixture.input(commit, event, more));
}

/** Begins a stage and takes its worker away as soon as a file is there. */
async function interrupt(plan: RunPlan, stage: string, file: string): Promise<void> {
  const environment = activityEnvironment();
  const running = fixture.runStage(plan, stage, environment).catch((error: unknown) => error);
  await until(() => existsSync(join(plan.workspace.path, file)));
  environment.cancel('WORKER_SHUTDOWN');
  expect(await running).toMatchObject({ name: 'CancelledFailure' });
}

test('a step that was killed in its container is told of the memory it may have, any other is not', async () => {
  const own = createRunFixture({
    executors: {
      container: {
        kind: 'container',
        open: () =>
          Promise.resolve({
            run: ({ step }) => {
              const exitCode = step.name === 'killed' ? 137 : 1;
              return Promise.resolve({ exitCode, durationMs: 1, tail: '', timedOut: false, stalled: false });
            },
            close: () => Promise.resolve(),
          }),
      },
    },
  });
  try {
    own.projectYaml = own.projectYaml.replace('  executor: host\n', '');
    const stage = (name: string): string =>
      `  - { name: ${name}, steps: [{ name: ${name}, image: x, run: [x], resources: { memory: 512Mi } }] }\n`;
    const commit = own.origin.commit({ 'slipway.yaml': `version: 1\nstages:\n${stage('killed')}${stage('bad')}` });
    const plan = await own.prepare(own.input(commit));
    expect((await own.runStage(plan, 'killed')).detail).toContain('more than the 512 MiB of memory');
    expect((await own.runStage(plan, 'bad')).detail).not.toContain('memory');
  } finally {
    own.remove();
  }
});

test('images of steps are had with the login of the project, and those of a fork as anybody has them', async () => {
  const logins: StageScope['login'][] = [];
  const own = createRunFixture({
    executors: {
      container: {
        kind: 'container',
        open: ({ login }) => {
          logins.push(login);
          const end = { exitCode: 0, durationMs: 1, tail: '', timedOut: false, stalled: false };
          return Promise.resolve({ run: () => Promise.resolve(end), close: () => Promise.resolve() });
        },
      },
    },
  });
  try {
    own.projectYaml = own.projectYaml.replace('  executor: host\n', '');
    const definition = 'version: 1\nstages:\n  - { name: test, steps: [{ name: one, image: x, run: [x] }] }\n';
    const commit = own.origin.commit({ 'slipway.yaml': definition });
    const fork = { kind: 'pull-request', ref: 'refs/heads/main', pullRequest: 7, fork: true } as const;
    for (const event of [{}, fork]) {
      own.secrets.clear();
      await own.runStage(await own.prepare(own.input(commit, event)), 'test');
    }
    const [pushed, forked] = logins;
    expect(forked).toBe('nobody');
    expect(pushed).toMatchObject({ address: '127.0.0.1:5000' });
    const { signal } = new AbortController();
    expect(typeof pushed === 'object' ? await pushed.read(signal) : undefined).toMatchObject({ username: 'ci' });
  } finally {
    own.remove();
  }
});

describe('steps of a parallel stage', () => {
  test('run at once', async () => {
    // Each waits for the other: one after the other they would wait for ever.
    const plan = await prepare(`
  - name: test
    parallel: true
    steps:
      - { name: one, shell: 'touch one; until [ -e two ]; do sleep 0.02; done', timeout: 20s }
      - { name: two, shell: 'touch two; until [ -e one ]; do sleep 0.02; done', timeout: 20s }
      - { name: after, run: [ls, one, two], when: { outcome: always } }
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report.verdict).toBe('passed');
    expect(report.steps.map(({ name }) => name)).toEqual(['one', 'two', 'after']);
    expect(fixture.log('test/after')).toBe('one\ntwo\n');
  });

  test('no more of them at once than the project allows', async () => {
    fixture.projectYaml = fixture.projectYaml.replace('executor: host', 'executor: host\n  concurrency: 2');
    const busy = 'echo + >> log; sleep 0.2; echo - >> log';
    const steps = ['a', 'b', 'c', 'd'].map((name) => `      - { name: ${name}, shell: '${busy}' }`).join('\n');
    const plan = await prepare(`  - name: test\n    parallel: true\n    steps:\n${steps}\n`);
    await fixture.runStage(plan, 'test');
    let [running, most] = [0, 0];
    for (const line of readFileSync(join(plan.workspace.path, 'log'), 'utf8').trim().split('\n')) {
      running += line === '+' ? 1 : -1;
      most = Math.max(most, running);
    }
    expect([running, most]).toEqual([0, 2]);
  });

  test('are ended when one beside them fails, which is the one that is told of', async () => {
    const plan = await prepare(`
  - name: test
    parallel: true
    steps:
      - { name: slow, shell: 'touch slow; sleep 60' }
      - { name: bad, shell: 'until [ -e slow ]; do sleep 0.02; done; echo oh no; exit 3' }
      - { name: sad, shell: 'touch sad', when: { outcome: failure } }
`);
    const began = performance.now();
    const report = await fixture.runStage(plan, 'test');
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(report).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('bad ended with status 3'),
      steps: [
        { name: 'slow', verdict: 'inconclusive', detail: 'Ended because bad failed.' },
        { name: 'bad', verdict: 'failed' },
        { name: 'sad', verdict: 'passed' },
      ],
    });
  });

  test('are let finish where `failFast` is off', async () => {
    const plan = await prepare(`
  - name: test
    parallel: true
    failFast: false
    steps:
      - { name: bad, shell: 'touch bad; exit 3' }
      - { name: slow, shell: 'until [ -e bad ]; do sleep 0.02; done; sleep 0.3; touch finished' }
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report.steps.map(({ verdict }) => verdict)).toEqual(['failed', 'passed']);
    expect(existsSync(join(plan.workspace.path, 'finished'))).toBe(true);
  });
});

describe('what runs whatever happened', () => {
  const stages = (first: string): string => `
  - name: test
    timeout: 2s
    steps:
      - { name: first, ${first} }
      - { name: second, run: [touch, second] }
      - { name: explain, run: [touch, explained], when: { outcome: failure } }
      - { name: clean, run: [touch, cleaned], when: { outcome: always } }
`;
  test.each([
    ['after a failure', 'run: ["false"]', ['first', 'explain', 'clean'], 'failed'],
    ['when the time of the stage is over', 'run: [sleep, "60"]', ['first', 'explain', 'clean'], 'failed'],
    ['when nothing failed', 'run: ["true"]', ['first', 'second', 'clean'], 'passed'],
  ])('%s', async (_, first, expected, verdict) => {
    const plan = await prepare(stages(first));
    const report = await fixture.runStage(plan, 'test');
    expect(report.steps.map(({ name }) => name)).toEqual(expected);
    expect(report.verdict).toBe(verdict);
  });
});

describe('a condition', () => {
  test('leaves a step out, and a stage without any step is inconclusive', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - { name: unit, run: ["true"] }
      - { name: publish, run: [touch, published], when: { branch: [release] } }
  - name: other
    steps: [{ name: publish, run: [touch, published], when: { event: [tag] } }]
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report.verdict).toBe('passed');
    expect(report.steps[1]).toMatchObject({
      verdict: 'inconclusive',
      skipped: true,
      detail: 'The branch is main, not release.',
    });
    expect(await fixture.runStage(plan, 'other')).toMatchObject({ verdict: 'inconclusive', skipped: true });
    expect(existsSync(join(plan.workspace.path, 'published'))).toBe(false);
  });

  test('for paths looks at what differs from the commit before', async () => {
    const stages = `
  - name: docs
    when: { path: [docs/**] }
    steps: [{ name: x, run: ["true"] }]
  - name: code
    when: { path: [src/**] }
    steps: [{ name: x, run: ["true"] }]
`;
    const before = fixture.origin.commit({
      'slipway.yaml': `version: 1\nstages:\n${stages}`,
      'src/a': '1',
      'docs/a': '1',
    });
    await fixture.prepare(fixture.input(before));
    const plan = await prepare(stages, { 'src/a': '2' }, { before });
    expect(plan.stages.map(({ name, skip }) => [name, skip])).toEqual([
      ['docs', 'Nothing changed in docs/**.'],
      ['code', undefined],
    ]);
    // A new branch: nobody knows, so everything runs.
    expect((await prepare(stages)).stages.map(({ skip }) => skip)).toEqual([undefined, undefined]);
  });

  test('for parameters looks at those of the run, which steps have too', async () => {
    const stages = `
  - name: test
    when: { parameter: { target: [eu] } }
    steps: [{ name: x, shell: 'echo "$SLIPWAY_PARAMETER_TARGET"' }]
`;
    const plan = await prepare(stages, {}, { kind: 'manual' }, { parameters: { target: 'eu' } });
    await fixture.runStage(plan, 'test');
    expect(fixture.log('test/x')).toBe('eu\n');
    expect((await prepare(stages)).stages[0]?.skip).toBe('The run has no parameter target.');
  });
});

describe('a step that is tried again', () => {
  const counting = (exit: number): string => `echo x >> tries; [ $(wc -l < tries) -ge 3 ] || exit ${exit}`;

  test('passes as soon as a try does', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: flaky, shell: '${counting(7)}', retry: { attempts: 5, backoff: 10ms, on: [7] } }]
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report).toMatchObject({ verdict: 'passed', steps: [{ verdict: 'passed', tries: 3 }] });
    expect(fixture.log('test/flaky')).toMatch(/status 7.*Try 2 of 5.*Try 3 of 5/s);
  });

  test('is not where it ends with another status, nor more often than it may be', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: flaky, shell: '${counting(1)}', retry: { attempts: 5, backoff: 10ms, on: [7] } }]
  - name: often
    steps: [{ name: never, shell: 'echo x >> often; exit 1', retry: { attempts: 2, backoff: 10ms } }]
`);
    expect(await fixture.runStage(plan, 'test')).toMatchObject({ verdict: 'failed' });
    expect(readFileSync(join(plan.workspace.path, 'tries'), 'utf8')).toBe('x\n');
    expect(await fixture.runStage(plan, 'often')).toMatchObject({ verdict: 'failed', steps: [{ tries: 2 }] });
    expect(readFileSync(join(plan.workspace.path, 'often'), 'utf8')).toBe('x\nx\n');
  });

  test('has no more tries for the death of the worker, where it goes on in the same files', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - name: flaky
        shell: 'echo x >> tries; [ $(wc -l < tries) = 1 ] && exit 1; [ $(wc -l < tries) = 2 ] && { touch waiting; sleep 60; }; exit 1'
        resume: true
        retry: { attempts: 2, backoff: 10ms }
`);
    await interrupt(plan, 'test', 'waiting');
    const report = await fixture.runStage(plan, 'test', activityEnvironment(2));
    expect(report).toMatchObject({ verdict: 'failed', steps: [{ tries: 2 }] });
    expect(readFileSync(join(plan.workspace.path, 'tries'), 'utf8')).toBe('x\nx\nx\n');
  });

  test('ends at once with an abort', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: flaky, shell: 'touch tried; exit 1', retry: { backoff: 60s } }]
`);
    const began = performance.now();
    await interrupt(plan, 'test', 'tried');
    expect(performance.now() - began).toBeLessThan(10_000);
  });
});

describe('outputs', () => {
  test('of a step are variables of later steps, also in later stages', async () => {
    const plan = await prepare(`
  - name: version
    steps:
      - { name: read, shell: 'printf "VERSION=1.2.3\\nNOTES<<E\\na\\nb\\nE\\n" >> "$SLIPWAY_OUTPUT"', outputs: [VERSION, NOTES] }
      - { name: use, shell: 'echo "$VERSION"; echo "$NOTES"' }
  - name: publish
    steps: [{ name: use, shell: 'echo "again $VERSION"' }]
  - name: apart
    needs: []
    steps: [{ name: use, shell: 'echo "[$VERSION]"' }]
`);
    await fixture.runStage(plan, 'version');
    await fixture.runStage(plan, 'publish');
    await fixture.runStage(plan, 'apart');
    expect(fixture.log('version/use')).toBe('1.2.3\na\nb\n');
    expect(fixture.log('publish/use')).toBe('again 1.2.3\n');
    expect(fixture.log('apart/use')).toBe('[]\n');
  });

  test('that a step does not hand on make it fail', async () => {
    const plan = await prepare(`
  - name: version
    steps: [{ name: read, run: ["true"], outputs: [VERSION] }]
`);
    expect(await fixture.runStage(plan, 'version')).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('read did not hand on VERSION'),
    });
  });
});

describe('stages that run beside each other in one checkout', () => {
  const stages = (one: string): string => `
  - name: install
    steps: [{ name: x, shell: 'echo x >> "$HOME/installed"; echo yes > installed' }]
  - name: one
    needs: [install]
    steps: [{ name: x, shell: '${one}' }]
  - name: two
    needs: [install]
    steps: [{ name: x, shell: 'cat installed; [ ! -e dirt-two ]; touch dirt-two; [ -e GO/go ] || { touch two; sleep 60; }' }]
`;

  test('begin again once after the worker died, from one clean checkout', async () => {
    const go = join(fixture.folder, 'go');
    const one = 'cat installed; [ ! -e dirt-one ]; touch dirt-one; [ -e GO/go ] || { touch one; sleep 60; }';
    const plan = await prepare(stages(one).replaceAll('GO', fixture.folder));
    await fixture.runStage(plan, 'install');
    const environments = [activityEnvironment(), activityEnvironment()];
    const running = ['one', 'two'].map((stage, index) =>
      fixture.runStage(plan, stage, environments[index]).catch((error: unknown) => error),
    );
    await until(() => ['one', 'two'].every((file) => existsSync(join(plan.workspace.path, file))));
    for (const environment of environments) environment.cancel('WORKER_SHUTDOWN');
    await Promise.all(running);
    writeFileSync(go, '');
    const again = await Promise.all(
      ['one', 'two'].map((stage) => fixture.runStage(plan, stage, activityEnvironment(2))),
    );
    expect(again.map(({ verdict }) => verdict)).toEqual(['passed', 'passed']);
    expect(fixture.log('one/x', 2)).toBe('yes\n');
    // HOME was emptied with the checkout: what was installed was so once more, and not once for each stage.
    expect(readFileSync(join(plan.workspace.path, '../home/installed'), 'utf8')).toBe('x\n');
    const said = [fixture.log('one/workspace', 2), fixture.log('two/workspace', 2)].filter((text) => text !== '');
    expect(said).toHaveLength(1);
  });
});

describe('a cache', () => {
  const stages = `
  - name: install
    caches: [{ name: modules, paths: [modules, ~/.pip], key: [lock] }]
    steps: [{ name: x, shell: 'cat modules/a || { mkdir -p modules ~/.pip; echo made > modules/a; echo made > ~/.pip/b; }; cat ~/.pip/b' }]
`;
  const install = async (lock: string, event: Partial<SourceEvent> = {}, definition = stages): Promise<string> => {
    fixture.facts.length = 0;
    // Every commit another one, for the same would be the same run.
    const plan = await prepare(definition, { lock, stamp: String(Math.random()) }, event);
    const report = await fixture.runStage(plan, 'install');
    expect(report.verdict).toBe('passed');
    return fixture.facts.find((fact) => fact.startsWith('cache')) ?? '';
  };

  test('is found by the content of its files, in later runs of the branch and of others', async () => {
    expect(await install('1')).toBe('cache modules miss');
    expect(await install('1')).toBe('cache modules exact');
    expect(fixture.log('install/x').endsWith('made\nmade\n')).toBe(true);
    expect(await install('2')).toBe('cache modules miss');
    expect(await install('1', { ref: 'refs/heads/feature/x' })).toBe('cache modules exact');
  });

  test('of a branch or a fork is never found by the release branch, whatever the fork calls itself', async () => {
    expect(await install('1', { ref: 'refs/heads/feature/x' })).toBe('cache modules miss');
    expect(await install('1')).toBe('cache modules miss');
    expect(await install('2', { ref: 'refs/heads/feature/x' })).toBe('cache modules miss');
    expect(await install('2', { ref: 'refs/heads/feature/x' })).toBe('cache modules exact');
    expect(await install('2')).toBe('cache modules miss');
  });

  test('with `fallback` is the newest of its name where none fits', async () => {
    const lenient = stages.replace('key: [lock]', 'key: [lock], fallback: true');
    expect(await install('1', {}, lenient)).toBe('cache modules miss');
    expect(await install('2', {}, lenient)).toBe('cache modules fallback');
    expect(await install('2', {}, lenient)).toBe('cache modules exact');
  });

  test('is not kept of a stage that failed, nor when it is too large, nor without its files', async () => {
    const failing = stages.replace("cat ~/.pip/b'", "exit 1'");
    const plan = await prepare(failing, { lock: '1' });
    expect((await fixture.runStage(plan, 'install')).verdict).toBe('failed');
    expect(await install('1')).toBe('cache modules miss');
    fixture.projectYaml = fixture.projectYaml.replace('executor: host', 'executor: host\n  caches: { largest: 1k }');
    const large = stages.replace('echo made > modules/a', 'head -c 100000 /dev/urandom > modules/a');
    expect(await install('3', {}, large)).toBe('cache modules miss');
    expect(await install('3', {}, large)).toBe('cache modules miss');
    const none = await prepare(stages.replace('key: [lock]', 'key: [other.lock]'), { lock: '9' });
    expect((await fixture.runStage(none, 'install')).verdict).toBe('passed');
    expect(fixture.log('install/stage.files')).toContain('the commit has no file other.lock');
  });

  test('that is broken is no cache, and does not stay', async () => {
    await install('1');
    const [blob] = await cacheBlobs();
    await fixture.blobs.put(blob ?? '', Buffer.from('no archive at all'));
    expect(await install('1')).toBe('cache modules miss');
    expect(await install('1')).toBe('cache modules exact');
  });

  async function cacheBlobs(): Promise<readonly string[]> {
    const { readdir } = await import('node:fs/promises');
    const folder = join(fixture.folder, 'blobs');
    const names = await readdir(folder, { recursive: true, withFileTypes: true });
    return names
      .filter((each) => each.isFile() && each.parentPath.includes('caches'))
      .map((each) => join(each.parentPath, each.name).slice(folder.length + 1));
  }
});

describe('an artifact', () => {
  test('has the files that its patterns match, and nothing from outside of the checkout', async () => {
    const plan = await prepare(`
  - name: test
    artifacts:
      - { name: reports, paths: ["reports/**", "*.txt"], retention: 2d }
      - { name: sad, paths: ["*.txt"], when: failure }
      - { name: none, paths: ["*.nothing"] }
    steps:
      - name: x
        shell: |
          mkdir -p reports/html; echo page > reports/html/index.html; echo text > a.txt; : > empty.txt
          ln -s /etc/passwd reports/passwd; ln -s /etc reports/etc; ln -s a.txt b.txt; mkfifo reports/pipe
`);
    expect((await fixture.runStage(plan, 'test')).verdict).toBe('passed');
    expect(fixture.artifacts).toHaveLength(1);
    const [artifact] = fixture.artifacts;
    expect(artifact).toMatchObject({ stage: 'test', name: 'reports', sizeBytes: 10 });
    expect(artifact?.files.map(({ path }) => path)).toEqual(['a.txt', 'empty.txt', 'reports/html/index.html']);
    const [first] = artifact?.files ?? [];
    const chunks: Buffer[] = [];
    for await (const chunk of await fixture.blobs.read(first?.blob ?? '')) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe('text\n');
    const days = (Date.parse(artifact?.expiresAt ?? '') - Date.parse(artifact?.at ?? '')) / 86_400_000;
    expect(days).toBe(2);
  });

  test('that is documentation begins with a page, and is errored without one', async () => {
    const plan = await prepare(`
  - name: docs
    artifacts:
      - { name: api, kind: documentation, paths: [build/html] }
      - { name: none, kind: documentation, paths: [nothing] }
    steps: [{ name: x, shell: 'mkdir -p build/html/_static; echo hi > build/html/index.html; echo a > build/html/_static/a.css' }]
  - name: bad
    artifacts: [{ name: api, kind: documentation, paths: [pages] }]
    steps: [{ name: x, shell: 'mkdir -p pages; echo hi > pages/start.html' }]
`);
    expect((await fixture.runStage(plan, 'docs')).verdict).toBe('passed');
    expect(fixture.artifacts).toMatchObject([
      { name: 'api', entry: 'build/html/index.html', files: [{ path: 'build/html/_static/a.css' }, {}] },
    ]);
    expect(await fixture.runStage(plan, 'bad')).toMatchObject({
      verdict: 'errored',
      detail: expect.stringContaining('no page pages/index.html to begin with'),
    });
    expect(fixture.artifacts).toHaveLength(1);
  });

  test('is kept without the secrets of the run, also those of a stage before', async () => {
    fixture.secrets.set('TOKEN', 's3cr3t-value');
    const plan = await prepare(`
  - name: before
    steps: [{ name: x, shell: 'printf %s "$TOKEN" | base64 > coded.txt; env > out.txt', secrets: [TOKEN] }]
  - name: test
    artifacts: [{ name: all, paths: ["*.txt"] }, { name: pages, kind: documentation, paths: [pages] }]
    steps: [{ name: x, shell: 'mkdir -p pages; cp out.txt pages/index.html' }]
`);
    expect((await fixture.runStage(plan, 'before')).verdict).toBe('passed');
    expect((await fixture.runStage(plan, 'test')).verdict).toBe('passed');
    const files = fixture.artifacts.flatMap((artifact) => artifact.files);
    expect(files.map(({ path }) => path)).toEqual(['coded.txt', 'out.txt', 'pages/index.html']);
    const kept = await Promise.all(files.map(async ({ blob }) => await text(await fixture.blobs.read(blob))));
    expect(kept.join('')).not.toContain('s3cr3t-value');
    expect(kept[0]).toBe('***\n');
    expect(kept[1]).toContain('TOKEN=***\n');
    expect(fixture.log('test/stage.files')).toContain('artifact all: out.txt has 1 secrets in it, which are hidden');
  });

  test('with a binary that has a secret in it is not kept, and its stage is errored', async () => {
    fixture.secrets.set('TOKEN', 's3cr3t-value');
    const plan = await prepare(`
  - name: test
    artifacts: [{ name: all, paths: ["a.txt", "b.bin"] }]
    steps: [{ name: x, shell: 'echo a > a.txt; { head -c 10 /dev/zero; printf %s "$TOKEN"; } > b.bin', secrets: [TOKEN] }]
`);
    expect(await fixture.runStage(plan, 'test')).toMatchObject({
      verdict: 'errored',
      detail: expect.stringMatching(/^The artifact all could not be kept: b\.bin: the value of a secret of the run/),
    });
    expect(fixture.artifacts).toEqual([]);
    expect(await fixture.blobs.list('artifacts')).toEqual([]);
  });

  test('whose name has a secret in it is not kept', async () => {
    fixture.secrets.set('TOKEN', 's3cr3t-value');
    const plan = await prepare(`
  - name: test
    artifacts: [{ name: all, paths: ["*.txt"] }]
    steps: [{ name: x, shell: 'echo a > "$TOKEN.txt"', secrets: [TOKEN] }]
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report).toMatchObject({ verdict: 'errored', detail: expect.stringContaining('in its name') });
    expect(JSON.stringify([report, fixture.artifacts])).not.toContain('s3cr3t-value');
  });

  test('that is too large makes the stage errored: nobody may count on it', async () => {
    fixture.projectYaml = fixture.projectYaml.replace('executor: host', 'executor: host\n  artifacts: { size: 1k }');
    const plan = await prepare(`
  - name: test
    artifacts: [{ name: big, paths: ["big"] }]
    steps: [{ name: x, shell: 'head -c 2000 /dev/zero > big' }]
`);
    expect(await fixture.runStage(plan, 'test')).toMatchObject({
      verdict: 'errored',
      detail: expect.stringContaining('more than the 1000 bytes'),
    });
    expect(fixture.artifacts).toEqual([]);
  });
});
