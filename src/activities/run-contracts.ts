/** What the workflows of runs may ask for; the rules are those of {@link ./contracts.ts}. */
import type { DeploymentInput, DeploymentRef, ForgeDeployment, ForgeStatus } from '../domain/deployment.ts';
import type { PublishedPackage } from '../domain/packages.ts';
import type { RunOutcome } from '../domain/outcome.ts';
import type { RunStart } from '../domain/run-start.ts';
import type { TurnAnswer, RunTurn } from '../domain/run-turn.ts';
import type { Anew, ForkRule, ImageReport, RunInput, RunPlan, RunRef, StageReport, Workspace } from '../domain/run.ts';

export interface SourceActivities {
  /**
   * Fetches the commit into a clean worktree, reads and checks the definitions, validates tool versions, allots the run's number and
   * records the run. Heartbeats.
   *
   * @param input.anew - given where the machine of an earlier checkout was lost.
   *
   * @throws `CommitNotFound`, `DefinitionInvalid`, `ToolMissing` (not retried), `RepositoryUnreachable` (retried for 2 minutes)
   */
  prepareRun(input: RunInput & { readonly anew?: Anew }): Promise<RunPlan>;
  /** Removes the worktree. Never fails the run. */
  releaseWorkspace(input: { readonly run: RunRef; readonly workspace: Workspace }): Promise<void>;
}

export interface StageActivities {
  /**
   * Runs the steps of one stage in the workspace, from a clean checkout when it is not the first attempt. Heartbeats, streams logs.
   * A failed step is a verdict; only what kept it from being judged is thrown. Reports are read and judged when the steps have ended, and kept
   * as a blob; a gate that blocks fails the stage.
   */
  runStage(input: { readonly run: RunRef; readonly plan: RunPlan; readonly stage: string }): Promise<StageReport>;
}

export interface ImageActivities {
  /**
   * Builds the images of the definition at once with a limit; equal inputs give the image already built. Where the project says so, each gets
   * its bill of materials and is scanned before anything is pushed. Heartbeats.
   *
   * @throws `BuildFailed` (not retried): details carry the image and its own last lines
   * @throws `ImageVulnerable`, `ScanErrored` (not retried): no environment of the run could take the image
   */
  buildImages(input: { readonly run: RunRef; readonly plan: RunPlan }): Promise<readonly ImageReport[]>;
  /**
   * Pushes and verifies by asking the registry for the digest; signs and attests where the project has a key. Heartbeats.
   *
   * @param input.stages - how the stages went, and `input.packages` what was published, for the provenance; absent from runs of an older Slipway.
   * @throws `RegistryRefused`, `DigestMismatch`, `TagTaken` (not retried), `RegistryUnavailable`, `SignerFailed` (retried)
   */
  pushImages(input: {
    readonly run: RunRef;
    readonly plan: RunPlan;
    readonly images: readonly ImageReport[];
    readonly stages?: readonly StageReport[];
    readonly packages?: readonly PublishedPackage[];
  }): Promise<readonly ImageReport[]>;
}

export interface RunTurnActivities {
  /**
   * Asks for the turn of a run whose ref goes one after the other. One that is told to wait is shown so, with its place; what stands first is looked
   * at, and ended in the place of its workflow where that is over without a word. With `supersede` the runs that may be ended are told. Idempotent:
   * who has the turn has it until the run has an outcome.
   *
   * @throws `NotFound`, `Conflict` (not retried): there is no such run, or it has ended; `StoreUnavailable`, `TemporalUnavailable` (retried)
   */
  askRunTurn(input: {
    readonly run: RunRef;
    readonly mode: RunTurn['mode'];
    /** Since when it waits and until when it will, ISO 8601. */
    readonly since: string;
    readonly until: string;
    /** Whether its checkout is there. */
    readonly prepared: boolean;
  }): Promise<TurnAnswer>;
}

export interface PackageActivities {
  /**
   * Looks through the packages that the plan names, and when nothing is wrong with any of them publishes each file; one that its index holds already is
   * done. Each is recorded when its index shows it. Heartbeats.
   *
   * @throws `PackageRefused`, `PackageTaken`, `IndexRefused`, `DigestMismatch`, `SecretMissing`, `NotAllowed` (not retried), `IndexUnavailable`
   *   (retried)
   */
  publishPackages(input: { readonly run: RunRef; readonly plan: RunPlan }): Promise<readonly PublishedPackage[]>;
}

export interface RunFactActivities {
  /**
   * Opens the run of a pull request from a fork and says what its project does with those. Where somebody must be asked, the run waits from here
   * on, and people are told. Idempotent.
   *
   * @throws `NotFound` (not retried), `StoreUnavailable` (retried)
   */
  openForkRun(input: RunInput): Promise<{
    readonly run: RunRef;
    readonly rule: ForkRule;
    /** How long the word is waited for. */
    readonly timeoutMs: number;
    readonly tellsForge: boolean;
  }>;
  /**
   * Records how CI ended, the release (when images were pushed, or the definition has none) and opens one deployment per environment of
   * the route; idempotent: a second call answers with the same deployments. Sends the notices of the run, and tells the run that waits for its
   * turn next.
   */
  settleRun(input: {
    readonly run: RunRef;
    readonly input: RunInput;
    readonly plan?: RunPlan;
    readonly stages: readonly StageReport[];
    readonly images: readonly ImageReport[];
    /** What was published, whatever became of the run after it; absent where nothing was. */
    readonly packages?: readonly PublishedPackage[];
    readonly outcome: RunOutcome;
    readonly reason: string;
  }): Promise<{ readonly deployments: readonly DeploymentInput[] }>;
}

