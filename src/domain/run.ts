import type { GateLine } from './evidence.ts';
import type { Verdict } from './verdict.ts';

/** What happened in the repository, in one form for every forge. */
export interface SourceEvent {
  readonly kind: 'push' | 'tag' | 'pull-request' | 'manual';
  /** Full ref: `refs/heads/main`, `refs/tags/v1.2.0`, `refs/pull/7/head`. */
  readonly ref: string;
  /** Commit before the event; 40 zeros for a new ref. */
  readonly before: string;
  /** The commit the run is for. */
  readonly after: string;
  /** Where to fetch `after` from when it is not in the project's own repository (fork of a pull request). */
  readonly fork?: boolean;
  readonly pullRequest?: number;
  /** Login or name of whoever caused the event; used for self-approval rules and notices. */
  readonly author: string;
  readonly message?: string;
}

/** Input of `runPipeline`. Small and additive: the definitions are read at the commit by the first activity. */
export interface RunInput {
  readonly project: string;
  /** Identity of the run: hash(kind, ref, before, after), or the caller's idempotency key (routing.ts `runKey`). */
  readonly key: string;
  readonly event: SourceEvent;
  /** When the event was accepted, ISO 8601 UTC. */
  readonly acceptedAt: string;
  /** Deploys the recorded digests of this release instead of building (rerun from approval, dispatch of an old tag). */
  readonly release?: string;
}

export interface CommitInfo {
  readonly sha: string;
  readonly author: string;
  readonly message: string;
  readonly at: string;
}

/** Where a checkout lies: only workers polling `queue` see `path`. */
export interface Workspace {
  readonly queue: string;
  readonly path: string;
  /** How long its worker may take to pick up the next piece of work before the machine counts as gone, ms. Default 300_000. */
  readonly patienceMs?: number;
}

/** One execution of a pipeline, as later activities know it. */
export interface RunRef {
  readonly project: string;
  readonly key: string;
  /** From the store, counted per project from 1. Part of the version. */
  readonly number: number;
}

export type BuildImages = 'none' | 'validate' | 'build' | 'push';

export interface StagePlan {
  readonly name: string;
  readonly steps: readonly string[];
  /** Hard limit of the whole stage, ms. */
  readonly timeoutMs: number;
}

/** What `prepareRun` found out; everything the workflow needs to decide, nothing more. */
export interface RunPlan {
  readonly run: RunRef;
  readonly version: string;
  readonly commit: CommitInfo;
  /** SHA-256 of the parsed pair slipway.yaml + project.yaml; the store has the text. */
  readonly definition: string;
  readonly workspace: Workspace;
  readonly stages: readonly StagePlan[];
  readonly buildImages: BuildImages;
  readonly images: readonly string[];
  /** Environments this event leads to, in order. Empty: checks only. */
  readonly environments: readonly string[];
  /** Time limit of build and push, ms. */
  readonly buildTimeoutMs: number;
}

export interface StepReport {
  readonly name: string;
  readonly verdict: Verdict;
  readonly exitCode?: number;
  readonly startedAt: string;
  readonly durationMs: number;
  /** One sentence for a person, with the last lines when it failed. */
  readonly detail?: string;
}

export interface StageReport {
  readonly name: string;
  readonly verdict: Verdict;
  readonly steps: readonly StepReport[];
  readonly startedAt: string;
  readonly durationMs: number;
  readonly detail?: string;
  /** Gates that the reports of this stage were judged by. */
  readonly gates?: readonly GateLine[];
  /** Blob of its {@link StageEvidence}. */
  readonly evidence?: string;
}

export interface ImageReport {
  readonly name: string;
  /** `host:port/path`, without tag. */
  readonly repository: string;
  /** `sha256:…` of the manifest, as the registry told it after the push; of the local image when not pushed. */
  readonly digest: string;
  readonly tags: readonly string[];
  readonly sizeBytes: number;
  /** True when equal inputs had been built before and that image was taken. */
  readonly reused: boolean;
  readonly durationMs: number;
}
