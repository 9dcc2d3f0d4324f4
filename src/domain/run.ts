import type { GateLine } from './evidence.ts';
import type { ScanVerdict } from './image-scan.ts';
import type { RunStart, StartedBy } from './run-start.ts';
import type { Urgency } from './routing.ts';
import type { RunTurn } from './run-turn.ts';
import type { Verdict } from './verdict.ts';

/** What happened in the repository, in one form for every forge. */
export interface SourceEvent {
  readonly kind: 'push' | 'tag' | 'pull-request' | 'manual' | 'schedule';
  /** Full ref: `refs/heads/main`, `refs/tags/v1.2.0`, `refs/pull/7/head`. */
  readonly ref: string;
  /** Commit before the event; 40 zeros for a new ref. */
  readonly before: string;
  /** The commit the run is for. */
  readonly after: string;
  /** Where to fetch `after` from when it is not in the project's own repository (fork of a pull request). */
  readonly fork?: boolean;
  readonly pullRequest?: number;
  /** Full ref that has `after` on the other side, where that is another one than `ref`: GitLab's `refs/merge-requests/7/head`. */
  readonly from?: string;
  /** Name of the branch that a pull request is to be merged into; absent when the forge does not tell. */
  readonly into?: string;
  /**
   * When a pull request was given this target in the place of another, as its forge has it; absent otherwise. With `into` it tells a run for the
   * new target from those for the same commits before.
   */
  readonly retargetedAt?: string;
  /** Login or name of whoever caused the event, as the forge or the API knows them; for notices, and they do not approve what they caused. */
  readonly author: string;
  readonly message?: string;
}

/** What `after` is to be fetched by: its own repository may not have it on the branch that the event is of. */
export function fetchedRef({ from, ref }: Pick<SourceEvent, 'from' | 'ref'>): string {
  return from ?? ref;
}

/** Where a run is; `accepted` is before Temporal has it. */
export type RunPhase =
  | 'accepted'
  | 'awaiting-word'
  | 'preparing'
  | 'queued'
  | 'checking'
  | 'building'
  | 'publishing'
  | 'pushing'
  | 'settling'
  | 'closed';

/** Input of `runPipeline`. Small and additive: the definitions are read at the commit by the first activity. */
export interface RunInput {
  readonly project: string;
  /** Identity of the run: hash(kind, ref, before, after), or the caller's idempotency key (routing.ts `runKey`). */
  readonly key: string;
  readonly event: SourceEvent;
  /** When the event was accepted, ISO 8601 UTC. */
  readonly acceptedAt: string;
  /** Who asked for it by hand (a run, or one done again); absent where the event itself brought it. */
  readonly requestedBy?: string;
  /** Deploys the recorded digests of this release instead of building (rerun from approval, dispatch of an old tag). */
  readonly release?: string;
  /** Nothing is built and deployed, whatever its route says: a run by schedule. */
  readonly checksOnly?: true;
  /**
   * Given by whoever asked for it by hand, by a schedule or by another project; conditions ask for them, and steps have them as
   * `SLIPWAY_PARAMETER_<NAME>`.
   */
  readonly parameters?: Readonly<Record<string, string>>;
  /** The run of another project that started it; absent otherwise. */
  readonly startedBy?: StartedBy;
}

export interface CommitInfo {
  readonly sha: string;
  readonly author: string;
  readonly message: string;
  readonly at: string;
}

/** What a project does with pull requests from forks: nothing without the word of somebody who may give it, everything, or nothing at all. */
export type ForkRule = 'ask' | 'allow' | 'deny';

/** Where a checkout lies: only workers polling `queue` see `path`. */
export interface Workspace {
  readonly queue: string;
  readonly path: string;
  /** How long its worker may take to pick up the next piece of work before the machine counts as gone, ms. Default 300_000. */
  readonly patienceMs?: number;
  /** Which checkout of the run it is, where its machine was lost before. Default: the first. */
  readonly checkout?: number;
}

/** Why a run begins anew, from a checkout that is not its first. */
export interface Anew {
  readonly checkout: number;
  /** When and how the machine of the one before was lost, a sentence. */
  readonly why: string;
}

/** How often an activity is tried on one checkout; ten tries are two minutes of backing off. */
export const triesOnCheckout = 10;

