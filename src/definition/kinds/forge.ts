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
};

const described = 'Tells the forge how runs and deployments go. Default: it is told nothing. No run fails for it.';

/** Of a forge that there is as a service too. */
const api = z
  .strictObject({
    url: address
      .describe(
        "Of the API, for a forge of one's own: GitHub's with `/api/v3`, GitLab's without a path. Default: the hosted one.",
      )
      .exactOptional(),
    ...common,
  })
  .describe(described)
  .exactOptional();

/** Of a forge that is always one's own. */
const ownApi = z
  .strictObject({ url: address.describe('Of the forge, without the path of its API.'), ...common })
  .describe(described)
  .exactOptional();

function tellable<Kind extends string>(kind: Kind, description: string) {
  return z.strictObject({ kind: z.literal(kind).describe(description), secrets, api }).meta({ title: kind });
}

function ownTellable<Kind extends string>(kind: Kind, description: string) {
  return z.strictObject({ kind: z.literal(kind).describe(description), secrets, api: ownApi }).meta({ title: kind });
}

function forge<Kind extends string>(kind: Kind, description: string) {
  return z.strictObject({ kind: z.literal(kind).describe(description), secrets }).meta({ title: kind });
}

/** Where events come from. */
export const Forge = z.discriminatedUnion('kind', [
  tellable('github', 'GitHub, or what speaks as it does.'),
  tellable(
    'gitlab',
    'GitLab. A secret that begins with `whsec_` is a signing token; any other is the secret token, which GitLab sends along.',
  ),
  ownTellable('gitea', 'Gitea or Forgejo.'),
  tellable('bitbucket', 'Bitbucket Cloud. Pull requests from forks are ignored: it does not give out their commits.'),
  ownTellable('bitbucket-data-center', 'Bitbucket Data Center or Server.'),
  forge('generic', 'Anything that signs by standardwebhooks.com; docs/webhooks.md has the JSON.'),
]);
