import { createGiteaProtection } from './gitea.ts';
import { createGithubProtection } from './github.ts';
import { createGitlabProtection } from './gitlab.ts';
import type { CreateProtectionReader } from './port.ts';

/** Every forge whose branch protection can be read, by the kind that a project names. */
export const branchProtections = {
  github: createGithubProtection,
  gitlab: createGitlabProtection,
  gitea: createGiteaProtection,
} as const satisfies Readonly<Record<string, CreateProtectionReader>>;

export type ProtectionKind = keyof typeof branchProtections;

export function isProtectionKind(kind: string): kind is ProtectionKind {
  return Object.hasOwn(branchProtections, kind);
}
