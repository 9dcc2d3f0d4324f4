/** The plan of a run: what of its pipeline is run, and what keeps it from being run at all. */
import { resolveGateFloors } from '../definition/gates.ts';
import type { DefinitionPair } from '../definition/pair.ts';
import { parameterVariable } from '../definition/parameters.ts';
import { publishedBy } from '../definition/pipeline.ts';
import { fillStart } from '../definition/stage-resolution.ts';
import type { PipelineSpec } from '../definition/specs/pipeline.ts';
import type { StageSpec } from '../definition/specs/stage.ts';
import { ProviderError } from '../domain/failures.ts';
import { type Route, urgencyOf } from '../domain/routing.ts';
import type { CommitInfo, RunInput, RunPlan, RunRef, StagePlan, Workspace } from '../domain/run.ts';
import { versionOf } from '../domain/version.ts';
import { gatesOfImages } from './image-licences.ts';
import { lastToJudge } from './reports.ts';
import { longestKeepMs } from './stage-files.ts';
import { stagesBefore } from './stage-order.ts';

/**
 * What is deployed has to be built.
 *
 * @throws `DefinitionInvalid` (not retried): the image of the service is in a group that this run does not build.
 */
export function checkServiceIsBuilt(
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
export function gatesWithoutStage(
  { project }: DefinitionPair,
  pipeline: PipelineSpec,
  plan: Pick<RunPlan, 'buildImages'>,
): readonly string[] {
  if (lastToJudge(pipeline.stages) !== undefined) return [];
  const byImages = gatesOfImages(pipeline, plan);
  const asked = resolveGateFloors(project).filter(
    ({ gate, demanded, mode, reports }) =>
      demanded &&
      mode !== 'off' &&
      gate !== 'access-control' &&
      gate !== 'compliance' &&
      // Images name licences, and no other kind of report.
      !(byImages.includes(gate) && (gate === 'container' || reports.length === 0)),
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

/** What was found out of a run that is being prepared. */
export interface Prepared {
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

/** What the workflow of the run is given. */
export function planOf({
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
}: Prepared): RunPlan {
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
    stages: (runs ? pipeline.stages : []).map((stage, _, stages) =>
      toStagePlan(stage, variables, againMs(stages, stage)),
    ),
    ...turnOf(route, turnTimeoutMs),
    concurrency: pipeline.concurrency,
    buildImages: route?.buildImages ?? 'none',
    images: runs ? pipeline.images.map(({ name }) => name) : [],
    ...(publish.length === 0 ? {} : { publish }),
    environments: route?.environments ?? [],
    ...(route === undefined || route.environments.length === 0 ? {} : { urgency: urgencyOf(route) }),
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
function toStagePlan(stage: StageSpec, variables: Readonly<Record<string, string>>, madeGoodMs: number): StagePlan {
  const { name, timeoutMs, cleanUpMs, steps, starts, needs, outcome, skip, failFast, group, reports = [] } = stage;
  return {
    name,
    timeoutMs: timeoutMs + cleanUpMs + servicesMs(stage) + keepMs(stage) + madeGoodMs,
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

/** What is thought to hang must end some day, ms: doing again a matrix of many legs may be given up for it. Judgement. */
const longestAgainMs = 4 * 3_600_000;

/** Where the worker is lost in the middle of a stage, what has passed before is done again first, one after the other. */
function againMs(stages: readonly StageSpec[], stage: StageSpec): number {
  if (stage.starts !== undefined) return 0;
  const passed = stages.filter(
    (other) =>
      other !== stage &&
      other.skip === undefined &&
      other.starts === undefined &&
      !stagesBefore(stages, other).includes(stage),
  );
  const sum = passed.reduce((ms, other) => ms + other.timeoutMs + servicesMs(other) + keepMs(other), 0);
  return Math.min(longestAgainMs, sum);
}

/** They start at once, before the stage's own time begins. */
function servicesMs({ services }: StageSpec): number {
  return Math.max(0, ...services.map(({ health }) => health.startupMs));
}

/** After the stage's own time, for what it leaves. */
function keepMs({ caches, artifacts }: StageSpec): number {
  return [caches, artifacts].filter((kept) => kept.length > 0).length * longestKeepMs;
}
