/** A stage of CI: its steps, and what lies beside them. */
import type { GateName } from '../../domain/gate.ts';
import type { ReportKind } from '../../domain/report.ts';
import type { RunStart } from '../../domain/run-start.ts';
import type { SecretRefs } from './secret.ts';

export interface StageSpec {
  /** Unique in the run: with the values of its matrix, where it has one. */
  readonly name: string;
  /** Hard limit of the whole stage, without {@link StageSpec.cleanUpMs}. */
  readonly timeoutMs: number;
  /** What its steps with outcome `failure` or `always` have beyond that. */
  readonly cleanUpMs: number;
  readonly steps: readonly StepSpec[];
  /** A run of another project, instead of steps. Parameters may still name what only a run knows (`{SLIPWAY_VERSION}`). */
  readonly starts?: RunStart;
  /** Stages that must have ended before, a matrix by its own name; absent: all before it but those of its own matrix. */
  readonly needs?: readonly string[];
  readonly outcome: OutcomeCondition;
  /** Why its condition keeps it from running, as a sentence; absent: it runs. */
  readonly skip?: string;
  readonly failFast: boolean;
  /** How many of its steps run at once; 1: one after the other. */
  readonly parallel: number;
  /** The stages made of one matrix, and how many of them run at once. */
  readonly group?: { readonly name: string; readonly limit: number };
  /** Values of its matrix, which its steps get as variables. */
  readonly matrix: Readonly<Record<string, string>>;
  readonly services: readonly StageServiceSpec[];
  readonly caches: readonly CacheSpec[];
  readonly artifacts: readonly ArtifactSpec[];
  /** Read when the steps have ended; absent means none. */
  readonly reports?: readonly ReportSpec[];
}

/** After which verdict of what was before something runs. */
export type OutcomeCondition = 'success' | 'failure' | 'always';

/** A container beside the steps of a stage. */
export interface StageServiceSpec {
  readonly name: string;
  readonly image: string;
  readonly port: number;
  /** Arguments instead of those of the image. */
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly health: {
    readonly command: readonly string[];
    readonly intervalMs: number;
    readonly timeoutMs: number;
    /** Longest time until it is ready. */
    readonly startupMs: number;
  };
  readonly resources: ResourceLimits;
}

export interface CacheSpec {
  readonly name: string;
  /** Below `source` (the checkout) or `home`. */
  readonly paths: readonly { readonly root: 'source' | 'home'; readonly path: string }[];
  /** Patterns of the files whose content is its key. */
  readonly key: readonly string[];
  /** Where none fits exactly, the newest of the name is taken. */
  readonly fallback: boolean;
  /** Packed; a larger one is not kept. */
  readonly largestBytes: number;
  /** Of all caches of the project. */
  readonly totalBytes: number;
}

export interface ArtifactSpec {
  readonly name: string;
  readonly paths: readonly string[];
  /** Page that its documentation begins with, from the checkout; absent where it is just files. */
  readonly entry?: string;
  readonly retentionMs: number;
  readonly when: OutcomeCondition;
  readonly largestBytes: number;
}

export interface RetrySpec {
  /** Tries in all. */
  readonly attempts: number;
  /** Before the second; doubled before each further one. */
  readonly backoffMs: number;
  /** Exit codes after which it is tried again; absent: after any failure. */
  readonly on?: readonly number[];
}

/** A report that a stage leaves in the workspace. */
export interface ReportSpec {
  /** `html`: pages for people, not read. */
  readonly kind: ReportKind | 'html';
  /** From the checkout; may be a pattern. */
  readonly path: string;
  /** Absent for pages. */
  readonly gate?: GateName;
  /** Step that writes it; absent where it is the stage's. It is not looked for when the step was not run. */
  readonly step?: string;
  /** Folder that the step runs in, from the checkout. */
  readonly base: string;
}

export type StepCommand =
  { readonly kind: 'argv'; readonly argv: readonly string[] } | { readonly kind: 'shell'; readonly script: string };

interface StepBase {
  readonly name: string;
  readonly command: StepCommand;
  /** The whole environment of the step beside PATH, HOME and what Slipway says of the run; secrets come on top. */
  readonly env: Readonly<Record<string, string>>;
  /** Only those the step names and the project offers. Empty for pull requests from forks. */
  readonly secrets: SecretRefs;
  /** Never longer than the stage's. */
  readonly timeoutMs: number;
  /** Longest silence before the step counts as stalled. */
  readonly stallAfterMs: number;
  /** `warn`: a failure is reported and the stage goes on. */
  readonly onFailure: 'fail' | 'warn';
  /** After the worker died: go on behind this step in the same workspace instead of from a clean checkout. */
  readonly resume: boolean;
  /** Never started a second time; interrupted it is errored. */
  readonly once: boolean;
  /** Relative to the checkout, never outside of it. `.` is its root. */
  readonly workdir: string;
  readonly outcome: OutcomeCondition;
  /** Why its condition keeps it from running, as a sentence; absent: it runs. */
  readonly skip?: string;
  readonly retry?: RetrySpec;
  /** Names of the values that it must hand on. */
  readonly outputs: readonly string[];
}

export interface ContainerStep extends StepBase {
  readonly executor: 'container';
  readonly image: string;
  /** `stage`: the network that its stage has for itself and its services. */
  readonly network: 'bridge' | 'none' | 'stage';
  /** Limits of the container; absent means the engine's. */
  readonly resources: ResourceLimits;
}

export interface HostStep extends StepBase {
  readonly executor: 'host';
}

export type StepSpec = ContainerStep | HostStep;

export interface ResourceLimits {
  /** Cores; 0.5 is half of one. */
  readonly cpus?: number;
  readonly memoryBytes?: number;
  /** Of each of the temporary folders of a step, which lie in memory. */
  readonly temporaryBytes?: number;
}
