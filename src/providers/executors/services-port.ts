import type { StageServiceSpec, StepSpec } from '../../definition/specs/stage.ts';
import type { StageScope } from './port.ts';

/** Takes what a service says. */
export interface ServiceLog {
  write(chunk: Buffer): void | Promise<void>;
  say(line: string): void;
  close(): Promise<void>;
}

export interface ServicesRequest {
  readonly scope: StageScope;
  readonly services: readonly StageServiceSpec[];
  /** The network leads nowhere but to the services. */
  readonly internal: boolean;
  /** Steps on the host reach them too, by a port of its loopback address. */
  readonly publish: boolean;
  readonly openLog: (service: string) => ServiceLog;
}

/** Services that are ready, on a network of their own. */
export interface StageServices {
  /** What the containers of the stage join to reach them by their names. */
  readonly network: string;
  /** Where steps of a kind find them: `SERVICE_<NAME>_HOST` and `SERVICE_<NAME>_PORT`. */
  environment(executor: StepSpec['executor']): Readonly<Record<string, string>>;
  /** What there is to say of those that run no more, a sentence each with their last lines. Never throws. */
  ended(): Promise<readonly string[]>;
  /** Removes them and their network. Never throws. */
  close(): Promise<void>;
}

/**
 * Containers beside the steps of a stage. Whatever an earlier attempt at the same stage left is removed before `open` settles, and whatever it
 * has put there itself when it throws.
 */
export interface ServiceHost {
  /**
   * Starts services, all at once, and waits until each has passed its check.
   *
   * @throws `ServiceNotReady` (not retried): one ended, or was not ready in time; details carry its last lines. `ImageNotFound`,
   *   `EngineRefused` (not retried); `RegistryUnavailable`, `EngineUnavailable` (retried). The signal's reason after an abort.
   */
  open(request: ServicesRequest, signal: AbortSignal): Promise<StageServices>;
  /**
   * Removes what an earlier process of the same owner has left: of stages that nobody will begin again there is no next attempt. Only before
   * the first stage is taken.
   *
   * @throws `EngineUnavailable` (retried), `EngineRefused` (not retried)
   */
  reapAbandoned(): Promise<void>;
}
