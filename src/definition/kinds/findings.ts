import { z } from 'zod';

/** What the forge is told of findings. */
export const FindingsTold = z
  .strictObject({
    issues: z
      .strictObject({
        most: z
          .number()
          .int()
          .min(1)
          .max(50)
          .describe('Open issues at once; what is beyond stands in one more. Judgement.')
          .default(10),
      })
      .describe(
        'One issue for each critical finding of the release branch, closed when a run does not have it any more. GitHub, GitLab and Gitea. Default: none.',
      )
      .exactOptional(),
    codeScanning: z
      .boolean()
      .describe(
        "Findings of the gates `code-security` and `container` go to GitHub's code scanning, of every branch and pull request.",
      )
      .default(false),
  })
  .describe('Tells the forge what the gates found. Needs `forge.api`. No run fails for it. Default: not told.')
  .exactOptional();
