import { z } from 'zod';
import { Secret } from '../scalars.ts';

const secrets = z
  .array(Secret)
  .min(1, { error: 'must have at least one secret: unsigned webhooks are refused' })
  .max(2, { error: 'must have at most two secrets: the present one, and the next while it is being changed' })
  .describe('Secrets of the webhook. Two are valid at once, so that one can be changed without losing a delivery.');

const address = z
  .url({ protocol: /^https?$/, error: 'must be an address such as `https://git.example.com/api/v3`' })
  .transform((url) => url.replace(/\/+$/, ''));

const common = {
  token: Secret.describe(
    'May write commit statuses, comments and pull requests, and what else is asked for here. Bitbucket Cloud also takes `user:token`.',
  ),
  repository: z
    .string()
    .regex(/^[\w.~-]+(?:\/[\w.~-]+)+$/, { error: 'must be a path such as `team/app`' })
    .describe('Path of the repository there. Default: that of its address.')
    .exactOptional(),
  deployments: z
    .boolean()
    .describe(
      'Tells it how each deployment goes too: in its list of deployments, as `<project>/<environment>`, or as the status `slipway/<project>/deploy/<environment>` of the commit where it has none.',
    )
    .default(false),
  sole: z
    .boolean()
    .describe(
      'No other project looks at this repository: then its statuses are `slipway` and `slipway/<stage>` instead of `slipway/<project>` and `slipway/<project>/<stage>`, and environments and releases go without the name of the project too. Two projects of one repository that both say so overwrite each other.',
    )
    .default(false),
};

const releases = z
  .boolean()
  .describe(
    'Makes a release there when a deployment to production has succeeded, with its commits as notes. The tag is that of the run, or made as `<project>/<version>`: it is pushed like any other, so no route should take it.',
  )
  .default(false);

const described = 'Tells the forge how runs and deployments go. Default: it is told nothing. No run fails for it.';

const hostedAddress = address
  .describe(
    "Of the API, for a forge of one's own: GitHub's with `/api/v3`, GitLab's without a path. Default: the hosted one.",
  )
  .exactOptional();
const ownAddress = address.describe('Of the forge, without the path of its API.');

const hostedApi = z
  .strictObject({ url: hostedAddress, ...common, releases })
  .describe(described)
  .exactOptional();
const giteaApi = z
  .strictObject({ url: ownAddress, ...common, releases })
  .describe(described)
  .exactOptional();
const bitbucketApi = z
  .strictObject({ url: hostedAddress, ...common })
  .describe(described)
  .exactOptional();

const dataCenterApi = z
  .strictObject({ url: ownAddress, ...common })
  .describe(described)
  .exactOptional();

function forge<Kind extends string, More extends z.ZodRawShape>(kind: Kind, description: string, more: More) {
  return z.strictObject({ kind: z.literal(kind).describe(description), secrets, ...more }).meta({ title: kind });
}

/** Where events come from. */
export const Forge = z.discriminatedUnion('kind', [
  forge('github', 'GitHub, or what speaks as it does.', { api: hostedApi }),
  forge(
    'gitlab',
    'GitLab. A secret that begins with `whsec_` is a signing token; any other is the secret token, which GitLab sends along.',
    { api: hostedApi },
  ),
  forge('gitea', 'Gitea or Forgejo.', { api: giteaApi }),
  forge('bitbucket', 'Bitbucket Cloud. Pull requests from forks are ignored: it does not give out their commits.', {
    api: bitbucketApi,
  }),
  forge('bitbucket-data-center', 'Bitbucket Data Center or Server.', { api: dataCenterApi }),
  forge('generic', 'Anything that signs by standardwebhooks.com; docs/webhooks.md has the JSON.', {}),
]);