/** The number of an attempt among all of its run: those on another checkout come behind all that there can be on the one before, so that each has its own log. */
export function attemptOf({ workspace: { checkout = 1 } }: Pick<RunPlan, 'workspace'>, tries: number): number {
  return (checkout - 1) * triesOnCheckout + tries;
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
  /** Hard limit of the whole stage with its cleaning up, ms. */
  readonly timeoutMs: number;
  /** Stages that must have ended before, a matrix by its own name. Default: all before it but those of its own matrix. */
  readonly needs?: readonly string[];
  /** After which end of what it needs it runs. Default: `success`. */
  readonly outcome?: 'success' | 'failure' | 'always';
  /** Why its condition keeps it from running, as a sentence. Default: it runs. */
  readonly skip?: string;
  /** `false`: what runs beside it is let finish when it fails. Default: true. */
  readonly failFast?: boolean;
  /** The stages made of one matrix, and how many of them run at once. */
  readonly group?: { readonly name: string; readonly limit: number };
  /** What it starts in another project; it has no steps then, and `timeoutMs` is how long it waits for that. */
  readonly starts?: RunStart;
  /** Reports of it go to the gate for tests. */
  readonly tests?: true;
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
  /** Packages of the definition that are published; absent where the route publishes none. */
  readonly publish?: readonly string[];
  /** Environments this event leads to, in order. Empty: checks only. */
  readonly environments: readonly string[];
  /** Of the route that the run goes by. Absent where it leads to no environment, and in runs of an older Slipway. */
  readonly urgency?: Urgency;
  /** Time limit of build and push, ms. */
  readonly buildTimeoutMs: number;
  /** Runs of the ref one after the other. Absent: it waits for none. */
  readonly turn?: RunTurn;
  /** Stages that run at once. Default: 4. */
  readonly concurrency?: number;
  /** The project wants its forge to be told how the run goes. */
  readonly tellsForge?: true;
  /** … and what its gates have found. */
  readonly tellsFindings?: true;
  /** Why nothing is run although it was asked for: only the checkout could tell. There are no stages, images and environments then. */
  readonly skipped?: string;
  /** What the machine of the checkout has too little of, a sentence each. Absent: nothing, or nothing is run on it. */
  readonly warnings?: readonly string[];
}

export interface StepReport {
  readonly name: string;
  readonly verdict: Verdict;
  readonly exitCode?: number;
  readonly startedAt: string;
  readonly durationMs: number;
  /** One sentence for a person, with the last lines when it failed. */
  readonly detail?: string;
  /** How often it was tried, where that was more than once. */
  readonly tries?: number;
  /** Its condition kept it from running; the verdict is `inconclusive`, for nothing was looked at. */
  readonly skipped?: true;
}

export interface StageReport {
  readonly name: string;
  readonly verdict: Verdict;
  readonly steps: readonly StepReport[];
  readonly startedAt: string;
  readonly durationMs: number;
  readonly detail?: string;
  /** Its condition, or that of each of its steps, kept it from running; the verdict is `inconclusive`. */
  readonly skipped?: true;
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
  /** What is known of how it came to be. Absent in runs of an older Slipway. */
  readonly evidence?: ImageEvidence;
}

/** A bill of materials that is kept with the evidence of a run, so that nobody need make it again of the same image. */
export interface KeptList {
  /** What decided it beside the image: the program, its version and the forms. */
  readonly method: string;
  /** SHA-256 of the file, hexadecimal: what was signed once is not taken from a file that somebody has touched. */
  readonly spdx: string;
  readonly cyclonedx: string;
}

/** One platform of an image. */
export interface PlatformEvidence {
  /** `linux/arm64` */
  readonly platform: string;
  /** `sha256:…` of its manifest, which the list names. */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly packages?: number;
  /** Absent where none was made, and in runs of an older Slipway. */
  readonly list?: KeptList;
  /** Absent where the project does not scan. */
  readonly scan?: ScanVerdict;
}

/** What was found out about an image while it was made; the long texts lie in the workspace and are attached to its digest. */
export interface ImageEvidence {
  /** Hash over everything it was made of (spec B-02). */
  readonly buildKey: string;
  /** `sha256:…` of the images it begins from, by the name that the Dockerfile has for them. */
  readonly bases: Readonly<Record<string, string>>;
  /** What could be better about its Dockerfile or size; nothing fails for it. */
  readonly warnings: readonly string[];
  /** The images in it, where it is a list of several platforms. */
  readonly platforms?: readonly PlatformEvidence[];
  /** How many packages its bill of materials has, of several platforms the most; absent where none was made. */
  readonly packages?: number;
  /** Its bill of materials; of several platforms each has its own. Absent in runs of an older Slipway. */
  readonly list?: KeptList;
  /** Why there is none, one sentence; absent where there is one, where the project wants none, and in runs of an older Slipway. */
  readonly unlisted?: string;
  /** Absent where the project does not scan. */
  readonly scan?: ScanVerdict;
  /** Security gate 3, over all images of the run; absent where the project does not scan, or the gate is off. */
  readonly gate?: GateLine;
  /** Security gate 2, by the licences of what is in all images of the run; absent where no policy asks for them. */
  readonly licences?: GateLine;
  /** That it was signed and what was attested, after the push. */
  readonly attested?: readonly string[];
}
