import { coerce, satisfies } from 'semver';
import type { ToolRequirement } from '../definition/specs/pipeline.ts';
import { ProviderError } from '../domain/failures.ts';
import { runTool } from '../effects/process.ts';

/**
 * Checks that the worker has tools in the versions asked for.
 *
 * @throws `ToolMissing`, `ToolTooOld` (not retried): the message has all of them.
 */
export type CheckTools = (tools: readonly ToolRequirement[]) => Promise<void>;

/** How a tool says its version; the first that answers with a number counts. Java knows but the second, Go and Docker's server the third. */
const questions = ['--version', '-version', 'version'] as const;
const answerMs = 10_000;

/** @param rememberMs - how long an answer holds. Default one minute: tools are seldom updated, runs start all the time. */
export function createToolCheck({ rememberMs = 60_000 }: { readonly rememberMs?: number } = {}): CheckTools {
  const known = new Map<string, { readonly at: number; readonly version: Promise<string | undefined> }>();

  function versionOf(tool: string): Promise<string | undefined> {
    const found = known.get(tool);
    if (found !== undefined && performance.now() - found.at < rememberMs) return found.version;
    const version = askVersion(tool);
    known.set(tool, { at: performance.now(), version });
    version.catch(() => known.delete(tool));
    return version;
  }

  return async (tools) => {
    const found = await Promise.all(tools.map(async (tool) => ({ ...tool, version: await versionOf(tool.name) })));
    const missing = found.filter(({ version }) => version === undefined);
    const old = found.filter(({ version, range }) => version !== undefined && !satisfies(version, range));
    const wrong = [
      ...missing.map(({ name, range }) => `${name} ${range} is not there`),
      ...old.map(({ name, range, version }) => `${name} is ${version ?? 'unknown'}, wanted ${range}`),
    ];
    if (wrong.length === 0) return;
    throw new ProviderError(missing.length > 0 ? 'ToolMissing' : 'ToolTooOld', `on this worker ${wrong.join('; ')}`, {
      details: { tools: wrong },
    });
  };
}

/** @returns undefined where the tool is not there or says no number. */
async function askVersion(tool: string): Promise<string | undefined> {
  for (const question of questions) {
    try {
      const { stdout, stderr } = await runTool({ command: [tool, question], timeoutMs: answerMs, cwd: '/' });
      const version = coerce(/\d+\.\d+(?:\.\d+)?/.exec(`${stdout}\n${stderr}`)?.[0]);
      if (version !== null) return version.version;
    } catch (error) {
      if (error instanceof ProviderError && error.type === 'ToolMissing') return undefined;
      throw error;
    }
  }
  return undefined;
}
