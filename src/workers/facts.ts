import type { Keyed, Refused, Spool } from '../effects/spool.ts';
import { createSpool } from '../effects/spool.ts';
import type { Logs } from '../activities/logs.ts';
import type { ReportHands } from '../activities/reports.ts';
import type { RunStore } from '../activities/source.ts';
import type { OnceSteps, StageFacts } from '../activities/stage.ts';
import type { KnownBuilds, KnownLists, RegistryClaims } from '../activities/image-work.ts';
import type { Definitions } from '../activities/pipelines.ts';
import { reviveDefinition } from '../definition/load.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import type { RunPlan, RunRef } from '../domain/run.ts';
import type { LogFiles } from '../effects/log-files.ts';
import { createLogWriter } from '../effects/log-writer.ts';
import {
  findBuild,
  forgetBuild,
  latestBuild,
  listBuiltImages,
  recordBuild,
  recordBuiltImage,
} from '../store/builds.ts';
import { findListedImage } from '../store/image-lists.ts';
import { claimUse } from '../store/registry-claims.ts';
import { type Fact, applyFacts } from '../store/facts.ts';
import { type LogOwner, logId } from '../store/logs.ts';
import { putDefinition, readDefinition, readProject } from '../store/projects.ts';
import { lastReleasedRun, readFingerprints } from '../store/reports.ts';
import { openRun, recordRunPlan } from '../store/runs.ts';
import { readStepNames } from '../store/stages.ts';
import type { Store } from '../store/store.ts';

/** Facts on their way to the store; nothing of what they tell ever waits for it. */
export type FactSpool = Spool<Fact>;

/** @param onError - told of each try that failed and each fact that was refused. */
export async function openFactSpool(
  folder: string,
  store: Store,
  onError: (error: unknown) => void,
): Promise<FactSpool> {
  const forward = (facts: readonly Keyed<Fact>[]): Promise<readonly Refused[]> => applyFacts(store.db, facts);
  return await createSpool<Fact>({ folder, forward, onError });
}

const runName = (run: RunRef): string => `${run.project}/${run.number}`;

/** What preparing a run needs of the store. */
export function createRunStore({ db }: Store, onError: (error: unknown) => void): RunStore {
  const known = new Set<string>();
  return {
    openRun: (input) => openRun(db, input),
    readProject: (name) => readProject(db, name),
    async putDefinition(hash, text) {
      if (known.has(hash)) return;
      await putDefinition(db, hash, text);
      known.add(hash);
    },
    // For lists and pages only, and written again by the end of the run; a run does not wait for it.
    recordPlan: (plan: RunPlan) => void recordRunPlan(db, plan).catch(onError),
  };
}

/** Facts of stages and steps. */
export function createStageFacts(spool: FactSpool): StageFacts {
  return {
    stageStarted: ({ run, stage, position, at, phase }) => {
      // The workflow knows its phase too, but telling it would cost every run an activity.
      spool.record(`run-phase/${runName(run)}/${phase}/${at}`, { kind: 'run-phase', run, phase });
      spool.record(`stage/${runName(run)}/${stage}/${at}`, {
        kind: 'stage',
        run,
        position,
        stage: { name: stage, verdict: null, detail: null, startedAt: at, durationMs: null, steps: [] },
      });
    },
    stepStarted: (step) => {
      const { key, fact } = stepStarted(step);
      spool.record(key, fact);
    },
    stepSettled: ({ run, stage, position, report }) =>
      spool.record(`step/${runName(run)}/${stage}/${report.name}/${report.startedAt}/settled`, {
        kind: 'step',
        run,
        stage,
        position,
        step: { ...report, exitCode: report.exitCode ?? null, detail: report.detail ?? null },
      }),
    stageSettled: ({ run, position, report: { name, verdict, detail = null, startedAt, durationMs } }) =>
      spool.record(`stage/${runName(run)}/${name}/${startedAt}/settled`, {
        kind: 'stage',
        run,
        position,
        stage: { name, verdict, detail, startedAt, durationMs, steps: [] },
      }),
  };
}

type StepStart = Parameters<StageFacts['stepStarted']>[0];

function stepStarted({ run, stage, step, position, at }: StepStart): Keyed<Fact> {
  return {
    key: `step/${runName(run)}/${stage}/${step}/${at}`,
    fact: {
      ...{ kind: 'step', run, stage, position },
      step: { name: step, verdict: null, exitCode: null, detail: null, startedAt: at, durationMs: null },
    },
  };
}

