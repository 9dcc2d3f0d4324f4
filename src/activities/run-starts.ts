import { loadProject, loadRepository, definitionInvalid } from '../definition/load.ts';
import { resolveParameters } from '../definition/parameters.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { routesOf } from '../definition/routes.ts';
import { runKeyOfStart } from '../definition/run-key.ts';
import { ProviderError } from '../domain/failures.ts';
import { routeEvent } from '../domain/routing.ts';
import type { RunInput, SourceEvent } from '../domain/run.ts';
import { type StartRule, rowOf, ruleFor, whyNoStart } from '../domain/run-start.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import { acceptRun, readAccepted } from '../store/inbox.ts';
import { readProject } from '../store/projects.ts';
import type { Store } from '../store/store.ts';
import { beating } from './changes.ts';
import type { StartActivities } from './contracts.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

export interface RunStartDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly repositories: Pick<SourceRepository, 'resolveRef' | 'ensureCommit' | 'readFile'>;
  readonly readSecret: ReadSecret;
}

type Asked = Parameters<StartActivities['acceptStartedRun']>[0];
type Accepted = Awaited<ReturnType<StartActivities['acceptStartedRun']>>;

const noCommit = '0'.repeat(40);

/** Accepts what a stage starts in another project; its workflow begins with the stage, or by the API where that cannot any more. */
export function createRunStartActivities(deps: RunStartDependencies): StartActivities {
  return { acceptStartedRun: (asked) => beating((signal) => accept(deps, asked, signal), Infinity) };
}

async function accept(deps: RunStartDependencies, asked: Asked, signal: AbortSignal): Promise<Accepted> {
  const { run, stage, starts, by } = asked;
  const { db } = deps.store;
  const starter = { ...run, event: by.event, ...(by.startedBy === undefined ? {} : { startedBy: by.startedBy }) };
  const why = whyNoStart(starter, starts.project);
  if (why !== undefined) throw new ProviderError('NotAllowed', why);
  const key = runKeyOfStart(run, stage);
  // The ref may have moved since an earlier try; what that one has accepted is what holds.
  const known = await readAccepted(db, starts.project, key);
  if (known !== undefined) return { number: known.number, input: known.input };

  const project = await find(deps, starts.project);
  const ref = starts.ref ?? `refs/heads/${project?.repository.releaseBranch ?? ''}`;
  const rule = project === undefined ? undefined : ruleFor(rulesOf(project), starter, ref);
  if (project === undefined || rule === undefined) {
    // The same answer for both: whoever may not start it does not learn whether it is there.
    const what = starts.ref === undefined ? starts.project : `${starts.ref} of ${starts.project}`;
    throw new ProviderError(
      'NotAllowed',
      `Runs of ${by.event.ref} of ${run.project} may not start ${what}: there is no such project, or its \`startedBy\` does not say so.`,
    );
  }
  const after = await readCommit(deps, project, ref, starts.parameters, signal);
  const event: SourceEvent = { kind: 'manual', ref, before: noCommit, after, author: by.event.author };
  if (rule.deploys) {
    const known = { values: starts.parameters, complete: false };
    const decision = routeEvent(event, routesOf(project), undefined, known);
    if (decision.kind === 'ignored') throw new ProviderError('InvalidInput', decision.why);
  }
  // An abort that came meanwhile finds nothing to end; after this it finds the run.
  signal.throwIfAborted();
  const above = rowOf(starter).slice(0, -1);
  const { number, input } = await acceptRun(db, {
    project: starts.project,
    key,
    event,
    acceptedAt: new Date().toISOString(),
    startedBy: { project: run.project, number: run.number, key: run.key, stage, above },
    ...(by.requestedBy === undefined ? {} : { requestedBy: by.requestedBy }),
    ...(rule.deploys ? {} : { checksOnly: true as const }),
    ...(Object.keys(starts.parameters).length === 0 ? {} : { parameters: starts.parameters }),
  });
  return { number, input };
}

async function find({ store }: RunStartDependencies, name: string): Promise<ProjectDefinition | undefined> {
  const stored = await readProject(store.db, name);
  const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
  return loaded?.ok === true ? loaded.value : undefined;
}

function rulesOf({ startedBy, repository }: ProjectDefinition): readonly StartRule[] {
  return startedBy.map(({ project, from, refs, deploys }) => ({
    project,
    from: from ?? ['**'],
    refs: refs ?? [repository.releaseBranch],
    deploys,
  }));
}

/** The newest commit of a ref, once what it declares agrees with what it is to be given. */
async function readCommit(
  { repositories, readSecret }: RunStartDependencies,
  project: ProjectDefinition,
  ref: string,
  parameters: RunInput['parameters'] = {},
  signal: AbortSignal,
): Promise<string> {
  const { project: name } = project;
  const repository = await repositoryAddress(project, readSecret);
  const commit = await repositories.resolveRef(repository, ref, signal);
  if (commit === undefined) throw new ProviderError('CommitNotFound', `The repository of ${name} has no ${ref}.`);
  await repositories.ensureCommit({ repository, commit, ref, signal });
  const path = project.repository.definition;
  const text = await repositories.readFile({ project: name, commit, path, signal });
  if (text === undefined) {
    throw new ProviderError('DefinitionInvalid', `${ref} of ${name} has no ${path}.`, { details: { file: path } });
  }
  const loaded = loadRepository({ file: path, text });
  if (!loaded.ok) throw definitionInvalid(loaded.problems);
  resolveParameters(loaded.value.parameters, parameters, true);
  return commit;
}
