import { describe, expect, test } from '@jest/globals';
import { type CheckedRun, checkNotices } from '../../../src/activities/check-notices.ts';
import { runNotice } from '../../../src/activities/notice-texts.ts';
import type { GateLine } from '../../../src/domain/evidence.ts';
import type { ImageReport, StagePlan, StageReport } from '../../../src/domain/run.ts';
import { testVerdictOf } from '../../../src/domain/test-verdict.ts';

const passed: GateLine = { gate: 'tests', mode: 'block', verdict: 'passed', blocks: false, reason: '4 of 4 passed.' };
const image = { name: 'web', digest: 'sha256:aaaa', reused: false } as ImageReport;

function stage(name: string, changes: Partial<StageReport> = {}): StageReport {
  return { name, verdict: 'passed', steps: [], startedAt: '2026-01-01T00:00:00Z', durationMs: 1, ...changes };
}

/** A run with the stages `lint`, `unit`, which goes to the gate for tests, and `clean`. */
function run(changes: Partial<CheckedRun> & { readonly marked?: boolean } = {}): CheckedRun {
  const { marked = true, ...rest } = changes;
  const plans: readonly StagePlan[] = [
    { name: 'lint', steps: [], timeoutMs: 1 },
    { name: 'unit', steps: [], timeoutMs: 1, ...(marked ? { tests: true as const } : {}) },
    { name: 'clean', steps: [], timeoutMs: 1 },
  ];
  return {
    input: {
      project: 'shop',
      key: 'k',
      event: { after: 'c'.repeat(40), ref: 'refs/heads/main', author: 'ada' },
    } as never,
    number: 7,
    plan: { version: '7-ccc', stages: plans, buildImages: 'push', images: ['web'], commit: { message: 'x' } } as never,
    stages: [
      stage('lint'),
      stage('unit', { gates: [passed] }),
      stage('clean', { verdict: 'inconclusive', skipped: true }),
    ],
    images: [image],
    outcome: 'succeeded',
    ...rest,
  };
}

describe('the notice of a run', () => {
  test.each([
    ['succeeded', 'info'],
    ['failed', 'error'],
    ['errored', 'error'],
    ['rejected', 'error'],
    ['expired', 'error'],
    ['superseded', 'info'],
    ['aborted', 'info'],
  ] as const)('that ended %s has level %s', (outcome, level) => {
    const { input, number, plan, stages, images } = run();
    const at = new Date().toISOString();
    const settled = { input: { ...input, acceptedAt: at }, number, plan, stages, images, outcome, reason: 'why' };
    expect(runNotice({ ...settled, deployments: [] } as never)).toMatchObject({ level, project: 'shop' });
  });
});

function eventsOf(changes: Parameters<typeof run>[0]): readonly string[] {
  return checkNotices(run(changes)).map(({ event }) => event);
}

describe('the tests of a run', () => {
  const bad = stage('unit', { verdict: 'failed' });
  const warned = stage('unit', { gates: [{ ...passed, mode: 'warn', verdict: 'errored' }] });
  test.each([
    ['passed', 'every stage for tests passed', run({ stages: [stage('unit')] })],
    ['failed', 'one failed', run({ stages: [stage('lint'), bad] })],
    ['failed', 'their gate only warns', run({ stages: [stage('lint'), warned] })],
    ['unknown', 'they never had their turn', run({ stages: [stage('lint', { verdict: 'failed' })] })],
    ['unknown', 'they were ended before their end', run({ stages: [stage('unit', { verdict: 'inconclusive' })] })],
    [
      'unknown',
      'a condition kept all of them from running',
      run({ stages: [stage('unit', { verdict: 'inconclusive', skipped: true })] }),
    ],
    ['passed', 'no stage says that it is for tests, and all passed', run({ marked: false })],
    ['failed', 'no stage says that it is for tests, and one failed', run({ marked: false, stages: [bad] })],
    [
      'unknown',
      'no stage says that it is for tests, and one is missing',
      run({ marked: false, stages: [stage('unit')] }),
    ],
  ] as const)('are %s: %s', (expected, _, { plan, stages }) => {
    expect(testVerdictOf(plan, stages)).toBe(expected);
  });
});

