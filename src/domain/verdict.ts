/**
 * The judgement of one check, or of many.
 *
 * `failed`: it is bad. `errored`: could not find out. `inconclusive`: looked, and there was nothing to judge by. No data is never a pass.
 */
export type Verdict = 'passed' | 'inconclusive' | 'errored' | 'failed';

/** The one severity order; everything that combines verdicts uses it. */
const severity = { passed: 0, inconclusive: 1, errored: 2, failed: 3 } as const satisfies Record<Verdict, number>;

/** The worst of several verdicts. Of none: `inconclusive`, for nothing was looked at. */
export function worst(verdicts: readonly Verdict[]): Verdict {
  let result: Verdict | undefined;
  for (const verdict of verdicts) {
    if (result === undefined || severity[verdict] > severity[result]) result = verdict;
  }
  return result ?? 'inconclusive';
}