/** The same fact past the spool, which may be lost with its machine. */
export function createOnceSteps({ db }: Pick<Store, 'db'>): OnceSteps {
  return {
    async begin(step) {
      const [refused] = await applyFacts(db, [stepStarted(step)]);
      if (refused !== undefined)
        throw new ProviderError('Internal', `The fact ${refused.key} was refused: ${refused.reason}`);
    },
    readStarted: (run, stage) => readStepNames(db, run, stage),
  };
}

/** One sample of a watch for the record. */
export function recordSampleTo(
  spool: FactSpool,
): (deployment: DeploymentRef, at: string, figures: Readonly<Record<string, number | null>>) => void {
  return (deployment, at, figures) =>
    spool.record(`sample/${deployment.project}/${deployment.environment}/${deployment.number}/${at}`, {
      kind: 'sample',
      deployment,
      sample: { at, figures },
    });
}

/** How long a proof took, for the next plan. */
export function recordProofTo(spool: FactSpool): (deployment: DeploymentRef, at: string, durationMs: number) => void {
  return ({ project, environment, number }, at, durationMs) =>
    spool.record(`proof/${project}/${environment}/${number}/${at}`, {
      kind: 'proof',
      project,
      environment,
      at,
      durationMs,
    });
}

/** Output of steps: to files, their index to the spool. */
export function createLogs(files: LogFiles, spool: FactSpool, onLoss: (error: unknown) => void): Logs {
  return {
    open({ stage, step, attempt, ...of }, redactor) {
      const whose = 'run' in of ? { project: of.run.project, run: of.run.number } : of.deployment;
      const owner: LogOwner = { ...whose, stage, step, attempt };
      const log = logId(owner);
      const openedAt = new Date().toISOString();
      spool.record(`log/${log}/${openedAt}`, { kind: 'log-opened', owner, at: openedAt });
      const writer = createLogWriter({
        log,
        files,
        ...(redactor === undefined ? {} : { redactor }),
        onSegment: (segment) =>
          spool.record(`log/${log}/${openedAt}/${segment.sequence}`, { kind: 'log-segment', owner, segment }),
        onLoss,
      });
      return {
        write: (chunk) => writer.write(chunk),
        say: (line) => writer.say(line),
        async close() {
          const { sizeBytes, blob } = await writer.close();
          spool.record(`log/${log}/${openedAt}/closed`, {
            kind: 'log-closed',
            owner,
            at: new Date().toISOString(),
            sizeBytes,
            ...(blob === undefined ? {} : { blob }),
          });
        },
      };
    },
  };
}

/** Which inputs gave which image. What the store cannot say is built again, so its failures are no answer and no error. */
export function createKnownBuilds({ db }: Store, onError: (error: unknown) => void): KnownBuilds {
  const unknown = (error: unknown): undefined => {
    onError(error);
    return undefined;
  };
  return {
    listBuilt: (project, key) =>
      listBuiltImages(db, project, key).catch((error: unknown) => {
        onError(error);
        return [];
      }),
    recordBuilt: (build) => recordBuiltImage(db, build).catch(unknown),
    find: (project, key) => findBuild(db, project, key).catch(unknown),
    latest: (project, name) => latestBuild(db, project, name).catch(unknown),
    record: (build) => recordBuild(db, build).catch(unknown),
    forget: (project, key) => forgetBuild(db, project, key).catch(unknown),
  };
}

/** Lists that runs of before have kept, in the store; which it has forgotten, or cannot say, are made again. */
export function createKnownLists({ db }: Store, onError: (error: unknown) => void): KnownLists {
  return {
    find: (wanted) =>
      findListedImage(db, wanted).catch((error: unknown) => {
        onError(error);
        return undefined;
      }),
  };
}

/** Claims of runs on images, in the store. */
export function createRegistryClaims({ db }: Pick<Store, 'db'>): RegistryClaims {
  return {
    claim: ({ run, image, repository, digests }) => claimUse(db, { user: { run, image }, repository, digests }),
  };
}

/** Findings that the last release before a run had. */
export function createBaselines({ db }: Store): ReportHands['readBaseline'] {
  return async ({ project, number }) => {
    const build = await lastReleasedRun(db, project, number);
    return build === undefined ? undefined : await readFingerprints(db, project, build);
  };
}

/** Pairs of documents by their hash. */
export function createDefinitions({ db }: Store): Definitions {
  return {
    async read(hash) {
      const document = await readDefinition(db, hash);
      if (document === undefined) throw new ProviderError('NotFound', `No definition ${hash.slice(0, 12)} is kept.`);
      return reviveDefinition(document);
    },
  };
}
