import { rm } from 'node:fs/promises';
import { asksForChanges } from '../definition/conditions.ts';
import { type DefinitionPair, hashDefinition, serialiseDefinition } from '../definition/pair.ts';
import { resolveParameters } from '../definition/parameters.ts';
import { resolvePipeline } from '../definition/pipeline.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { routesOf } from '../definition/routes.ts';
import type { PipelineSpec } from '../definition/specs/pipeline.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { type Machine, machineWarnings } from '../domain/machine.ts';
import { type Route, asksForPaths, foreignRoute, isForeign, routeEvent } from '../domain/routing.ts';
import {
  type Anew,
  type RunInput,
  type RunPlan,
  type RunRef,
  type Workspace,
  attemptOf,
  fetchedRef,
} from '../domain/run.ts';
import { whySkipped } from '../domain/skip.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import { changedPaths } from './changed-paths.ts';
import { checkOnRef } from './commit-on-ref.ts';
import type { NoticeActivities, SourceActivities } from './contracts.ts';
import { type Documents, createDocuments, readInside } from './documents.ts';
import { tellsFindings } from './findings-told.ts';
import { forgeApiOf } from './forges.ts';
import type { Logs } from './logs.ts';
import { startedNotice } from './notice-texts.ts';
import { type Pipelines, resolveOptionsOf } from './pipelines.ts';
import { checkServiceIsBuilt, gatesWithoutStage, planOf } from './run-plan.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';
import type { CheckTools } from './tools.ts';
import {
  type WorkspaceFolders,
  ensureFolders,
  foldersOf,
  workspacePath,
  writeChanged,
  writeRequest,
} from './workspaces.ts';

/** What the store does for a run that is being prepared. */
export interface RunStore {
  /** The run of this input, made with the next number where nobody asked for it before. Idempotent. */
  openRun(input: RunInput): Promise<RunRef>;
  /** project.yaml as it is in force; undefined where there is no such project. */
  readProject(name: string): Promise<{ readonly text: string; readonly hash: string } | undefined>;
  /** Keeps a pair of documents (`serialiseDefinition`) under its hash. */
  putDefinition(hash: string, text: string): Promise<void>;
  /** What was found out; goes to the spool, so that it neither waits nor fails. */
  recordPlan(plan: RunPlan): void;
}

/** Checks what an environment's file gives against what the repository requires; throws `EnvironmentFileInvalid`. */
export type CheckConfiguration = (
  pair: DefinitionPair,
  environment: string,
  readFile: (path: string) => Promise<string | undefined>,
) => Promise<unknown>;

export interface SourceDependencies {
  readonly repositories: SourceRepository;
  readonly store: RunStore;
  readonly pipelines: Pipelines;
  readonly readSecret: ReadSecret;
  readonly checkTools: CheckTools;
  /** Never fails; what is free is of the disk that the folder lies on. */
  readonly readMachine: (folder: string) => Promise<Machine>;
  readonly checkConfiguration: CheckConfiguration;
  readonly logs: Logs;
  /** Tells people that a run has begun, from here: a workflow that told it would cost every run an activity. Nobody waits for it. */
  readonly sendNotice: NoticeActivities['sendNotice'];
  /** Where workspaces lie, the task queue that only this worker polls, and how long a run waits for it ({@link Workspace.patienceMs}). */
  readonly workspaces: { readonly folder: string; readonly queue: string; readonly patienceMs?: number };
}

const heartbeatMs = 300;

/** Prepares runs on this worker. */
export function createSourceActivities(deps: SourceDependencies): SourceActivities {
  const documents = createDocuments();
  return {
    async prepareRun(input) {
      try {
        // Git watches its own silence.
        return await withHeartbeat(
          heartbeatMs,
          (signal) => prepareRun(deps, documents, input, signal),
          undefined,
          Infinity,
        );
      } catch (error) {
        throw toFailure(error);
      }
    },

    async releaseWorkspace({ run, workspace }) {
      deps.pipelines.forget(run);
      await rm(foldersOf(workspace).root, { recursive: true, force: true }).catch(() => undefined);
    },
  };
}

