import { createBitbucketApi } from './bitbucket.ts';
import { createBitbucketDataCenterApi } from './bitbucket-data-center.ts';
import { createGiteaApi } from './gitea.ts';
import { createGithubApi } from './github.ts';
import { createGitlabApi } from './gitlab.ts';
import type { ForgeApi, ForgeApiOptions } from './port.ts';

/** Every forge that can be told something, by the kind that a project names. */
export const forgeApis = {
  github: createGithubApi,
  gitlab: createGitlabApi,
  gitea: createGiteaApi,
  bitbucket: createBitbucketApi,
  'bitbucket-data-center': createBitbucketDataCenterApi,
} as const satisfies Readonly<Record<string, (options: ForgeApiOptions) => Promise<ForgeApi>>>;

export type ForgeApiKind = keyof typeof forgeApis;
