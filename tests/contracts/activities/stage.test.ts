import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { RunPlan } from '../../../src/domain/run.ts';
import type { SourceRepository } from '../../../src/providers/repositories/port.ts';
import { activityEnvironment, createRunFixture, type RunFixture } from '../../support/run-fixture.ts';
import { until } from '../../support/until.ts';

let fixture: RunFixture;

beforeEach(() => {
  fixture = createRunFixture();
});
afterEach(() => fixture.remove());

/** A run whose definition has these stages. */
async function prepare(stages: string, files: Record<string, string> = {}): Promise<RunPlan> {
  const commit = fixture.origin.commit({ 'slipway.yaml': `version: 1\nstages:\n${stages}`, ...files });
  return fixture.prepare(fixture.input(commit));
}

/** Begins a stage and takes its worker away as soon as a file is there. */
async function interrupt(plan: RunPlan, stage: string, file: string): Promise<void> {
  const environment = activityEnvironment();
  const running = fixture.runStage(plan, stage, environment).catch((error: unknown) => error);
  await until(() => existsSync(join(plan.workspace.path, file)));
  environment.cancel('WORKER_SHUTDOWN');
  expect(await running).toMatchObject({ name: 'CancelledFailure' });
}

function again(plan: RunPlan, stage: string): ReturnType<RunFixture['runStage']> {
  return fixture.runStage(plan, stage, activityEnvironment(2));
}

