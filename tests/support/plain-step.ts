/** What every step has that a test does not care about. */
export const plainStep = {
  name: 'step',
  env: {},
  secrets: {},
  timeoutMs: 30_000,
  stallAfterMs: 30_000,
  onFailure: 'fail',
  resume: false,
  once: false,
  workdir: '.',
  outcome: 'success',
  outputs: [],
} as const;
