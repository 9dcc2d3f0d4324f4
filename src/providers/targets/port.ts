import type { ReleaseImage, ReleaseRef, Slot } from '../../domain/release.ts';

/** Names one of the two places of an environment. */
export interface SlotRef {
  readonly project: string;
  readonly environment: string;
  readonly slot: Slot;
}

/** A command that the platform itself runs inside to see whether the release is well. */
export interface HealthCommand {
  readonly command: readonly [string, ...string[]];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  /** Failures within this time after the start do not count, ms. Default 0. */
  readonly startPeriodMs?: number;
}

/** What shall run in a slot. */
export interface SlotSpec extends SlotRef {
  readonly release: ReleaseRef;
  /** The image of the release that serves; run by its digest. */
  readonly image: ReleaseImage;
  /** Deployment that puts it there. */
  readonly deployment: number;
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** As `env`; kept out of labels, names and messages. */
  readonly secretEnv: Readonly<Record<string, string>>;
  /** Fixed published port of the slot. */
  readonly hostPort: number;
  readonly containerPort: number;
  /** Limits; absent: none. */
  readonly resources: { readonly cpus?: number; readonly memoryBytes?: number };
  readonly health?: HealthCommand;
  readonly labels?: Readonly<Record<string, string>>;
  /** Names beyond DNS, `name:address`. */
  readonly extraHosts?: readonly string[];
  /** From SIGTERM to SIGKILL, ms. Default 30,000. */
  readonly stopGraceMs?: number;
}

/** What {@link Target.ensureSlot} brought about. */
export interface SlotPlacement {
  /** False when exactly this ran already. */
  readonly changed: boolean;
  readonly name: string;
  readonly id: string;
}

/** What is in a slot, from the platform's own records. */
export interface SlotState extends SlotRef {
  readonly release: ReleaseRef;
  readonly image: string;
  readonly deployment: number;
  readonly name: string;
  readonly id: string;
  readonly state: 'created' | 'running' | 'restarting' | 'paused' | 'exited';
  /** Verdict of the platform's own check; `none` without one. */
  readonly health: 'healthy' | 'unhealthy' | 'starting' | 'none';
  readonly hostPort: number;
  /** ISO 8601; absent when it never started. */
  readonly startedAt?: string;
  /** How often the platform started it again by itself. */
  readonly restarts: number;
  readonly exitCode?: number;
}

/** How long and by what to wait for health. */
export interface ReadyOptions {
  /** Longest wait, ms. */
  readonly timeoutMs: number;
  /** Path that must answer with 200, and no redirect, on the slot's port. Without it the platform's own check decides, without both: that it runs. */
  readonly path?: string;
  /** Of one request, ms. Default 2,000. */
  readonly requestTimeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called at every try with the last thing seen, for a heartbeat. */
  readonly onTry?: (seen: string) => void;
}

/** Load of a slot. */
export interface SlotStats {
  /** ISO 8601. */
  readonly at: string;
  /** Share of its CPU limit, or of all cores of the machine when it has none. */
  readonly cpuRatio: number;
  /** Share of its memory limit (without reclaimable page cache), or of the machine's memory. */
  readonly memoryRatio: number;
  readonly memoryBytes: number;
}

/** A line that the release wrote. */
export interface SlotLine {
  /** ISO 8601 with nanoseconds: the moment the platform took it. */
  readonly at: string;
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

/** How a command inside a slot ended. Each stream is cut at 64 KiB. */
export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A place where releases run, in two slots an environment.
 *
 * Everything is found again by what the platform itself keeps (labels), so an environment can be rebuilt from the target alone. What was
 * started goes on when Slipway ends, and comes back with the machine.
 *
 * Every method throws `EngineUnavailable` (retried) when the platform does not answer; what it had begun is then unknown, and the same call
 * again makes it so.
 */
export interface Target {
  /**
   * Makes exactly this run in the slot. The same release with the same settings running there: nothing happens; anything else in the slot is
   * stopped and replaced. Does not wait for health.
   *
   * @throws `ImageNotFound`, `EngineRefused` (not retried), `RegistryUnavailable` (retried): what was in the slot is as before.
   * @throws `PortTaken` (not retried): details say by whom. The slot is empty.
   */
  ensureSlot(spec: SlotSpec, signal?: AbortSignal): Promise<SlotPlacement>;

  /**
   * What releases run on here, such as `linux/arm64`: of an image for several platforms that one is taken.
   *
   * @throws `EngineUnavailable` (retried)
   */
  readPlatform(signal?: AbortSignal): Promise<string>;

  /**
   * Waits until the slot is healthy.
   *
   * @returns how long it took, ms.
   * @throws `ContainerUnhealthy` (not retried): it ended, or was not healthy in time. Details carry the exit code, its last 50 lines and what
   * the tries saw. It is left as it is.
   * @throws `ReleaseMissing` (not retried): nothing is in the slot.
   */
  awaitHealthy(ref: SlotRef, options: ReadyOptions): Promise<number>;

  /**
   * Stops what is in the slot: SIGTERM, SIGKILL after the grace. It stays there and can be started again by {@link ensureSlot}. An empty or
   * stopped slot: nothing happens.
   */
  ensureSlotStopped(ref: SlotRef, options: { readonly graceMs: number; readonly signal?: AbortSignal }): Promise<void>;

  /** As {@link ensureSlotStopped}, and empties the slot. */
  ensureSlotRemoved(ref: SlotRef, options: { readonly graceMs: number; readonly signal?: AbortSignal }): Promise<void>;

  /** Reads what is in the slots of a project, or of one environment of it. */
  readSlots(of: { readonly project: string; readonly environment?: string }): Promise<readonly SlotState[]>;

  /**
   * Reads the load of a slot since the reading before, or over about a second at the first.
   *
   * @throws `ReleaseMissing`: nothing runs there.
   */
  readStats(ref: SlotRef, signal?: AbortSignal): Promise<SlotStats>;

  /**
   * Follows what the release in the slot writes from a moment on, through restarts of the container and of the platform, until the signal.
   * No line comes twice. Never throws for a platform that is away: it goes on when it is back.
   *
   * @param since - ISO 8601; lines from that moment on.
   * @param onPresent - called once, when every line that was written before the call has been given; not while the platform is away.
   */
  tailLogs(ref: SlotRef, since: string, signal: AbortSignal, onPresent?: () => void): AsyncIterable<SlotLine>;

  /**
   * Reads the last lines that whatever is in the slot has written, running or ended; empty for an empty slot.
   *
   * @param most - lines.
   */
  readLastLines(ref: SlotRef, most: number, signal?: AbortSignal): Promise<readonly string[]>;

  /**
   * Runs a command inside the slot.
   *
   * @throws `ReleaseMissing`: nothing runs there. `TimedOut` (retried): it may still run inside.
   */
  exec(
    ref: SlotRef,
    command: readonly [string, ...string[]],
    options: {
      readonly timeoutMs: number;
      readonly env?: Readonly<Record<string, string>>;
      readonly signal?: AbortSignal;
    },
  ): Promise<ExecResult>;
}
