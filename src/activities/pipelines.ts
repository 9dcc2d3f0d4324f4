import { ProviderError } from '../domain/failures.ts';
import type { RunInput, RunPlan } from '../domain/run.ts';
import type { DefinitionPair } from '../definition/pair.ts';
import { type ResolveOptions, resolvePipeline } from '../definition/pipeline.ts';
import type { PipelineSpec } from '../definition/specs/pipeline.ts';
import { foldersOf, readChanged, readRequest } from './workspaces.ts';

/** Parsed pairs of documents by the hash under which the store keeps them. */
export interface Definitions {
  /** @throws `NotFound`: none is kept under the hash; `StoreUnavailable` (retried) */
  read(hash: string): Promise<DefinitionPair>;
}

/** What the activities of a run need to know of it beyond its plan. */
export interface RunPipeline {
  readonly input: RunInput;
  readonly pair: DefinitionPair;
  readonly pipeline: PipelineSpec;
}

const remembered = 200;

/** What a pipeline is resolved by, when it is prepared and whenever it is read again. */
export function resolveOptionsOf(input: RunInput, changed: readonly string[] | undefined): ResolveOptions {
  const { event, parameters = {} } = input;
  return { fork: event.fork ?? false, facts: { event, parameters, changed } };
}

/** Finds the pipeline of a run again: from memory, else from the workspace and the store. */
export interface Pipelines {
  of(plan: RunPlan): Promise<RunPipeline>;
  remember(key: { readonly project: string; readonly key: string }, pipeline: RunPipeline): void;
  forget(key: { readonly project: string; readonly key: string }): void;
}

/** @param definitions - where pairs are kept once the memory of this process is gone. */
export function createPipelines(definitions: Definitions): Pipelines {
  const known = new Map<string, RunPipeline>();
  const name = (run: { readonly project: string; readonly key: string }): string => `${run.project}/${run.key}`;

  function remember(run: { readonly project: string; readonly key: string }, pipeline: RunPipeline): void {
    const oldest = known.size >= remembered ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
    known.set(name(run), pipeline);
  }

  return {
    remember,
    forget: (run) => void known.delete(name(run)),
    async of(plan) {
      const found = known.get(name(plan.run));
      if (found !== undefined) return found;
      const folders = foldersOf(plan.workspace);
      const [input, pair, changed] = await Promise.all([
        readRequest(folders),
        definitions.read(plan.definition),
        readChanged(folders),
      ]);
      if (input === undefined) {
        // Another try here finds it no more than this one; the run begins anew.
        throw new ProviderError('WorkspaceLost', `the workspace ${plan.workspace.path} is not on this worker`, {
          nonRetryable: true,
        });
      }
      const resolved = resolvePipeline(pair, resolveOptionsOf(input, changed));
      // Which images were chosen, and by which route, stands in the plan.
      const images = resolved.images.filter(({ name }) => plan.images.includes(name));
      const pipeline = { input, pair, pipeline: { ...resolved, images } };
      remember(plan.run, pipeline);
      return pipeline;
    },
  };
}
