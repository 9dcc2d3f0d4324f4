import type { RunPlan, StageReport } from './run.ts';

/** What the stages of a run say of its tests. `unknown`: none was run, or not all, and none is bad. */
export type TestVerdict = 'passed' | 'failed' | 'unknown';

/**
 * Looks at the stages whose reports go to the gate for tests; at all, where none does. What its condition kept from running says nothing, and a
 * gate for tests that only warns says what it found all the same.
 */
export function testVerdictOf(plan: RunPlan | undefined, stages: readonly StageReport[]): TestVerdict {
  if (plan === undefined) return 'unknown';
  const marked = plan.stages.filter(({ tests }) => tests === true);
  const concerned = (marked.length > 0 ? marked : plan.stages).map(({ name }) => {
    const report = stages.find((stage) => stage.name === name);
    if (report === undefined) return 'unknown';
    if (report.skipped === true) return 'skipped';
    const gate = report.gates?.find((line) => line.gate === 'tests');
    const verdicts = [report.verdict, gate?.verdict ?? 'passed'];
    if (verdicts.some((verdict) => verdict === 'failed' || verdict === 'errored')) return 'failed';
    return verdicts.every((verdict) => verdict === 'passed') ? 'passed' : 'unknown';
  });
  if (concerned.includes('failed')) return 'failed';
  return concerned.includes('passed') && !concerned.includes('unknown') ? 'passed' : 'unknown';
}