describe('what is told beside the end of a run', () => {
  const coverage: GateLine = { gate: 'coverage', mode: 'warn', verdict: 'failed', blocks: false, reason: '60 %.' };
  const flaw: GateLine = { gate: 'code-security', mode: 'warn', verdict: 'failed', blocks: false, reason: 'B602.' };
  const unit = (...gates: readonly GateLine[]): Partial<CheckedRun> => ({
    stages: [stage('lint'), stage('unit', { gates }), stage('clean', { verdict: 'inconclusive', skipped: true })],
  });

  test('is that tests passed and images were built', () => {
    expect(checkNotices(run())).toMatchObject([
      { event: 'tests-passed', level: 'info', key: 'shop/run/7/tests-passed', title: 'shop #7: tests passed' },
      { event: 'build-succeeded', level: 'info', key: 'shop/run/7/build-succeeded', title: 'shop #7: built web' },
    ]);
  });

  test('is no image where one is missing, none was to be built, or there is none', () => {
    const { plan } = run();
    expect(eventsOf({ images: [], outcome: 'failed' })).toEqual(['tests-passed']);
    expect(eventsOf({ plan: { ...plan, buildImages: 'none' } as never })).toEqual(['tests-passed']);
    expect(eventsOf({ plan: { ...plan, images: [] } as never, images: [] })).toEqual(['tests-passed']);
  });

  test('is a gate that only warns, at Medium, with where and why', () => {
    const told = checkNotices(run(unit(passed, coverage))).find(({ event }) => event === 'code-quality-warning');
    expect(told).toMatchObject({ level: 'warning', title: 'shop #7: gate coverage warned' });
    expect(told?.lines).toContain('unit: gate coverage failed: 60 %.');
    expect(told?.lines.join()).not.toContain('gate tests');
  });

  test('is an alert where the gate is one of security, less loud where nothing was found out', () => {
    const levelOf = (line: GateLine): string | undefined =>
      checkNotices(run(unit(passed, line))).find(({ event }) => event === 'security-alert')?.level;
    expect(levelOf(flaw)).toBe('error');
    expect(levelOf({ ...flaw, gate: 'infrastructure' })).toBe('error');
    expect(levelOf({ ...flaw, verdict: 'errored' })).toBe('warning');
    expect(levelOf({ ...flaw, verdict: 'passed' })).toBeUndefined();
  });

  test('is nothing of a gate that stopped the run: its own notice says so', () => {
    const stopped = unit(passed, { ...coverage, blocks: true }, { ...flaw, mode: 'block', blocks: true });
    expect(eventsOf({ ...stopped, images: [], outcome: 'failed' })).toEqual(['tests-passed']);
  });

  test.each(['aborted', 'superseded'] as const)('is nothing of a run that was %s', (outcome) => {
    expect(eventsOf({ ...unit(passed, coverage), outcome })).toEqual([]);
  });
});

describe('the end of a run that did not go well', () => {
  const eventOf = (changes: Parameters<typeof run>[0]): string =>
    runNotice({
      ...run({ outcome: 'failed', images: [], ...changes }),
      run: { project: 'shop', key: 'k', number: 7 },
      reason: 'why',
      deployments: [],
    }).event;

  test.each([
    ['tests-failed', { stages: [stage('lint'), stage('unit', { verdict: 'errored' as const })] }],
    ['run-failed', { stages: [stage('lint', { verdict: 'failed' as const })] }],
    ['build-failed', {}],
    ['run-failed', { images: [image] }],
  ])('is told as %s', (event, changes) => {
    expect(eventOf(changes)).toBe(event);
  });
});