describe('a stage', () => {
  test('runs its steps in the checkout and reports each', async () => {
    const plan = await prepare(
      `
  - name: test
    steps:
      - { name: plain, run: [cat, a.txt] }
      - { name: shell, shell: 'echo "$SLIPWAY_STEP of $SLIPWAY_PROJECT #$SLIPWAY_RUN on $SLIPWAY_REF"; pwd' }
      - { name: sub, run: [pwd], workdir: dir }
`,
      { 'a.txt': 'content\n', 'dir/file': '' },
    );
    const report = await fixture.runStage(plan, 'test');
    expect(report).toMatchObject({ name: 'test', verdict: 'passed' });
    expect(report.steps).toEqual([
      { name: 'plain', verdict: 'passed', exitCode: 0, startedAt: expect.any(String), durationMs: expect.any(Number) },
      expect.objectContaining({ name: 'shell', verdict: 'passed' }),
      expect.objectContaining({ name: 'sub', verdict: 'passed' }),
    ]);
    expect(fixture.log('test/plain')).toBe('content\n');
    expect(fixture.log('test/shell')).toBe(`shell of hello #1 on refs/heads/main\n${plan.workspace.path}\n`);
    expect(fixture.log('test/sub')).toBe(`${join(plan.workspace.path, 'dir')}\n`);
    expect(fixture.facts).toContain('stage test passed');
  });

  test('ends at the first step that fails, with its status and last lines', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - { name: bad, shell: 'seq 1 100; echo oh no >&2; exit 3' }
      - { name: never, run: [touch, never] }
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report.verdict).toBe('failed');
    expect(report.steps).toHaveLength(1);
    expect(report.steps[0]).toMatchObject({ name: 'bad', verdict: 'failed', exitCode: 3 });
    const lines = report.steps[0]!.detail!.split('\n');
    expect(lines[0]).toMatch(/^bad ended with status 3 after \d/);
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toBe('oh no');
    expect(existsSync(join(plan.workspace.path, 'never'))).toBe(false);
  });

  test('goes on after a step that only warns', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - { name: lint, run: ["false"], onFailure: warn }
      - { name: unit, run: ["true"] }
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report).toMatchObject({ verdict: 'passed', detail: 'Only warned: lint.' });
    expect(report.steps.map(({ verdict }) => verdict)).toEqual(['failed', 'passed']);
  });

  test('cannot say whether a step is bad whose program is not there', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: gone, run: [no-such-program] }]
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report.verdict).toBe('errored');
    expect(report.steps[0]!.detail).toMatch(/no-such-program is not on this worker.*Install the tool/);
  });

  test('neither can it of a step in a folder that the commit does not have', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: lost, run: ["true"], workdir: nowhere }]
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report.verdict).toBe('errored');
    expect(report.steps[0]!.detail).toContain('nowhere');
  });

  test('gives a step its environment, an empty HOME, and nothing of the worker', async () => {
    process.env['LEAK'] = 'of-the-worker';
    const plan = await prepare(`
  - name: test
    steps:
      - { name: env, run: [env], env: { MINE: yes-mine } }
      - { name: home, shell: 'ls -A "$HOME"; read line || echo no input' }
`);
    await fixture.runStage(plan, 'test');
    delete process.env['LEAK'];
    expect(fixture.log('test/env')).toContain('MINE=yes-mine\n');
    expect(fixture.log('test/env')).not.toContain('LEAK');
    expect(fixture.log('test/home')).toBe('no input\n');
  });

  test('gives secrets only to the step that declares them, and shows none', async () => {
    fixture.secrets.set('TOKEN', 's3cr3t-value');
    const plan = await prepare(`
  - name: test
    steps:
      - { name: has, shell: 'printf "%s" "$TOKEN" > kept; echo "token $TOKEN"; exit 1', secrets: [TOKEN], onFailure: warn }
      - { name: has-not, shell: 'echo "[$TOKEN]"; cat kept' }
`);
    const report = await fixture.runStage(plan, 'test');
    expect(fixture.log('test/has')).toContain('token ***\n');
    expect(fixture.log('test/has-not')).toBe('[]\n***');
    expect(JSON.stringify(report)).not.toContain('s3cr3t');
    expect(readFileSync(join(plan.workspace.path, 'kept'), 'utf8')).toBe('s3cr3t-value');
  });

  describe('beside another', () => {
    const beside = (needs: string): string => `
  - name: first
    needs: []
    steps: [{ name: prints, shell: 'cat value; cat value > kept; exit 1' }]
    artifacts: [{ name: kept, paths: [kept], when: always }]
  - name: second
    needs: ${needs}
    steps: [{ name: has, run: ["true"], secrets: [TOKEN] }]
`;
    const files = { value: 's3cr3t-value\n' };

    test('shows no secret that only the other one is given', async () => {
      fixture.secrets.set('TOKEN', 's3cr3t-value');
      const plan = await prepare(beside('[]'), files);
      const report = await fixture.runStage(plan, 'first');
      expect(fixture.log('first/prints')).toMatch(/^\*\*\*\n/);
      expect(fixture.log('first/prints')).not.toContain('s3cr3t');
      expect(report.steps[0]?.detail).not.toContain('s3cr3t');
    });

    test('does not ask for the secrets of one that comes after it', async () => {
      const asked: unknown[] = [];
      const { readSecret } = fixture.stage;
      Object.assign(fixture.stage, {
        readSecret: (ref: Parameters<typeof readSecret>[0]) => {
          asked.push(ref);
          return readSecret(ref);
        },
      });
      await fixture.runStage(await prepare(beside('[first]'), files), 'first');
      expect(asked).toEqual([]);
    });

    test('goes without a secret of the other one that is not there, and not without one that cannot be read now', async () => {
      const plan = await prepare(beside('[]'), files);
      expect((await fixture.runStage(plan, 'first')).verdict).toBe('failed');
      Object.assign(fixture.stage, {
        readSecret: () => Promise.reject(new ProviderError('StoreUnavailable', 'the vault is sealed')),
      });
      const other = await prepare(beside('[]'), { ...files, another: '' });
      await expect(fixture.runStage(other, 'first')).rejects.toMatchObject({ nonRetryable: false });
    });
  });

  test('says which secret is missing', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: has, run: ["true"], secrets: [TOKEN] }]
