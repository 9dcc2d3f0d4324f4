import { z } from 'zod';

/** What the forge must ask of changes (S3-34 to S3-38, S4-68 to S4-72). */
export const Protection = z
  .strictObject({
    approvals: z.number().int().min(0).max(20).describe('Approvals that a pull request needs.').default(1),
    upToDate: z.boolean().describe('A branch must be up to date before it is merged.').default(true),
    dismissStale: z.boolean().describe('New commits take earlier approvals away.').default(true),
    administrators: z
      .enum(['included', 'may-push'])
      .describe('`included`: all of it holds for administrators too. `may-push`: they may push past it, nobody else.')
      .default('included'),
    development: z
      .string()
      .min(1)
      .max(200)
      .describe('A second branch, such as `develop`, of which a pull request and the status check are asked.')
      .exactOptional(),
  })
  .describe(
    'Looks with each plan at how the forge protects the release branch, and whether the status `slipway/<project>` must pass; a part of gate `access-control`. What differs fails it, what the forge does not show makes it errored. Needs `forge.api`, with a token that may read it. Default: not looked at.',
  )
  .exactOptional();
