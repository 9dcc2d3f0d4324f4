import type { LocalContext } from './context.ts';
import { installGoProgram } from './packages.ts';
import { findProgram, obtain } from './programs.ts';

/** What is built to show the infrastructure stage by; a worker only looks for what the project says (`providers/infrastructures`). */
const recipes = {
  // The last whose go.mod can be installed from outside of its repository, and the last under the Mozilla licence.
  terraform: { module: 'github.com/hashicorp/terraform@v1.5.7', hint: 'two to four minutes, once' },
  // Under the Mozilla licence too; a module that replaces one of its own can only be built where it lies.
  tofu: {
    module: 'github.com/opentofu/opentofu/cmd/tofu@v1.10.10',
    root: 'github.com/opentofu/opentofu',
    hint: 'three to five minutes, once',
  },
  // Its releases are no versions of a Go module.
  minio: {
    module: 'github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c',
    hint: 'two to four minutes, once',
  },
} as const;
export type InfrastructureProgram = keyof typeof recipes;

/**
 * Finds a program, or builds it from its Go module into the cache.
 *
 * @throws ProviderError `ToolMissing` (not retried): it is not there and cannot be built here.
 */
export async function ensureInfrastructureProgram(context: LocalContext, name: InfrastructureProgram): Promise<string> {
  const { module, ...options } = recipes[name];
  return await obtain<string>(
    name,
    [
      { what: `\`${name}\` in the cache and on PATH`, take: () => findProgram(context, name) },
      { what: 'building it with Go', take: () => installGoProgram(context, name, module, options) },
    ],
    `Put ${name} on PATH, or give the machine Go and its module proxy.`,
  );
}
