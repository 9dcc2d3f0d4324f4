import { createGithubApi } from './github.ts';
import { createGitlabApi } from './gitlab.ts';
import type { ForgeApi, ForgeApiOptions } from './port.ts';

/** Every forge that can be told something, by the kind that a project names. */
export const forgeApis = {
  github: createGithubApi,
  gitlab: createGitlabApi,
} as const satisfies Readonly<Record<string, (options: ForgeApiOptions) => Promise<ForgeApi>>>;

export type ForgeApiKind = keyof typeof forgeApis;
