import { constants } from 'node:fs';
import { open, realpath, rm } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { asksForChanges } from '../definition/conditions.ts';
import { hashDefinition, serialiseDefinition, type DefinitionPair } from '../definition/pair.ts';
import { definitionInvalid, loadPair, loadProject, type Loaded } from '../definition/load.ts';
import { resolveGateFloors } from '../definition/gates.ts';
import { parameterVariable, resolveParameters } from '../definition/parameters.ts';
import { fillStart, publishedBy, resolvePipeline } from '../definition/pipeline.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { routesOf } from '../definition/routes.ts';
import type { PipelineSpec } from '../definition/specs/pipeline.ts';
import type { StageSpec } from '../definition/specs/stage.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { type Machine, machineWarnings } from '../domain/machine.ts';
import { asksForPaths, routeEvent, type Route, type RouteDecision } from '../domain/routing.ts';
import {
  type CommitInfo,
  type RunInput,
  type RunPlan,
  type RunRef,
  type StagePlan,
  type Workspace,
  fetchedRef,
} from '../domain/run.ts';
import { asksToSkip } from '../domain/skip.ts';
import { versionOf } from '../domain/version.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import type { RepositoryAddress, SourceRepository } from '../providers/repositories/port.ts';
import { checkOnRef } from './commit-on-ref.ts';
import type { NoticeActivities, SourceActivities } from './contracts.ts';
import { tellsFindings } from './findings-told.ts';
import { forgeApiOf } from './forges.ts';
import type { Logs } from './logs.ts';
import { startedNotice } from './notice-texts.ts';
import { type Pipelines, resolveOptionsOf } from './pipelines.ts';
import { repositoryAddress, type ReadSecret } from './secrets.ts';
import { lastToJudge } from './reports.ts';
import { longestKeepMs } from './stage-files.ts';
import type { CheckTools } from './tools.ts';
import {
  ensureFolders,
  foldersOf,
  workspacePath,
  writeChanged,
  writeRequest,
  type WorkspaceFolders,
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
  /** Where workspaces lie, and the task queue that only this worker polls. */
  readonly workspaces: { readonly folder: string; readonly queue: string };
}

