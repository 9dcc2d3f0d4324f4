/** So many requests may be those of a probe that asks whether the release is ready. */
const probes = 20;

/**
 * A fault built into a release, so that a demonstration can ship a version that is bad on purpose.
 *
 * `errorRatio` of the users' requests fail, from `afterMs` after they began to come. The shipped file says 0: nothing fails.
 *
 * @param {{ errorRatio: number, afterMs: number }} settings
 */
export function createFault({ errorRatio, afterMs }) {
  let asked = 0;
  let usersSince;
  let seen = 0;
  return () => {
    asked += 1;
    if (asked > probes) usersSince ??= performance.now();
    if (errorRatio <= 0 || usersSince === undefined || performance.now() - usersSince < afterMs) return false;
    seen += 1;
    // Evenly spread instead of drawn, so that every demonstration counts the same.
    return Math.floor(seen * errorRatio) > Math.floor((seen - 1) * errorRatio);
  };
}
