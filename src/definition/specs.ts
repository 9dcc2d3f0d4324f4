/**
 * What activities and providers are given: the two documents resolved against each other, defaults filled in, floors applied, durations in
 * ms and sizes in bytes. How a person writes them is in `repository.ts` and `project.ts`.
 */
import type { GateName, GatePolicy } from '../domain/gate.ts';
import type { SbomMode, ScanException, ScanMode, VulnerabilitySeverity } from '../domain/image-scan.ts';
import type { MachineWants } from '../domain/machine.ts';
import type { MigrationPhase } from '../domain/migration.ts';
import type { AllowedPackage, PackageKind } from '../domain/packages.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import type { StrategySpec } from '../domain/policy.ts';
import type { ReportKind } from '../domain/report.ts';
import type { RunStart } from '../domain/run-start.ts';

/** Where a secret comes from; never the value. */
export type SecretRef =
  { readonly kind: 'env'; readonly name: string } | { readonly kind: 'file'; readonly path: string };

/** Secrets by the name of the variable that carries them. */
export type SecretRefs = Readonly<Record<string, SecretRef>>;

/** A name and a password, for registries and repositories. */
export interface Credentials {
  readonly username: string;
  readonly password: SecretRef;
}

// ─── CI ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What one commit goes through before anything is deployed. */
export interface PipelineSpec {
  readonly tools: readonly ToolRequirement[];
  /** Less is warned about when the run is prepared. */
  readonly machine: MachineWants;
  /** What a stage needs comes before it. */
  readonly stages: readonly StageSpec[];
  /** Stages that run at once. */
  readonly concurrency: number;
  readonly images: readonly ImageSpec[];
  /** Images of the document that this run does not build. */
  readonly otherImages: readonly OtherImage[];
  readonly builds: BuildsSpec;
  readonly registry: RegistrySpec;
  /** Every package of the document; which of them are published is said by the plan. */
  readonly packages: readonly PackageSpec[];
  /** What the reports of a run must show; absent means no gate. */
  readonly gates?: readonly GatePolicy[];
  readonly supplyChain: SupplyChainSpec;
}

/** A package of the repository, and where the project lets it go. */
export interface PackageSpec {
  readonly name: string;
  /** Globs, from the checkout. */
  readonly files: readonly string[];
  readonly index: PackageIndexSpec;
}

export interface PackageIndexSpec {
  /** What the project calls it. */
  readonly name: string;
  readonly kind: PackageKind;
  /** What is uploaded to, as it was written. */
  readonly url: string;
  /** Where an index of Python is asked what it holds. */
  readonly simple?: string;
  /** Of packages with a scope, at a registry of npm. */
  readonly access: 'public' | 'restricted';
  readonly token?: SecretRef;
  readonly credentials?: Credentials;
  readonly allow: readonly AllowedPackage[];
  readonly largestBytes: number;
}

/** What must be known of the images of a project, and who says so. */
export interface SupplyChainSpec {
  /** Templates, the identifying one first (`domain/image-tags.ts`). */
  readonly tags: readonly string[];
  readonly maxSizeBytes: number;
  readonly verify: 'digest' | 'content';
  readonly sbom: SbomMode;
  /** Absent: images are not scanned. */
  readonly scan?: ScanSpec;
  /** Absent: images are not signed. */
  readonly signing?: { readonly key: SecretRef; readonly password?: SecretRef };
  readonly builder: string;
}

export interface ScanSpec {
  readonly scanner: 'osv-scanner' | 'trivy';
  /** Folder of the worker. */
  readonly database: string;
  readonly maxAgeMs: number;
  readonly severities: readonly VulnerabilitySeverity[];
  readonly exceptions: readonly ScanException[];
  /** Of a run that leads to no environment. */
  readonly mode: ScanMode;
  /** By environment. */
  readonly modes: Readonly<Record<string, ScanMode>>;
}

/** What must be known of an image before it runs in an environment. */
export interface ImageTrustSpec {
  /** `off` where the project does not scan at all. */
  readonly scan: ScanMode;
  /** By what a scan is judged; absent where the project does not scan at all. */
  readonly scans?: ScanSpec;
  /** The project signs and attests what it pushes. */
  readonly signs: boolean;
  readonly requireSignature: boolean;
  readonly requireAttestation: boolean;
  /** Public keys in PEM; the signature of any of them counts. */
  readonly keys: readonly string[];
  /** URI of the builder that provenance must name. */
  readonly builder: string;
}

/** A tool that the worker must have, checked when the run is prepared. */
export interface ToolRequirement {
  /** The command, as on PATH. */
  readonly name: string;
  /** Semantic version range, such as `>=20.10`. */
  readonly range: string;
}

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

