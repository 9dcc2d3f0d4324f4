import { z } from 'zod';
import { Name, RefGlob } from '../scalars.ts';

/** Another project that may start runs of this one. */
export const StartRule = z
  .strictObject({
    project: Name.describe('That project.'),
    from: z
      .array(RefGlob)
      .min(1)
      .max(20)
      .describe(
        'Only its runs of these refs: branch, tag, or `pull/<number>/head`. Never those of pull requests from forks. Default: all; with `deploys` it must be said.',
      )
      .exactOptional(),
    refs: z
      .array(RefGlob)
      .min(1)
      .max(20)
      .describe('Branches and tags of this project that it may have run. Default: the release branch.')
      .exactOptional(),
    deploys: z
      .boolean()
      .describe(
        'Such runs go where their route leads, with its approvals. `false`: they are checks only; no image is built and nothing is deployed.',
      )
      .default(false),
  })
  .refine(({ from, deploys }) => !deploys || from !== undefined, {
    path: ['from'],
    error:
      'say which of its refs may start runs that deploy, such as `[main]`: without it any branch nobody has looked at could',
  });
