import type { Config } from '../config.ts';
import { ProviderError } from '../domain/failures.ts';
import { createLocalContext } from '../local/context.ts';
import { findProgram } from '../local/programs.ts';
import type { FindInfrastructureProgram } from '../providers/infrastructures/index.ts';

const programs = { terraform: 'terraform', opentofu: 'tofu' } as const;

/**
 * Looks for the tool of a project on this worker. It is never built or fetched here: a state that a newer version has written cannot be read
 * by an older one, so which version there is is for whoever runs the worker to say.
 */
export function findInfrastructureProgram(config: Config): FindInfrastructureProgram {
  const context = createLocalContext({ stateFolder: config.stateFolder, env: config.environment });
  return (kind) => {
    const name = programs[kind];
    const found = findProgram(context, name);
    if (found !== undefined) return Promise.resolve(found);
    const missing = new ProviderError(
      'ToolMissing',
      `There is no \`${name}\` on PATH of the worker that plans infrastructure.`,
    );
    return Promise.reject(missing);
  };
}