/** Words to the forge of a project. They may be said twice: the same again changes nothing. */
export interface FindingActivities {
  /**
   * Tells the forge what the gates of a settled run found: issues of critical findings, where it is of the release branch, and code scanning; and
   * uploads its reports of coverage, of which a failure is a warning in the log of the run. Says nothing where the project does not want it.
   *
   * @returns what was told, one line each.
   * @throws `ForgeUnavailable`, `StoreUnavailable` (retried), `ForgeRefused`, `SecretMissing`, `NotFound` (not retried)
   */
  tellFindings(input: {
    readonly run: RunRef;
    /** Hash of the documents that its gates go by. */
    readonly definition: string;
    /** 40 hexadecimal digits. */
    readonly commit: string;
    /** Full: `refs/heads/main`. */
    readonly ref: string;
  }): Promise<readonly string[]>;
}

export interface ForgeActivities {
  /**
   * Statuses of the commit, and the comment of the pull request. Says nothing where the project has no API of a forge. Of the commit the worst holds
   * that its runs say (docs/adr/0008); a comment is written by the newest run of its pull request alone.
   *
   * @throws `ForgeUnavailable`, `StoreUnavailable` (retried), `ForgeRefused`, `SecretMissing`, `NotFound` (not retried)
   */
  tellForge(input: {
    readonly project: string;
    readonly commit: string;
    readonly statuses: readonly ForgeStatus[];
    /** Page that the statuses lead to. */
    readonly run: number;
    /** Given where the number is not known: the run is found by it, and nothing is told where there is none. */
    readonly runKey?: string;
    readonly comment?: {
      readonly pullRequest: number;
      readonly body: string;
      /** The run is on record: what the store has of it is said instead of the body, where it has it. */
      readonly ofRecord?: true;
    };
  }): Promise<void>;
  /**
   * How a deployment stands, in the list of deployments of the forge. Says nothing where the project has not asked for it.
   *
   * @throws as `tellForge`
   */
  tellDeployment(input: ForgeDeployment): Promise<void>;
  /**
   * A release at the forge, with the plan's commits as its notes; one that is there stays as it is. Makes none where the project has not asked for
   * it, or the forge has no releases.
   *
   * @throws as `tellForge`
   */
  publishRelease(input: {
    readonly deployment: DeploymentRef;
    readonly version: string;
    /** Hash of the plan that was carried out. */
    readonly plan: string;
    readonly runKey?: string;
  }): Promise<void>;
  /**
   * Opens the pull requests that bring a hotfix back into the release branch and `develop`, where there is one; those that are open stay, and where there
   * is nothing to merge there is none. Each is tried, whatever becomes of the other.
   *
   * @throws as `tellForge`
   */
  mergeBack(input: {
    readonly deployment: DeploymentRef;
    readonly version: string;
    readonly runKey: string;
  }): Promise<void>;
}

export interface PollActivities {
  /** Projects that want to be looked at, by name. */
  readPolled(input: undefined): Promise<readonly string[]>;
  /**
   * Looks at the branches and tags of a repository, and accepts a run for each that has moved since the last look, is wanted by a route and has
   * none yet; so many at most, the others with the next look. The first look only remembers. Heartbeats.
   *
   * @throws `NotFound`, `RepositoryRefused`, `TooLarge` (not retried), `RepositoryUnreachable`, `StoreUnavailable` (retried)
   */
  pollRepository(input: { readonly project: string }): Promise<PollReport>;
}

export interface ScheduleActivities {
  /**
   * Accepts the run of a schedule, of the newest commit of its branch. Idempotent by `occasion`. Answers null when the project has no such
   * schedule any more.
   *
   * @throws `NotFound`, `CommitNotFound`, `RepositoryRefused` (not retried), `RepositoryUnreachable`, `StoreUnavailable` (retried)
   */
  acceptScheduledRun(input: {
    readonly project: string;
    readonly schedule: string;
    readonly occasion: string;
  }): Promise<number | null>;
}

export interface StartActivities {
  /**
   * Accepts the run that a stage starts in another project, of the newest commit of its ref, once that project allows it and the parameters
   * agree with what that commit declares. One for each run and stage: asked again, it answers with the same. Heartbeats.
   *
   * @throws `NotAllowed`, `InvalidInput`, `CommitNotFound`, `DefinitionInvalid`, `RepositoryRefused` (not retried), `RepositoryUnreachable`,
   *   `StoreUnavailable` (retried)
   */
  acceptStartedRun(input: {
    readonly run: RunRef;
    readonly stage: string;
    readonly starts: RunStart;
    /** What the run of the stage was asked for with. */
    readonly by: RunInput;
  }): Promise<{ readonly number: number; readonly input: RunInput }>;
}

export interface PollReport {
  readonly refs: number;
  readonly moved: number;
  readonly accepted: readonly { readonly ref: string; readonly run: number }[];
  /** Refs that have moved and are left for the next look. */
  readonly later?: number;
  /** Refs that no run can be of, and why; they are seen all the same. */
  readonly unreadable?: readonly { readonly ref: string; readonly why: string }[];
}
