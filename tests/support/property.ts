import fc from 'fast-check';

/**
 * Of every property test in this run of the tests. The runner gives it and prints it when something failed, so that the second try of a failed
 * file asks what the first one asked; `SLIPWAY_SEED` asks it again later.
 */
export const seed = Number(process.env['SLIPWAY_SEED'] ?? String(Date.now() % 2 ** 31));

fc.configureGlobal({ seed });

export { fc };