async function prepareRun(
  deps: SourceDependencies,
  documents: Documents,
  { anew, ...asked }: RunInput & { readonly anew?: Anew },
  signal: AbortSignal,
): Promise<RunPlan> {
  const { folder, queue, patienceMs } = deps.workspaces;
  const workspace: Workspace = {
    queue,
    path: workspacePath(folder, asked),
    ...(patienceMs === undefined ? {} : { patienceMs }),
    ...(anew === undefined ? {} : { checkout: anew.checkout }),
  };
  const folders = foldersOf(workspace);
  const opening = deps.store.openRun(asked);
  // Whoever fails first is told; this one is waited for below.
  opening.catch(() => undefined);
  const [{ text, project }] = await Promise.all([readProject(deps, documents, asked.project), ensureFolders(folders)]);
  const repository = await repositoryAddress(project, deps.readSecret);
  const { after, ref } = asked.event;
  // The checkout needs nothing of the run's row, and takes as long as the store takes to write it.
  const [run, commit] = await beside(opening, signal, async (until) => {
    const isByHand = asked.event.kind === 'manual';
    const [checkedOut, newest] = await Promise.all([
      deps.repositories.checkOut({
        repository,
        commit: after,
        ref: fetchedRef(asked.event),
        path: folders.source,
        signal: until,
      }),
      isByHand ? deps.repositories.resolveRef(repository, ref, until) : undefined,
      writeRequest(folders, asked),
    ]);
    if (isByHand) await checkOnRef(deps.repositories, repository, asked.event, newest, until);
    return checkedOut;
  });
  const pair = await documents.pair(folders, project, text);
  const input = await withParameters(asked, pair, folders);
  const routes = routesOf(project);
  const conditional = asksForChanges(pair.repository);
  const changed =
    conditional || asksForPaths(routes)
      ? await changedPaths(deps.repositories, repository, input.event, signal)
      : undefined;
  if (conditional && changed !== undefined) await writeChanged(folders, changed);
  const parameters = { values: input.parameters ?? {}, complete: true };
  const decision = routeEvent(input.event, routes, changed, parameters);
  const skipped = whySkipped(input, decision, commit);
  // A run that was accepted is prepared even if the routes have changed since: its checks are still wanted, where it goes is not.
  const wanted = skipped === undefined && input.checksOnly !== true;
  const asWritten = decision.kind === 'run' && wanted ? decision.route : undefined;
  // Somebody's word that it may be run, or `forks: allow`, is none that it may be deployed.
  const withholds = asWritten !== undefined && isForeign(input.event);
  const route = withholds ? foreignRoute(asWritten) : asWritten;
  const groups = route?.imageGroups === undefined ? {} : { imageGroups: route.imageGroups };
  const pipeline = resolvePipeline(pair, { ...resolveOptionsOf(input, changed), ...groups });
  checkServiceIsBuilt(pair, pipeline, route, input);
  const definition = hashDefinition(pair);
  const [machine] = await Promise.all([
    deps.readMachine(deps.workspaces.folder),
    deps.store.putDefinition(definition, serialiseDefinition(pair)),
    deps.checkTools(pipeline.tools),
    ...(route?.environments ?? []).map((environment) =>
      deps.checkConfiguration(pair, environment, (path) => readInside(folders.source, path)),
    ),
  ]);
  deps.pipelines.remember(run, { input, pair, pipeline });
  const judges = skipped === undefined && input.release === undefined;
  const unjudged = judges ? gatesWithoutStage(pair, pipeline, { buildImages: route?.buildImages ?? 'none' }) : [];
  const tells = forgeApiOf(project) !== undefined;
  const findings = tellsFindings(project);
  const withheld = withholds ? whatIsWithheld(asWritten) : [];
  const warnings = [...withheld, ...machineWarnings(pipeline.machine, machine), ...unjudged];
  const plan = planOf({
    input,
    run,
    commit,
    definition,
    workspace,
    pipeline,
    route,
    skipped,
    tells,
    findings,
    warnings,
    turnTimeoutMs: project.runs.timeout,
  });
  deps.store.recordPlan(plan);
  tell(deps.logs, plan, route, pipeline, anew);
  void deps.sendNotice(startedNotice(input, plan)).catch(() => undefined);
  return plan;
}