/** An image that a run leaves out. */
export interface OtherImage {
  readonly name: string;
  readonly group: string;
  /** As a sentence. */
  readonly why: string;
}

export interface ImageSpec {
  readonly name: string;
  /** What it is built with, and how many of that are at once. Absent: it has no group. */
  readonly group?: { readonly name: string; readonly concurrency?: number };
  /** `address/prefix/name` in the registry, without a tag. */
  readonly repository: string;
  /** Relative to the checkout. */
  readonly context: string;
  /** Relative to the context. */
  readonly dockerfile: string;
  readonly target?: string;
  readonly args: Readonly<Record<string, string>>;
  /** Empty: the platform of the builder. In the order of the alphabet, each once. */
  readonly platforms: readonly string[];
  /** Of the build's RUN instructions; the floor of the project applied. */
  readonly network: 'default' | 'none';
  /** Only those that the image names and the project offers. Empty for pull requests from forks. */
  readonly secrets: SecretRefs;
  /** By the `id` of the mount. Empty for pull requests from forks. */
  readonly ssh: Readonly<Record<string, SshSpec>>;
  /** Absent: the layers of the image that was built before. */
  readonly cache?: ImageCacheSpec;
}

/** A private key by reference, or the socket of an agent on the worker. */
export type SshSpec =
  { readonly kind: 'key'; readonly key: SecretRef } | { readonly kind: 'agent'; readonly socket: string };

/** Where the layers of an image come from and go to, as `repository:tag`. */
export interface ImageCacheSpec {
  readonly import: readonly string[];
  /** Never for pull requests from forks. */
  readonly export?: 'inline' | { readonly place: string };
  readonly mode: 'min' | 'max';
}

/** What builds images: the worker's engine, or a BuildKit daemon. */
export type BuilderSpec = { readonly kind: 'docker' } | BuildKitSpec;

export interface BuildKitSpec {
  readonly kind: 'buildkit';
  /** `unix:///…` or `tcp://host:port`. */
  readonly address: string;
  readonly tls?: {
    readonly ca: SecretRef;
    readonly certificate: SecretRef;
    readonly key: SecretRef;
    readonly serverName?: string;
  };
}

export interface BuildsSpec {
  readonly builder: BuilderSpec;
  /** For building and pushing all images together. */
  readonly timeoutMs: number;
  /** How many images are built at once. */
  readonly concurrency: number;
}

export interface RegistrySpec {
  /** `host:port`, as in an image's name. */
  readonly address: string;
  /** Path between address and the image's name; empty when there is none. */
  readonly prefix: string;
  /** Plain HTTP. */
  readonly insecure: boolean;
  /** One of the three, or none. */
  readonly credentials?: Credentials;
  /** `docker-credential-<name>` of the worker is asked. */
  readonly credentialHelper?: string;
  /** AWS is asked for a token. */
  readonly ecr?: EcrSpec;
}

export interface EcrSpec {
  readonly region: string;
  /** Default: what the worker has for AWS. */
  readonly accessKey?: { readonly id: SecretRef; readonly secret: SecretRef };
}

// ─── Deployment ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One environment as the release of one commit meets it. */
export interface EnvironmentSpec {
  readonly project: string;
  readonly name: string;
  readonly target: TargetSpec;
  readonly router: RouterSpec;
  /** Absent when the environment has no database. */
  readonly database?: DatabaseSpec;
  /** Absent when the environment or the repository has none. */
  readonly infrastructure?: InfrastructureSpec;
  readonly strategy: StrategySpec;
  readonly policy: PlanPolicy;
  readonly service: ServiceSpec;
  readonly probes: readonly ProbeSpec[];
  /** Absent when the repository has no migrations. */
  readonly migrations?: MigrationsSpec;
  /** Secrets of the running service, by variable. */
  readonly secrets: SecretRefs;
  readonly registry: RegistrySpec;
  readonly imageTrust: ImageTrustSpec;
  readonly notifications: readonly NotifierSpec[];
}

/** A setting of a backend, or a variable: a plain value, or a list or group of plain values. */
export type InfrastructureValue =
  | string
  | number
  | boolean
  | readonly (string | number | boolean)[]
  | { readonly [name: string]: string | number | boolean };

/** What is there before the release is, and with which rights it is changed. */
export interface InfrastructureSpec {
  readonly tool:
    | {
        readonly kind: 'terraform' | 'opentofu';
        readonly backend: {
          readonly kind: string;
          readonly config: Readonly<
            Record<string, string | number | boolean | { readonly [name: string]: string | number | boolean }>
          >;
        };
      }
    | {
        readonly kind: 'exec';
        readonly plan: readonly string[];
        readonly apply: readonly string[];
        readonly state: readonly string[];
      };
  /** Of the definition, relative to the checkout. */
  readonly folder: string;
  readonly variables: Readonly<Record<string, InfrastructureValue>>;
  readonly secretVariables: SecretRefs;
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: SecretRefs;
  /** Encrypts the saved plan. */
  readonly planKey: SecretRef;
  readonly lockTimeoutMs: number;
  readonly timeoutMs: number;
}