`);
    await expect(fixture.runStage(plan, 'test')).rejects.toMatchObject({ type: 'SecretMissing', nonRetryable: true });
  });

  test.each([
    ['takes too long', 'timeout: 200ms', /its time was over/],
    ['says nothing', 'stallAfter: 200ms', /said nothing for/],
  ])('ends a step that %s', async (_, limit, detail) => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: slow, run: [sleep, "60"], ${limit} }]
`);
    const report = await fixture.runStage(plan, 'test');
    expect(report).toMatchObject({ verdict: 'failed', detail: expect.stringMatching(detail) });
    expect(report.durationMs).toBeLessThan(10_000);
  });

  test('is ended by an abort, with everything it started', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: tree, shell: 'sleep 300 & echo $! > pid; (setsid sleep 301 & echo $! > pid2); wait' }]
`);
    const began = performance.now();
    await interrupt(plan, 'test', 'pid2');
    expect(performance.now() - began).toBeLessThan(5_000);
    const processes = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    expect(processes).not.toMatch(/^sleep 30[01]$/m);
    expect(fixture.facts.at(-1)).toBe('step tree inconclusive');
  });

  test('that was settled before the word of it got lost is not run again', async () => {
    const plan = await prepare(`
  - name: test
    steps: [{ name: count, shell: 'echo x >> count' }]
`);
    const first = await fixture.runStage(plan, 'test');
    expect(await again(plan, 'test')).toEqual(first);
    expect(readFileSync(join(plan.workspace.path, 'count'), 'utf8')).toBe('x\n');
  });
});

describe('after the worker died', () => {
  test('a stage begins again from a clean checkout, with what the stages before it had left', async () => {
    const go = join(fixture.folder, 'go');
    const plan = await prepare(`
  - name: install
    steps: [{ name: fetch, shell: 'echo dependency > installed; echo x >> "$HOME/log"' }]
  - name: test
    steps:
      - { name: dirty, shell: 'cat installed; test ! -e dirt; touch dirt' }
      - { name: wait, shell: 'cat "$HOME/log"; touch waiting; test -e ${go} || sleep 60' }
`);
    await fixture.runStage(plan, 'install');
    await interrupt(plan, 'test', 'waiting');
    writeFileSync(go, '');
    expect(await again(plan, 'test')).toMatchObject({ verdict: 'passed' });
    expect(fixture.log('test/workspace', 2)).toContain('install/fetch again');
    expect(fixture.log('test/dirty', 2)).toBe('dependency\n');
    expect(fixture.log('test/wait', 2)).toBe('x\n');
  });

  test('what has to be done again before it is no part of the time that a stage has', async () => {
    const go = join(fixture.folder, 'go-now');
    const plan = await prepare(`
  - name: install
    steps: [{ name: fetch, shell: 'test ! -e ${go} || sleep 1.2' }]
  - name: test
    timeout: 1s
    steps: [{ name: wait, shell: 'touch waiting; test -e ${go} || sleep 60' }]
`);
    await fixture.runStage(plan, 'install');
    await interrupt(plan, 'test', 'waiting');
    writeFileSync(go, '');
    expect(await again(plan, 'test')).toMatchObject({ verdict: 'passed' });
  });

  test('has all that comes before it in the time after which its worker is thought to hang', async () => {
    const plan = await prepare(`
  - name: install
    timeout: 3m
    steps: [{ name: fetch, run: ["true"] }]
  - name: test
    timeout: 5m
    steps: [{ name: unit, run: ["true"] }]
