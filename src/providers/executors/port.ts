import type { ContainerStep, HostStep, StepSpec } from '../../definition/specs/stage.ts';
import type { Redactor } from '../../effects/redact.ts';
import type { RegistryCredentials } from '../registries/port.ts';

/** One attempt at one stage. */
export interface StageScope {
  readonly project: string;
  readonly run: string;
  readonly number: number;
  readonly stage: string;
  readonly attempt: number;
  /** The checkout; steps run in it or below. */
  readonly source: string;
  /** HOME of the steps: empty when the run began, kept from step to step. */
  readonly home: string;
  /** Folder of the mirror's objects, which a container needs to see, read-only, for Git to work in it. */
  readonly objects: string;
  /**
   * Name and password for images of the project's registry, read when one is fetched. `nobody`: what runs is a stranger's, who gets what anybody gets; an image
   * with a registry in its name is asked for there, also where the engine has it already. Default: no login.
   */
  readonly login?: RegistryLogin | 'nobody';
  /** Network of the engine that the stage has for itself, where services run beside its steps. */
  readonly network?: string;
}

/** How images of one registry are had. */
export interface RegistryLogin {
  /** `host:port`; images of others are asked for as by anybody. */
  readonly address: string;
  /** @throws those of the secret or the program that has them */
  read(signal: AbortSignal): Promise<RegistryCredentials | undefined>;
}

/** One step about to be started. */
export interface StepRun<S extends StepSpec = StepSpec> {
  readonly step: S;
  /** The whole environment beside PATH and HOME, secrets included. */
  readonly env: Readonly<Record<string, string>>;
  /** The step's own time, ms, from when it is started: getting its image is no part of it. */
  readonly timeoutMs: number;
  /** When the time of its stage is over, ms since the epoch: it is ended then, started or not. Default: its own time is the only one. */
  readonly untilMs?: number;
  /** Steps of one lane run one after the other, in the same place; those of others beside them. Default 0. */
  readonly lane?: number;
  readonly redactor: Redactor;
  /** Takes the output, redacted. While its promise is open the step waits in its write. */
  readonly sink: (chunk: Buffer) => void | Promise<void>;
  /** Takes what Slipway itself has to say of the step, such as that its image is being fetched. */
  readonly say: (line: string) => void;
  /** Aborting ends the whole tree within 3 s; the call then throws the signal's reason. */
  readonly signal: AbortSignal;
}

/** How a step ended. A non-zero exit is a fact, not an error. */
export interface StepEnd {
  readonly exitCode: number;
  readonly durationMs: number;
  /** The end of the output, redacted. */
  readonly tail: string;
  readonly timedOut: boolean;
  readonly stalled: boolean;
}

/** As a shell says that SIGKILL ended a program. */
export const killedCode = 137;

/** How a step ended whose stage had no time left for it. */
export function neverStarted(durationMs: number): StepEnd {
  return { exitCode: killedCode, durationMs, tail: '', timedOut: true, stalled: false };
}

/** A place where the steps of one attempt run, those of one lane one after the other. */
export interface StageSession<S extends StepSpec = StepSpec> {
  /**
   * @throws `ToolMissing`, `ImageNotFound`, `EngineRefused` (not retried); `WorkspaceLost`, `EngineUnavailable` (retried)
   */
  run(step: StepRun<S>): Promise<StepEnd>;
  /** Ends what is left of it. Never throws. */
  close(): Promise<void>;
}

/**
 * Where steps run. Whatever an earlier attempt at the same stage left running is ended before `open` settles, so that two attempts never work
 * side by side. A step sees its environment, its checkout and nothing else of the engine.
 */
export interface StepExecutor<S extends StepSpec = StepSpec> {
  readonly kind: S['executor'];
  open(scope: StageScope, signal: AbortSignal): Promise<StageSession<S>>;
}

export interface StepExecutors {
  readonly host: StepExecutor<HostStep>;
  readonly container: StepExecutor<ContainerStep>;
}