const heartbeatMs = 300;
/** As large as a document may be; `readYaml` says so in words. */
const maxDocumentBytes = 1024 * 1024 + 1;
const rememberedDocuments = 50;

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
  asked: RunInput,
  signal: AbortSignal,
): Promise<RunPlan> {
  const workspace: Workspace = {
    queue: deps.workspaces.queue,
    path: workspacePath(deps.workspaces.folder, asked),
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
  const decision = routeEvent(input.event, routes, changed);
  const skipped = whySkipped(input, decision, commit);
  // A run that was accepted is prepared even if the routes have changed since: its checks are still wanted, where it goes is not.
  const wanted = skipped === undefined && input.checksOnly !== true;
  const route = decision.kind === 'run' && wanted ? decision.route : undefined;
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
  const unjudged = skipped === undefined && input.release === undefined ? gatesWithoutStage(pair, pipeline) : [];
  const tells = forgeApiOf(project) !== undefined;
  const findings = tellsFindings(project);
  const warnings = [...machineWarnings(pipeline.machine, machine), ...unjudged];
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
  tell(deps.logs, plan, route, pipeline);
  void deps.sendNotice(startedNotice(input, plan)).catch(() => undefined);
  return plan;
}

/**
 * What is deployed has to be built.
 *
 * @throws `DefinitionInvalid` (not retried): the image of the service is in a group that this run does not build.
 */
function checkServiceIsBuilt(
  { repository }: DefinitionPair,
  { images, otherImages }: PipelineSpec,
  route: Route | undefined,
  { release }: RunInput,
): void {
  const wanted = repository.service?.image;
  if (route === undefined || route.environments.length === 0 || release !== undefined || wanted === undefined) return;
  if (images.some(({ name }) => name === wanted)) return;
  const why = otherImages.find(({ name }) => name === wanted)?.why ?? 'There is no such image.';
  const where = route.environments.join(', ');
  throw new ProviderError(
    'DefinitionInvalid',
    `${wanted} goes to ${where}, but this run does not build it: ${why} Take it out of its group, or the group into the route.`,
    { details: { image: wanted, environments: route.environments } },
  );
}

/**
 * Gates that the project asks for in every run, where none of its stages runs: nobody else would say that nothing was looked at.
 *
 * @returns a line for each that only warns.
 * @throws `GateErrored` (not retried): one of them blocks.
 */
function gatesWithoutStage({ project }: DefinitionPair, { stages, supplyChain }: PipelineSpec): readonly string[] {
  if (lastToJudge(stages) !== undefined) return [];
  const asked = resolveGateFloors(project).filter(
    ({ gate, demanded, mode }) =>
      demanded &&
      mode !== 'off' &&
      gate !== 'access-control' &&
      gate !== 'compliance' &&
      (gate !== 'container' || supplyChain.scan === undefined),
  );
  const blocking = asked.filter(({ mode }) => mode === 'block');
  if (blocking.length > 0) {
    const gates = blocking.map(({ gate }) => gate);
    throw new ProviderError(
      'GateErrored',
      `No stage of this run feeds what the project asks for: ${gates.join(', ')}.`,
      {
        details: { gates },
      },
    );
  }
  return asked.map(({ gate }) => `Gate ${gate} errored: no stage of this run feeds it.`);
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

interface Findings {
  readonly input: RunInput;
  readonly run: RunRef;
  readonly commit: CommitInfo;
  readonly definition: string;
  readonly workspace: Workspace;
  readonly pipeline: PipelineSpec;
  readonly route: Route | undefined;
  readonly skipped: string | undefined;
  readonly tells: boolean;
  readonly findings: boolean;
  readonly warnings: readonly string[];
  readonly turnTimeoutMs: number;
}

/**
 * The paths that an event changed, for routes that look at them: between its two commits, and of a pull request since it left the branch
 * that it goes into. Undefined where there is nothing to compare with, which counts as everything (docs/adr/0006).
 */
async function changedPaths(
  repositories: SourceRepository,
  repository: RepositoryAddress,
  { kind, before, after, into }: RunInput['event'],
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const { project } = repository;
  if (kind === 'push') {
    return /^0+$/.test(before)
      ? undefined
      : await repositories.changedPaths({ project, from: before, to: after, sinceMerge: false, signal });
  }
  if (kind !== 'pull-request' || into === undefined) return undefined;
  const ref = `refs/heads/${into}`;
  const base = await repositories.resolveRef(repository, ref, signal);
  if (base === undefined) return undefined;
  await repositories.ensureCommit({ repository, commit: base, ref, signal });
  return await repositories.changedPaths({ project, from: base, to: after, sinceMerge: true, signal });
}

/** Why an accepted run runs nothing. Who asks for one by hand, or to deploy what there is, means it. */
function whySkipped({ event, release }: RunInput, decision: RouteDecision, commit: CommitInfo): string | undefined {
  if (release !== undefined) return undefined;
  if (decision.kind === 'ignored' && decision.reason === 'no-path') return decision.why;
  return asksToSkip(event.kind, commit.message) ? 'The commit asks to be skipped.' : undefined;
}

function planOf({
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
  turnTimeoutMs,
}: Findings): RunPlan {
  const runs = skipped === undefined;
  const version = versionOf({ ref: input.event.ref, build: run.number, commit: commit.sha });
  const variables = variablesOf(input, run, commit, version);
  // A release that is deployed again was published by the run that made it.
  const publishes = runs && input.release === undefined ? route : undefined;
  const publish = publishedBy(pipeline, publishes, input.event);
  return {
    run,
    version,
    commit,
    definition,
    workspace,
    stages: (runs ? pipeline.stages : []).map((stage) => toStagePlan(stage, variables)),
    ...turnOf(route, turnTimeoutMs),
    concurrency: pipeline.concurrency,
    buildImages: route?.buildImages ?? 'none',
    images: runs ? pipeline.images.map(({ name }) => name) : [],
    ...(publish.length === 0 ? {} : { publish }),
    environments: route?.environments ?? [],
    buildTimeoutMs: pipeline.builds.timeoutMs,
    ...(tells ? { tellsForge: true as const } : {}),
    ...(findings ? { tellsFindings: true as const } : {}),
    ...(skipped === undefined ? {} : { skipped }),
    ...(runs && warnings.length > 0 ? { warnings } : {}),
  };
}

/** A run that is skipped or only to check has no route here: it neither waits nor is waited for. */
function turnOf(route: Route | undefined, timeoutMs: number): Pick<RunPlan, 'turn'> {
  const mode = route?.runs ?? 'parallel';
  return mode === 'parallel' ? {} : { turn: { mode, timeoutMs } };
}

/** What the workflow needs of a stage; what is as it always was is left out, for every stage's input carries the whole plan. */
function toStagePlan(stage: StageSpec, variables: Readonly<Record<string, string>>): StagePlan {
  const { name, timeoutMs, cleanUpMs, steps, starts, needs, outcome, skip, failFast, group, reports = [] } = stage;
  return {
    name,
    timeoutMs: timeoutMs + cleanUpMs + servicesMs(stage) + keepMs(stage),
    steps: steps.map((step) => step.name),
    ...(needs === undefined ? {} : { needs }),
    ...(outcome === 'success' ? {} : { outcome }),
    ...(skip === undefined ? {} : { skip }),
    ...(failFast ? {} : { failFast }),
    ...(group === undefined ? {} : { group }),
    ...(reports.some(({ gate }) => gate === 'tests') ? { tests: true as const } : {}),
    ...(starts === undefined ? {} : { starts: fillStart(starts, { ...variables, SLIPWAY_STAGE: name }) }),
  };
}

/** What a stage that starts another project's run may hand on of its own; what of it was never given stays as it is written. */
function variablesOf(
  { event, parameters = {} }: RunInput,
  run: RunRef,
  commit: CommitInfo,
  version: string,
): Readonly<Record<string, string>> {
  return {
    SLIPWAY_PROJECT: run.project,
    SLIPWAY_RUN: String(run.number),
    SLIPWAY_COMMIT: commit.sha,
    SLIPWAY_REF: event.ref,
    SLIPWAY_VERSION: version,
    ...Object.fromEntries(Object.entries(parameters).map(([name, value]) => [parameterVariable(name), value])),
  };
}

/** They start at once, before the stage's own time begins. */
function servicesMs({ services }: StageSpec): number {
  return Math.max(0, ...services.map(({ health }) => health.startupMs));
}

/** After the stage's own time, for what it leaves. */
function keepMs({ caches, artifacts }: StageSpec): number {
  return [caches, artifacts].filter((kept) => kept.length > 0).length * longestKeepMs;
}

/** The first page of the run's log: what is being run, and where it goes. */
function tell(logs: Logs, plan: RunPlan, route: Route | undefined, { otherImages }: PipelineSpec): void {
  const log = logs.open({ run: plan.run, stage: 'prepare', step: 'checkout', attempt: 1 });
  const { commit } = plan;
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

/** Parsed documents; they are the same from run to run, and parsing them takes longer than everything else that is done with them. */
interface Documents {
  project(text: string): ProjectDefinition;
  pair(folders: WorkspaceFolders, project: ProjectDefinition, projectText: string): Promise<DefinitionPair>;
}

function createDocuments(): Documents {
  const projects = remembering((text: string) => accepted(loadProject({ file: 'project.yaml', text })));
  const pairs = remembering((key: string) => {
    const [file, repository, project] = JSON.parse(key) as [string, string, string];
    return accepted(
      loadPair({ repository: { file, text: repository }, project: { file: 'project.yaml', text: project } }),
    );
  });
  return {
    project: projects,
    async pair(folders, project, projectText) {
      const file = project.repository.definition;
      const text = await readInside(folders.source, file);
      if (text === undefined) {
        throw new ProviderError('DefinitionInvalid', `the commit has no ${file}`, { details: { file } });
      }
      return pairs(JSON.stringify([file, text, projectText]));
    },
  };
}

function accepted<Value>(loaded: Loaded<Value>): Value {
  if (!loaded.ok) throw definitionInvalid(loaded.problems);
  return loaded.value;
}

/** Remembers results by their text; what throws is tried again. */
function remembering<Value>(make: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    const found = known.get(text) ?? make(text);
    // Deleted and set again, it is the youngest; the oldest goes.
    known.delete(text);
    known.set(text, found);
    const oldest = known.size > rememberedDocuments ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
    return found;
  };
}

/**
 * Text of a file of the checkout; undefined where there is none. A link that leads out of it is none: the worker's own files are not the
 * repository's to show.
 */
async function readInside(root: string, path: string): Promise<string | undefined> {
  try {
    const [inside, real] = await Promise.all([realpath(root), realpath(join(root, path))]);
    if (!real.startsWith(inside + sep)) return undefined;
    // A named pipe would be waited for.
    const file = await open(real, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) return undefined;
      const { bytesRead, buffer } = await file.read(Buffer.alloc(maxDocumentBytes), 0, maxDocumentBytes, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
