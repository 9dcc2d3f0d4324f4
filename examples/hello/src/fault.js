/**
 * A fault built into a release, so that a demonstration can ship a version that is bad on purpose.
 *
 * `errorRatio` of the users' requests fail, from `afterMs` after the first of them. The shipped file says 0: nothing fails.
 *
 * @param {{ errorRatio: number, afterMs: number }} settings
 */
export function createFault({ errorRatio, afterMs }) {
  let firstAt;
  let seen = 0;
  return () => {
    firstAt ??= performance.now();
    if (errorRatio <= 0 || performance.now() - firstAt < afterMs) return false;
    seen += 1;
    // Evenly spread instead of drawn, so that every demonstration counts the same.
    return Math.floor(seen * errorRatio) > Math.floor((seen - 1) * errorRatio);
  };
}
