import { createGiteaIssues } from './gitea.ts';
import { createGithubIssues } from './github.ts';
import { createGitlabIssues } from './gitlab.ts';
import type { CreateIssueTracker } from './port.ts';

/** Every forge that can have issues, by the kind that a project names. */
export const forgeIssues = {
  github: createGithubIssues,
  gitlab: createGitlabIssues,
  gitea: createGiteaIssues,
} as const satisfies Readonly<Record<string, CreateIssueTracker>>;

export type IssueKind = keyof typeof forgeIssues;

export function isIssueKind(kind: string): kind is IssueKind {
  return Object.hasOwn(forgeIssues, kind);
}
