import { createGithubForge } from './github.ts';
import type { Forge } from './port.ts';

/** Every forge there is, by the kind that a project names. */
export const forges = {
  github: createGithubForge,
} as const satisfies Readonly<Record<string, () => Forge>>;

export type ForgeKind = keyof typeof forges;

/** Makes the forge of a kind. */
export function createForge(kind: ForgeKind): Forge {
  return forges[kind]();
}
