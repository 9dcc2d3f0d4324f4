import { createBitbucketDataCenterForge } from './bitbucket-data-center.ts';
import { createBitbucketForge } from './bitbucket.ts';
import { createGenericForge } from './generic.ts';
import { createGiteaForge } from './gitea.ts';
import { createGithubForge } from './github.ts';
import { createGitlabForge } from './gitlab.ts';
import type { Forge } from './port.ts';

/** Every forge there is, by the kind that a project names. */
export const forges = {
  github: createGithubForge,
  gitlab: createGitlabForge,
  gitea: createGiteaForge,
  bitbucket: createBitbucketForge,
  'bitbucket-data-center': createBitbucketDataCenterForge,
  generic: createGenericForge,
} as const satisfies Readonly<Record<string, () => Forge>>;

export type ForgeKind = keyof typeof forges;

/** Every kind, in the order of the table. */
export const forgeKinds = Object.keys(forges) as readonly ForgeKind[];

/** Makes the forge of a kind. */
export function createForge(kind: ForgeKind): Forge {
  return forges[kind]();
}
