import { DockerTarget, createDockerTarget } from './docker.ts';

/** Every kind of target there is. */
export const targets = {
  docker: { schema: DockerTarget, create: createDockerTarget },
} as const;
