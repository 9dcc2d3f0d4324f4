import type { InfrastructureSummary } from '../../domain/infrastructure.ts';

/** A value of a setting of a backend: as Terraform takes it in its JSON. */
export type BackendValue = string | number | boolean | { readonly [name: string]: BackendValue };
/** A value of a variable. */
export type VariableValue =
  string | number | boolean | null | readonly VariableValue[] | { readonly [name: string]: VariableValue };

/** Where the tool keeps what it knows of the world. Names of places only; its credentials are in the environment of the tool. */
export interface BackendSpec {
  readonly kind: string;
  readonly config: Readonly<Record<string, BackendValue>>;
}

export interface InfrastructureRequest {
  /** Whose plans these are: project, environment and number of a deployment, `orders-production-12`. Its plans replace one another. */
  readonly name: string;
  /** Absolute: the folder of the definition in a checkout that is this call's own. Files may be written into it. */
  readonly folder: string;
  readonly variables: Readonly<Record<string, VariableValue>>;
  /** Secrets that are variables, by name; hidden in everything that is handed on. */
  readonly secretVariables: Readonly<Record<string, string>>;
  /** Environment of the tool beside PATH and HOME. */
  readonly env: Readonly<Record<string, string>>;
  /** The same of secrets. */
  readonly secrets: Readonly<Record<string, string>>;
  /** How long a lock that somebody else holds is waited for. */
  readonly lockTimeoutMs: number;
  /** Of the whole call. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Takes what the tool says, line by line, without secrets. */
  readonly onLine?: (line: string) => void;
}

/**
 * A lock for the same kind of work, taken by one of `who` since then and before the call, is opened. Nobody else's ever is, nor one of which
 * the backend does not say whose it is.
 */
export interface LeftLock {
  readonly who: readonly string[];
  readonly since: Date;
}

/** A plan as it was saved. */
export interface SavedPlan {
  /** What `apply` takes, byte for byte. Holds values of the state and of variables: it is a secret. */
  readonly content: Buffer;
  readonly summary: InfrastructureSummary;
  /** What the state was when the plan was made: two equal ones are one state. Says nothing of its content. */
  readonly state: string;
  /** Name and version of the tool. */
  readonly tool: string;
}

export interface ApplyRequest extends InfrastructureRequest {
  readonly plan: Pick<SavedPlan, 'content' | 'state'>;
  /**
   * What earlier attempts of this very call, which are dead by now, may have left. Absent: there was none.
   */
  readonly left?: LeftLock;
  /**
   * Keeps the state that the tool could not bring to its backend, for it is the only trace of what was made; answers with where it is.
   */
  readonly keepState: (content: Buffer) => Promise<string>;
}

/**
 * Definitions of infrastructure in a repository, planned and applied. Whatever of a repository can be run by planning it (data sources,
 * provisioners) runs as the worker's user: only where the project says so.
 */
export interface Infrastructure {
  /** As a lock of this worker names its holder; undefined for a tool that has no locks of its own. */
  readonly lockHolder: () => string | undefined;
  /**
   * Looks, changes nothing but the lock, which it holds meanwhile.
   *
   * @throws ProviderError `InfrastructureFailed` (not retried): the tool says no, in its own words
   * @throws ProviderError `InfrastructureLocked` (not retried): somebody held the lock for longer than is waited; says who and how to release it
   * @throws ProviderError `InfrastructureUnavailable` (retried): the backend cannot be reached
   * @throws ProviderError `ToolMissing`, `TimedOut`
   */
  plan(request: InfrastructureRequest): Promise<SavedPlan>;
  /**
   * What the state is now, to be compared with {@link SavedPlan.state}. Takes no lock.
   *
   * @throws as `plan`, but for `InfrastructureLocked`
   */
  readState(request: InfrastructureRequest): Promise<string>;
  /**
   * Applies exactly the saved plan and nothing else.
   *
   * @returns what the state is then.
   * @throws as `plan`; after `InfrastructureFailed` and `TimedOut` a part of it may be done
   * @throws ProviderError `InfrastructureInterrupted` (not retried): the state could not be brought to its backend and was kept, whatever ended the
   *   apply, an abort among it
   * @throws ProviderError `InfrastructureStale` (not retried): the state is not the one that the plan was made of; nothing was changed
   */
  apply(request: ApplyRequest): Promise<{ readonly state: string }>;
  /**
   * Sees to it that nothing that plans of this name have made is left where they were made, such as a change set in the cloud; what was applied
   * stays. Twice is once. Undefined where a plan is its file and nothing else.
   *
   * @throws as `plan`
   */
  readonly discard?: ((request: InfrastructureRequest) => Promise<void>) | undefined;
}