/** What a pull request from a fork does not get of what its route says; nothing where it says nothing of the kind. */
function whatIsWithheld({ environments, buildImages }: Route): readonly string[] {
  const where = environments.length === 0 ? [] : [`it is not deployed to ${environments.join(', ')}`];
  const images = buildImages === 'push' ? ['its images are not pushed'] : [];
  const both = [...where, ...images].join(', and ');
  return both === ''
    ? []
    : [`This may be the code of anybody, a pull request from a fork: ${both}, whatever the route says.`];
}

/**
 * Two things at once, of which the second works in the workspace: it is ended, and waited for, before the failure of the first is told, for the
 * next attempt works in the same place.
 */
async function beside<One, Other>(
  one: Promise<One>,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Other>,
): Promise<readonly [One, Other]> {
  const stop = new AbortController();
  const other = work(AbortSignal.any([signal, stop.signal]));
  other.catch(() => undefined);
  try {
    return [await one, await other];
  } catch (error) {
    stop.abort(error);
    await other.catch(() => undefined);
    throw error;
  }
}

/** The parameters with their defaults, kept where later activities of this machine find them. */
async function withParameters(input: RunInput, pair: DefinitionPair, folders: WorkspaceFolders): Promise<RunInput> {
  const parameters = resolveParameters(
    pair.repository.parameters,
    input.parameters ?? {},
    input.event.kind === 'manual' || input.event.kind === 'schedule',
  );
  if (Object.keys(parameters).length === 0) return input;
  const complete = { ...input, parameters };
  await writeRequest(folders, complete);
  return complete;
}

/** The first page of the run's log: what is being run, and where it goes. */
function tell(
  logs: Logs,
  plan: RunPlan,
  route: Route | undefined,
  { otherImages }: PipelineSpec,
  anew: Anew | undefined,
): void {
  const log = logs.open({ run: plan.run, stage: 'prepare', step: 'checkout', attempt: attemptOf(plan, 1) });
  const { commit } = plan;
  if (anew !== undefined) log.say(`the run begins anew: ${anew.why}`);
  log.say(`version ${plan.version}`);
  log.say(`commit ${commit.sha} by ${commit.author}, ${commit.at}: ${commit.message.split('\n', 1)[0] ?? ''}`);
  log.say(`definition ${plan.definition}`);
  log.say(`stages: ${plan.stages.map(({ name }) => name).join(', ') || 'none'}`);
  log.say(`images: ${plan.images.length === 0 ? 'none' : `${plan.images.join(', ')} (${plan.buildImages})`}`);
  for (const { name, group, why } of plan.buildImages === 'none' ? [] : otherImages) {
    log.say(`image ${name} of ${group} is not built: ${why}`);
  }
  if (plan.skipped !== undefined) {
    log.say(`nothing is run: ${plan.skipped}`);
    void log.close();
    return;
  }
  for (const warning of plan.warnings ?? []) log.say(`warning: ${warning}`);
  log.say(
    route === undefined
      ? 'no route is for this event any more: checks only'
      : `goes to: ${plan.environments.join(', ') || 'nowhere'}`,
  );
  void log.close();
}

async function readProject(
  deps: SourceDependencies,
  documents: Documents,
  name: string,
): Promise<{ readonly text: string; readonly project: ProjectDefinition }> {
  const stored = await deps.store.readProject(name);
  if (stored === undefined) throw new ProviderError('NotFound', `there is no project ${name}`);
  return { text: stored.text, project: documents.project(stored.text) };
}