/** A container engine on one machine. */
export interface DockerTargetSpec {
  readonly kind: 'docker';
  /** Names containers and the lock of the target; `project-environment` by default. */
  readonly name: string;
  /** Path of the engine's socket; the worker's own engine when absent. */
  readonly socket?: string;
  /** Network of the engine that containers join; its bridge when absent. */
  readonly network?: string;
  /** Address that published ports of slots listen on. */
  readonly publishAddress: string;
}
export type TargetSpec = DockerTargetSpec;

export interface HaproxyRouterSpec {
  readonly kind: 'haproxy';
  readonly listen: { readonly address: string; readonly port: number };
  /** Fixed published port of each slot. */
  readonly slots: { readonly blue: number; readonly green: number };
}
export type RouterSpec = HaproxyRouterSpec;

export interface PostgresDatabaseSpec {
  readonly kind: 'postgres';
  /** Secret that holds the connection URL, as the worker reaches it. */
  readonly url: SecretRef;
  /** Folder of `pg_dump`, `pg_restore` and `psql`; PATH when absent. */
  readonly clientBin?: string;
  /** `lock_timeout` of migrations. */
  readonly lockTimeoutMs: number;
  /** `statement_timeout` of migrations. */
  readonly statementTimeoutMs: number;
}
export type DatabaseSpec = PostgresDatabaseSpec;

/** The long-running process that a release is. */
export interface ServiceSpec {
  /** Name of one of the images. */
  readonly image: string;
  /** Port inside the container. */
  readonly port: number;
  /** Arguments instead of those of the image. */
  readonly command?: readonly string[];
  /**
   * Settings of the repository that hold everywhere. The whole of a release's settings, with the environment's file and the project's
   * own on top, comes from `readConfiguration`.
   */
  readonly env: Readonly<Record<string, string>>;
  readonly health: HealthSpec;
  readonly resources: ResourceLimits;
  /** SIGTERM to SIGKILL; the limit of the environment applied. */
  readonly stopGraceMs: number;
}

/** When a release in a slot is ready for traffic, and stays so. */
export interface HealthSpec {
  /** GET of this path at the slot's port must answer 200, asked from outside. */
  readonly path: string;
  /** Run inside the container as its health check, instead of the image's own. */
  readonly command?: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row until it is unhealthy. */
  readonly retries: number;
}

interface ProbeBase {
  readonly name: string;
  /** Tries after the first, before the probe has failed. */
  readonly retries: number;
  /** Between two tries. */
  readonly intervalMs: number;
  /** Of one try. */
  readonly timeoutMs: number;
  /** Past the router, through it, or both at their time. */
  readonly through: 'slot' | 'router' | 'both';
}

export interface HttpProbeSpec extends ProbeBase {
  readonly kind: 'http';
  readonly method: 'GET' | 'HEAD';
  readonly path: string;
  readonly expectStatus: number;
  /** Text that the body must contain. */
  readonly expectBody?: string;
  /** Field of the JSON body that must be the version of the release. */
  readonly versionField?: string;
}

/** A connection to the service's port is accepted. */
export interface TcpProbeSpec extends ProbeBase {
  readonly kind: 'tcp';
}

/** The container runs, is healthy by its own check and did not start again since it was made. */
export interface ContainerProbeSpec extends ProbeBase {
  readonly kind: 'container';
}

export type ProbeSpec = HttpProbeSpec | TcpProbeSpec | ContainerProbeSpec;

export interface MigrationsSpec {
  /** `sql`: `NNN_name.sql`, beside it `NNN_name.down.sql` where it can be undone. */
  readonly runner: 'sql';
  /** Relative to the checkout. */
  readonly folder: string;
  readonly phase: MigrationPhase;
}

// ─── Notices ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface NotifierBase {
  readonly name: string;
  /** Lowest level that goes here. */
  readonly level: 'info' | 'warning' | 'error' | 'critical';
  /** Only these events; all of them when empty. */
  readonly events: readonly string[];
  /** Only these environments; all of them, and runs, when empty. */
  readonly environments: readonly string[];
}

/** A Slack-compatible incoming webhook. */
export interface SlackNotifierSpec extends NotifierBase {
  readonly kind: 'slack';
  readonly url: SecretRef;
}

/** The log of the worker. */
export interface LogNotifierSpec extends NotifierBase {
  readonly kind: 'log';
}

export type NotifierSpec = SlackNotifierSpec | LogNotifierSpec;
