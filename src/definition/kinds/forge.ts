import { z } from 'zod';
import { Secret } from '../scalars.ts';

const secrets = z
  .array(Secret)
  .min(1, { error: 'must have at least one secret: unsigned webhooks are refused' })
  .max(2, { error: 'must have at most two secrets: the present one, and the next while it is being changed' })
  .describe('Secrets of the webhook. Two are valid at once, so that one can be changed without losing a delivery.');

function forge<Kind extends string>(kind: Kind, description: string) {
  return z.strictObject({ kind: z.literal(kind).describe(description), secrets }).meta({ title: kind });
}

/** Where events come from. */
export const Forge = z.discriminatedUnion('kind', [
  forge('github', 'GitHub, or what speaks as it does.'),
  forge(
    'gitlab',
    'GitLab. A secret that begins with `whsec_` is a signing token; any other is the secret token, which GitLab sends along.',
  ),
  forge('gitea', 'Gitea or Forgejo.'),
  forge('bitbucket', 'Bitbucket Cloud. Pull requests from forks are ignored: it does not give out their commits.'),
  forge('bitbucket-data-center', 'Bitbucket Data Center or Server.'),
  forge('generic', 'Anything that signs by standardwebhooks.com; docs/webhooks.md has the JSON.'),
]);
