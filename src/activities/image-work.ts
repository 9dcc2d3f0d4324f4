import { activityInfo } from '@temporalio/activity';
import pLimit, { type LimitFunction } from 'p-limit';
import { failures } from '../domain/failure-kinds.ts';
import { ProviderError, describeFailure, toFailure } from '../domain/failures.ts';
import {
  type ImageEvidence,
  type ImageReport,
  type RunPlan,
  type RunRef,
  type StageReport,
  type StepReport,
  attemptOf,
} from '../domain/run.ts';
import { type Verdict, worst } from '../domain/verdict.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { LayoutBuilder } from '../providers/builders/buildkit-daemon.ts';
import type { BuildProgress, ImageBuilder } from '../providers/builders/port.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import { createLayoutPusher } from '../providers/registries/layout-pusher.ts';
import type { ImagePusher, ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { SbomMaker } from '../providers/sboms/port.ts';
import type { ImageScanner } from '../providers/scanners/port.ts';
import type { ImageSigner } from '../providers/signers/port.ts';
import type { BuildKitSpec, ImageSpec } from '../definition/specs/image.ts';
import type { ScanSpec } from '../definition/specs/supply-chain.ts';
import type { LogWriter, Logs } from './logs.ts';
import type { Pipelines, RunPipeline } from './pipelines.ts';
import type { ReportHands } from './reports.ts';
import type { ReadSecret } from './secrets.ts';
import type { StageFacts } from './stage.ts';
import { foldersOf } from './workspaces.ts';

/** An image in the registry, by what it was made of. */
export interface KnownBuild {
  readonly project: string;
  readonly key: string;
  readonly name: string;
  readonly repository: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** An image on the engine of the worker that built it, by what it was made of. */
export interface BuiltHere {
  readonly project: string;
  readonly key: string;
  readonly name: string;
  /** As the builder names it: a hash over its content. */
  readonly id: string;
}

/** Which inputs gave which image; what is not known is built again, so none of these may fail a build. */
export interface KnownBuilds {
  /**
   * Ids of images that workers have built of these inputs, the newest first. This alone says what an image on an engine was made of: its labels
   * are the word of whoever made it.
   */
  listBuilt(project: string, key: string): Promise<readonly string[]>;
  recordBuilt(build: BuiltHere): Promise<void>;
  find(project: string, key: string): Promise<KnownBuild | undefined>;
  /** The newest image of the name: its layers serve as cache. */
  latest(project: string, name: string): Promise<KnownBuild | undefined>;
  record(build: KnownBuild): Promise<void>;
  forget(project: string, key: string): Promise<void>;
}

/** An image that a run has listed. */
export interface ListedImage {
  readonly run: number;
  /** Of the image, in that run. */
  readonly name: string;
  readonly evidence: ImageEvidence;
}

/** Which images were listed before; what is not known is listed again, so it may not fail a build. */
export interface KnownLists {
  /** The newest run that has a list of the image by the method; whether its files are there still is for the caller to see. */
  find(wanted: {
    readonly project: string;
    readonly repository: string;
    /** Of the image, or of its list of platforms. */
    readonly digest: string;
    readonly method: string;
  }): Promise<ListedImage | undefined>;
}

/** Who needs an image of a registry, so that retention leaves it. */
export interface RegistryClaims {
  /**
   * Claims an image for a run until that has an outcome, in place of what was claimed for it before. What is claimed twice is claimed once.
   *
   * @returns whether nobody is removing it; the claim stands either way.
   * @throws `StoreUnavailable`
   */
  claim(claim: {
    readonly run: RunRef;
    readonly image: string;
    /** `host:port/path` */
    readonly repository: string;
    /** Of the image and, of several platforms, of theirs; empty: whatever the repository comes to hold. */
    readonly digests: readonly string[];
  }): Promise<boolean>;
}

/**
 * Runs work as the only one, of all workers, that signs an image or attests to it: signatures and statements of one digest lie in one manifest each,
 * which is read, added to and written again. What loses it in the middle is begun again.
 *
 * @param image.waiting - told why, again and again, while somebody else has it or the store does not answer. The wait ends with the signal.
 */
export type Alone = <T>(
  image: { readonly digest: string; readonly signal: AbortSignal; readonly waiting: (why: string) => void },
  work: (signal: AbortSignal) => Promise<T>,
) => Promise<T>;

/** What finds out about images, and says so under its name. */
export interface SupplyChain {
  readonly sboms: SbomMaker;
  readonly scanners: Readonly<Record<ScanSpec['scanner'], ImageScanner>>;
  readonly signer: ImageSigner;
  /** Lists and scans are kept here, below `evidence/<project>/<run>/<image>`. */
  readonly blobs: Pick<BlobStore, 'put' | 'read'>;
  /** Of Slipway, for provenance. */
  readonly version: string;
}

export interface OpenedRegistry {
  readonly manifests: ImageRegistry;
  readonly pusher: ImagePusher;
}

export interface ImageDependencies {
  readonly builder: ImageBuilder;
  /** Builds what the other one cannot, on the same engine. */
  readonly buildKit: ImageBuilder;
  /** The daemon that a project builds by instead of both; its images lie in the folder, of one run. */
  readonly openBuildKit: (
    spec: BuildKitSpec,
    place: {
      readonly folder: string;
      readonly registry: RegistryAddress;
      /** Registries that the project names beside its own: they may be in its own network. */
      readonly named: readonly Pick<RegistryAddress, 'address' | 'insecure'>[];
    },
  ) => Promise<LayoutBuilder>;
  readonly openRegistry: (registry: RegistryAddress) => Promise<OpenedRegistry>;
  readonly builds: KnownBuilds;
  readonly lists: KnownLists;
  readonly claims: RegistryClaims;
  readonly alone: Alone;
  /** Runs of a project of which everything is kept: the newest, the open ones, and those of releases that may have to run again. */
  readonly keptRuns: (project: string, newest: number) => Promise<readonly number[]>;
  readonly supplyChain: SupplyChain;
  readonly repositories: SourceRepository;
  readonly pipelines: Pipelines;
  readonly readSecret: ReadSecret;
  readonly readRegistry: ReadRegistry;
  readonly logs: Logs;
  readonly facts: StageFacts;
  /** Findings of the last release, for gates that count new ones only. */
  readonly reports: Pick<ReportHands, 'readBaseline'>;
}

const heartbeatMs = 300;
/** Without an event of the engine. A compiler may be silent longer than a push (judgement); the time limit of all images holds besides. */
const buildStallMs = 600_000;
const pushStallMs = 300_000;

/** What is done with images, in the order in which it is shown after the stages of the definition. */
const imageStages = ['build', 'scan', 'push'] as const;
type ImageStage = (typeof imageStages)[number];

/** What working on all images of one run works with. */
export interface ImageWork {
  readonly deps: ImageDependencies;
  readonly known: RunPipeline;
  readonly run: RunRef;
  readonly plan: RunPlan;
  readonly registry: RegistryAddress;
  /** What the project builds by, and where its images are until they are pushed. */
  readonly builder: ImageBuilder;
  /** The same for what the engine's own builder cannot do. */
  readonly buildKit: ImageBuilder;
  /** Where the builder is one without an engine: it is both of them. */
  readonly layouts: LayoutBuilder | undefined;
  readonly signal: AbortSignal;
  readonly moved: () => void;
}

/** The registry of the run, and who brings images there. */
export async function openPush({ deps, registry, layouts }: ImageWork): Promise<OpenedRegistry> {
  const opened = await deps.openRegistry(registry);
  if (layouts === undefined) return opened;
  return { ...opened, pusher: createLayoutPusher((digest) => layouts.readImage(digest), opened.manifests) };
}

/** What came of one image: its report as it is now, and how that is judged. Default: passed. */
export interface ImageEnd {
  readonly image: ImageReport;
  readonly verdict?: Verdict;
  readonly detail?: string;
}

/** Works on all images of a run under a heartbeat and their time limit. */
export async function together<T>(
  deps: ImageDependencies,
  { run, plan, doing }: { readonly run: RunRef; readonly plan: RunPlan; readonly doing: 'build' | 'push' },
  act: (work: ImageWork) => Promise<T>,
): Promise<T> {
  const late = AbortSignal.timeout(plan.buildTimeoutMs);
  try {
    return await withHeartbeat(
      heartbeatMs,
      async (cancelled, progress) => {
        const known = await deps.pipelines.of(plan);
        const signal = AbortSignal.any([cancelled, late]);
        const registry = await deps.readRegistry(known.pipeline.registry, signal);
        const { builder: spec } = known.pipeline.builds;
        const layouts =
          spec.kind === 'docker'
            ? undefined
            : await deps.openBuildKit(spec, {
                folder: foldersOf(plan.workspace).images,
                registry,
                named: known.pair.project.upkeep.bases.registries,
              });
        const { builder, buildKit } = layouts === undefined ? deps : { builder: layouts, buildKit: layouts };
        return act({ deps, known, run, plan, registry, builder, buildKit, layouts, signal, moved: () => progress() });
      },
      undefined,
      doing === 'build' ? buildStallMs : pushStallMs,
    );
  } catch (error) {
    if (late.aborted && error === late.reason) {
      const minutes = Math.round(plan.buildTimeoutMs / 60_000);
      throw toFailure(
        new ProviderError('TimedOut', `the images took longer than the ${minutes} minutes of ${doing}`, {
          nonRetryable: true,
        }),
      );
    }
    throw toFailure(error);
  }
}

/**
 * Works on several images at once, each with a log and a report of its own. The first failure ends the others, for what they make is not
 * wanted any more, and is thrown when all have ended.
 */
export async function forEach<I extends { readonly name: string }>(
  work: ImageWork,
  stage: ImageStage,
  images: readonly I[],
  act: (work: ImageWork, image: I, log: LogWriter) => Promise<ImageEnd>,
): Promise<readonly ImageReport[]> {
  const { deps, run, known } = work;
  const position = known.pipeline.stages.length + imageStages.indexOf(stage);
  const startedAt = new Date();
  const limit = pLimit(known.pipeline.builds.concurrency);
  const within = groupLimits(known.pipeline.images);
  const others = new AbortController();
  const signal = AbortSignal.any([work.signal, others.signal]);
  const steps: StepReport[] = [];
  const phase = stage === 'push' ? 'pushing' : 'building';
  deps.facts.stageStarted({ run, stage, position, at: startedAt.toISOString(), phase });

  async function one(image: I, index: number): Promise<ImageReport> {
    signal.throwIfAborted();
    const log = deps.logs.open({ run, stage, step: image.name, attempt: attemptOf(work.plan, activityInfo().attempt) });
    const fact = { run, stage, step: image.name, position: index };
    const began = new Date();
    const step = { name: image.name, startedAt: began.toISOString() };
    deps.facts.stepStarted({ ...fact, at: step.startedAt });
    const settle = (verdict: StepReport['verdict'], detail?: string): void => {
      const report = {
        ...step,
        verdict,
        durationMs: Date.now() - began.getTime(),
        ...(detail === undefined ? {} : { detail }),
      };
      steps[index] = report;
      deps.facts.stepSettled({ ...fact, report });
    };
    try {
      const end = await act({ ...work, signal }, image, log);
      settle(end.verdict ?? 'passed', end.detail);
      return { ...end.image, durationMs: end.image.durationMs + Date.now() - began.getTime() };
    } catch (error) {
      if (!signal.aborted) {
        const { type, message } = describeFailure(error);
        log.say(`${message}\n${failures[type].sentence}`);
        settle(type === 'BuildFailed' ? 'failed' : 'errored', message);
        others.abort(error);
      }
      throw error;
    } finally {
      await log.close();
    }
  }

  const settled = await Promise.allSettled(
    images.map((image, index) => within(image.name, () => limit(() => one(image, index)))),
  );
  const done = steps.filter((step) => (step as StepReport | undefined) !== undefined);
  const report: StageReport = {
    name: stage,
    verdict: images.length === 0 ? 'passed' : worst(done.map(({ verdict }) => verdict)),
    steps: done,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
  };
  deps.facts.stageSettled({ run, position, report });
  if (work.signal.aborted) throw work.signal.reason;
  if (others.signal.aborted) throw others.signal.reason;
  return settled.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** Within its group first: an image that waits for others of its group keeps no place that one of another group could have. */
function groupLimits(images: readonly ImageSpec[]): <T>(image: string, act: () => Promise<T>) => Promise<T> {
  const groups = new Map(images.map(({ name, group }) => [name, group]));
  const limits = new Map<string, LimitFunction>();
  return async (image, act) => {
    const group = groups.get(image);
    if (group?.concurrency === undefined) return await act();
    const limit = limits.get(group.name) ?? pLimit(group.concurrency);
    limits.set(group.name, limit);
    return await limit(act);
  };
}

/** Output of one image's work goes to its log, and every bit of it counts as progress. */
export function progressOf({ signal, moved }: ImageWork, log: LogWriter): BuildProgress {
  return { output: (text) => void log.write(Buffer.from(text)), moved, signal };
}