`);
    expect(plan.stages.map(({ timeoutMs }) => timeoutMs)).toEqual([180_000, 480_000]);
  });

  test('a commit that only a merge request leads to is fetched by that', async () => {
    const go = join(fixture.folder, 'go-on');
    const steps = `{ name: wait, shell: 'touch waiting; test -e ${go} || sleep 60' }`;
    const main = fixture.origin.commit({ 'README.md': 'of main' });
    const commit = fixture.origin.commit({
      'slipway.yaml': `version: 1\nstages:\n  - name: test\n    steps:\n      - ${steps}\n`,
    });
    fixture.origin.git('update-ref', 'refs/merge-requests/7/head', commit);
    fixture.origin.git('reset', '--quiet', '--hard', main);
    const asked: (string | undefined)[] = [];
    const { repositories } = fixture.source as { repositories: { checkOut: SourceRepository['checkOut'] } };
    const checkOut = repositories.checkOut.bind(repositories);
    repositories.checkOut = async (request) => {
      asked.push(request.ref);
      return await checkOut(request);
    };
    try {
      const event = { ref: 'refs/heads/main', from: 'refs/merge-requests/7/head' };
      const plan = await fixture.prepare(fixture.input(commit, event));
      await interrupt(plan, 'test', 'waiting');
      writeFileSync(go, '');
      expect(await again(plan, 'test')).toMatchObject({ verdict: 'passed' });
      expect(new Set(asked)).toEqual(new Set(['refs/merge-requests/7/head']));
    } finally {
      repositories.checkOut = checkOut;
    }
  });

  test('a step with `resume` goes on in the same files', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - { name: before, shell: 'echo x >> before' }
      - { name: long, shell: 'test -e half && exit 0; touch half; sleep 60', resume: true }
      - { name: after, run: [cat, before] }
`);
    await interrupt(plan, 'test', 'half');
    const report = await again(plan, 'test');
    expect(report.steps.map(({ name, verdict }) => `${name} ${verdict}`)).toEqual([
      'before passed',
      'long passed',
      'after passed',
    ]);
    expect(fixture.log('test/after', 2)).toBe('x\n');
  });

  test('a step with `once` is not repeated but put to a person', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - { name: first, run: ["true"] }
      - { name: publish, shell: 'echo x >> published; touch begun; sleep 60', once: true }
      - { name: last, run: [touch, last] }
`);
    await interrupt(plan, 'test', 'begun');
    const report = await again(plan, 'test');
    expect(report.verdict).toBe('errored');
    expect(report.steps.at(-1)).toMatchObject({
      name: 'publish',
      verdict: 'errored',
      detail: expect.stringMatching(/may run only once.*check what it did/),
    });
    expect(readFileSync(join(plan.workspace.path, 'published'), 'utf8')).toBe('x\n');
    expect(existsSync(join(plan.workspace.path, 'last'))).toBe(false);
  });

  test('a step with `once` is not repeated on another machine either, where nothing of the first is left', async () => {
    const stages = `
  - name: test
    steps:
      - { name: first, run: ["true"] }
      - { name: publish, shell: 'touch begun; [ -e let-go ] || sleep 60', once: true }
`;
    const plan = await prepare(stages);
    await interrupt(plan, 'test', 'begun');
    const anew = await fixture.prepare({
      ...fixture.input(plan.commit.sha),
      anew: { checkout: 2, why: 'Its machine was lost.' },
    });
    const report = await fixture.runStage(anew, 'test');
    expect(report).toMatchObject({ verdict: 'errored', detail: expect.stringMatching(/may run only once/) });
    expect(existsSync(join(anew.workspace.path, 'begun'))).toBe(false);
    expect(fixture.log('prepare/checkout', 11)).toContain('the run begins anew: Its machine was lost.');
  });

  test('a step with `once` that had ended is not repeated for the sake of a later one', async () => {
    const plan = await prepare(`
  - name: test
    steps:
      - { name: publish, shell: 'echo x >> published', once: true }
      - { name: wait, shell: 'touch waiting; sleep 60' }
`);
    await interrupt(plan, 'test', 'waiting');
    const report = await again(plan, 'test');
    expect(report).toMatchObject({ verdict: 'errored', detail: expect.stringContaining('after it had ended') });
    expect(readFileSync(join(plan.workspace.path, 'published'), 'utf8')).toBe('x\n');
  });
});
