import { join } from 'node:path';
import type { LocalContext } from '../../src/local/context.ts';
import { installGoProgram } from '../../src/local/packages.ts';
import { isProgram, obtain } from '../../src/local/programs.ts';

/** What `docker-compose.yml` is started with and starts, where there is no public image of it; the versions are those that the file names. */
const recipes = {
  // Its module leaves versions of others out, and so can only be built where it lies.
  'docker-compose': {
    module: 'github.com/docker/compose/v2/cmd@v2.40.3',
    root: 'github.com/docker/compose/v2',
    ldflags: '-X github.com/docker/compose/v2/internal.Version=v2.40.3',
    hint: 'three to seven minutes, once',
  },
  'temporal-server': {
    module: 'go.temporal.io/server/cmd/server@v1.31.0',
    root: 'go.temporal.io/server',
    hint: 'three to seven minutes, once',
  },
  'temporal-sql-tool': {
    module: 'go.temporal.io/server/cmd/tools/sql@v1.31.0',
    root: 'go.temporal.io/server',
    hint: 'three to six minutes, once',
  },
  'temporal-ui-server': {
    module: 'github.com/temporalio/ui-server/v2/cmd/server@v2.49.1',
    root: 'github.com/temporalio/ui-server/v2',
    hint: 'one to three minutes, once',
  },
} as const;
export type ComposeProgram = keyof typeof recipes;

/**
 * Finds a program in the cache, or builds it from its Go module into the cache.
 *
 * @throws ProviderError `ToolMissing` (not retried): it is not there and cannot be built here.
 */
export async function ensureComposeProgram(context: LocalContext, name: ComposeProgram): Promise<string> {
  const { module, ...options } = recipes[name];
  const built = join(context.cacheFolder, 'bin', name);
  return await obtain<string>(
    name,
    [
      // Not one on PATH: it could be of any version.
      { what: `\`${name}\` in the cache`, take: () => (isProgram(built) ? built : undefined) },
      { what: 'building it with Go', take: () => installGoProgram(context, name, module, { ...options, name }) },
    ],
    'Give the machine Go and its module proxy.',
  );
}
