/** What is known of one type of failure, whoever raises it. */
export interface FailureKind {
  /** Whether doing the same again may help. A failure that is not retryable ends its activity at once. */
  readonly retryable: boolean;
  /** HTTP status of the problem document (RFC 9457) the API makes of it. */
  readonly status: number;
  /** What an operator does next; shown under the message. */
  readonly sentence: string;
}

/**
 * Every type of failure there is. Closed: a new one is added here first, so that API, CLI, notices and retry policies know it.
 *
 * `retryable` is the default; `failure(…, { nonRetryable })` overrides it where the caller knows more.
 */
export const failures = {
  // What people wrote.
  DefinitionInvalid: {
    retryable: false,
    status: 422,
    sentence:
      'Correct the places named in the definition and push again; `slipway validate` shows the same list locally.',
  },
  InvalidInput: { retryable: false, status: 400, sentence: 'Correct the fields named and send the request again.' },
  ConfigurationInvalid: {
    retryable: false,
    status: 500,
    sentence: 'Correct the setting named in the message and start Slipway again.',
  },
  BuildRefused: {
    retryable: false,
    status: 500,
    sentence: 'Start the earlier build of Slipway again until the workflows named in the message have ended.',
  },
  EnvironmentFileInvalid: {
    retryable: false,
    status: 422,
    sentence: 'Add or correct the variables named in the environment file and push again.',
  },
  TooLarge: { retryable: false, status: 413, sentence: 'Send less at once; the limit is in the message.' },
  TooMany: { retryable: true, status: 429, sentence: 'Wait for the time in Retry-After, then send it again.' },
  SignatureInvalid: {
    retryable: false,
    status: 401,
    sentence: 'Check that the webhook secret at the forge and the one of the project are the same.',
  },
  NotAuthenticated: { retryable: false, status: 401, sentence: 'Send a valid token as `Authorization: Bearer …`.' },
  LinkExpired: {
    retryable: false,
    status: 401,
    sentence: 'Open the page by its own address again, or have a new link from `slipway report`.',
  },
  LinkInvalid: {
    retryable: false,
    status: 403,
    sentence:
      'Open the page by its own address, or have a link from `slipway report`; a link opens only what it was made for.',
  },
  NotAllowed: { retryable: false, status: 403, sentence: 'Ask somebody with the role named in the message.' },
  ProofRefused: {
    retryable: false,
    status: 403,
    sentence:
      'Decide again. Where it is refused again, give API and workers the same `SLIPWAY_INSTALLATION_KEY` and compare their clocks; if neither is wrong, somebody has forged it.',
  },
  NotFound: {
    retryable: false,
    status: 404,
    sentence:
      'Check the name; `slipway list` shows the runs, `slipway deployments` the deployments, `slipway status` the environments there are.',
  },
  Conflict: { retryable: false, status: 409, sentence: 'Read the present state again, then decide anew.' },
  TooLate: { retryable: false, status: 409, sentence: 'It was decided before; `slipway status` shows how.' },
  SecretMissing: {
    retryable: false,
    status: 422,
    sentence: 'Give the secret named in the message a value where the project says it comes from, then run again.',
  },

  // Source and steps.
  CommitNotFound: {
    retryable: false,
    status: 422,
    sentence: 'Check that the commit was pushed and not removed by a forced push, then push again.',
  },
  RepositoryUnreachable: {
    retryable: true,
    status: 502,
    sentence: 'Check the address of the repository, its credentials and the network between it and the worker.',
  },
  RepositoryRefused: {
    retryable: false,
    status: 502,
    sentence: 'Check the credentials of the repository and that they may read it.',
  },
  ToolMissing: {
    retryable: false,
    status: 500,
    sentence:
      'Install the tool named in the message on the machine that needs it; a step may also run in an image that has it.',
  },
  ToolTooOld: {
    retryable: false,
    status: 500,
    sentence: 'Update the tool named in the message on the worker, or lower the minimum under `tools` in slipway.yaml.',
  },
  ProcessFailed: {
    retryable: true,
    status: 500,
    sentence: 'Read the last lines of its output in the details; the exit code is with them.',
  },
  StepFailed: {
    retryable: false,
    status: 422,
    sentence: 'Read the log of the step, correct the cause and push again.',
  },
  StepTimedOut: {
    retryable: false,
    status: 422,
    sentence: 'Find out in the log where the time went, or give the step a longer `timeout`.',
  },
  StepStalled: {
    retryable: false,
    status: 422,
    sentence: 'The step said nothing for too long: look for something that waits for input, or raise `stallAfter`.',
  },
  StepInterrupted: {
    retryable: false,
    status: 409,
    sentence: 'The worker died during a step that may run only once: check what it did, then run again or abort.',
  },
  ServiceNotReady: {
    retryable: false,
    status: 422,
    sentence:
      'Read what the service said, in its log beside those of the steps; correct its settings or its health check.',
  },
  WorkspaceLost: {
    retryable: true,
    status: 500,
    sentence: 'Nothing to do: the stage starts again from a clean checkout.',
  },

  // Images.
  BuildFailed: {
    retryable: false,
    status: 422,
    sentence: 'Read the last lines of the build in the details, correct the Dockerfile or the source and push again.',
  },
  BuildInterrupted: {
    retryable: true,
    status: 503,
    sentence: 'The engine went away during the build; it is tried again. Check the Docker daemon if this repeats.',
  },
  RegistryRefused: {
    retryable: false,
    status: 502,
    sentence: 'Check the credentials of the registry and that they may push to this repository.',
  },
  RegistryUnavailable: {
    retryable: true,
    status: 502,
    sentence: 'Check that the registry runs and can be reached from the worker, which asks again.',
  },
  IndexRefused: {
    retryable: false,
    status: 502,
    sentence:
      'Check the address and the credentials of the index named in the project: `packageIndexes` where it is published to, `upkeep.dependencies.indexes` where it is read.',
  },
  IndexUnavailable: {
    retryable: true,
    status: 502,
    sentence:
      'Check that the index named runs and can be reached from the worker. It is asked again; publishing sends nothing twice that is there.',
  },
  ImageNotFound: {
    retryable: false,
    status: 404,
    sentence: 'The image is not in the registry: check its retention, or build the commit again.',
  },
  ImageBeingRemoved: {
    retryable: true,
    status: 409,
    sentence: 'Ask again in a minute. If the image is gone by then, build its commit again.',
  },
  DigestMismatch: {
    retryable: false,
    status: 502,
    sentence:
      'The registry holds something else than was pushed: do not deploy it, and find out who else writes there.',
  },
  TagTaken: {
    retryable: false,
    status: 409,
    sentence: 'A tag that must not change names another image already: give the new one another version.',
  },
  PackageRefused: {
    retryable: false,
    status: 422,
    sentence:
      'Correct the package, or have its name and version allowed for the index in the project. Nothing of it was published.',
  },
  PackageTaken: {
    retryable: false,
    status: 409,
    sentence:
      'A published version never changes: give the package a new one. Where the content should be the same, make its build repeatable (`SOURCE_DATE_EPOCH`).',
  },
  ImageVulnerable: {
    retryable: false,
    status: 422,
    sentence: 'Update the packages named, or have an exception with a reason and a last day put into the project.',
  },
  ScanErrored: {
    retryable: false,
    status: 502,
    sentence: 'Nothing is known of the image: repair the scanner or renew its database, then run again.',
  },
  SignerFailed: {
    retryable: true,
    status: 502,
    sentence: 'Check the signing key of the project, its password, and that the registry takes signatures.',
  },
  ImageNotSigned: {
    retryable: false,
    status: 422,
    sentence: 'Only images signed by a key of the project are deployed here: build the commit again with signing on.',
  },
  AttestationInvalid: {
    retryable: false,
    status: 422,
    sentence:
      'What is attested is not what would be deployed: do not deploy it, and find out who else writes to the registry.',
  },

  // Plan and approval.
  GateBlocked: {
    retryable: false,
    status: 422,
    sentence:
      'Read the report of the run (`slipway report`), correct what the gate found and push again; or ask the project to change the gate.',
  },
  GateErrored: {
    retryable: false,
    status: 503,
    sentence:
      'The gate could not find out: read in `slipway report` what is missing or unreadable, mend it and run again.',
  },
  PlanChanged: {
    retryable: false,
    status: 409,
    sentence:
      'The environment or the definition changed since the plan was shown: read the new plan and approve that one.',
  },
  NotPromoted: {
    retryable: false,
    status: 422,
    sentence: 'Deploy the same images to staging first, and let that succeed; nothing has to be built again.',
  },
  ApprovalExpired: {
    retryable: false,
    status: 409,
    sentence: 'Nobody decided in time; run again from approval, nothing has to be built again.',
  },
  ApprovalRejected: {
    retryable: false,
    status: 409,
    sentence: 'The deployment was rejected; the reason is with the decision.',
  },
  EnvironmentHeld: {
    retryable: false,
    status: 409,
    sentence: 'Somebody must say what state the environment is in: `retry`, `reconcile` or `unlock` with a reason.',
  },

  // Infrastructure.
  InfrastructureFailed: {
    retryable: false,
    status: 422,
    sentence:
      'Read what the tool says, correct the definition or its settings and deploy again; what was applied before it stopped stays.',
  },
  InfrastructureLocked: {
    retryable: false,
    status: 409,
    sentence:
      'Let the work that holds the lock end; where it is dead for certain, release the lock named, then deploy again.',
  },
  InfrastructureStale: {
    retryable: false,
    status: 409,
    sentence: 'Nothing was applied. Deploy again: a new plan is made of the present state, and asked for.',
  },
  InfrastructureInterrupted: {
    retryable: false,
    status: 409,
    sentence:
      'A part of the plan is applied and stays. Where a state is kept, bring that back first. Then deploy again: the new plan shows what is left, and is asked for.',
  },
  InfrastructureUnavailable: {
    retryable: true,
    status: 502,
    sentence: 'Check that the place of the state can be reached from the worker, and the credentials for it.',
  },

  // Data.
  BackupFailed: {
    retryable: true,
    status: 500,
    sentence: 'Nothing was changed. Check the database and the place where backups go, then deploy again.',
  },
  BackupNotProved: {
    retryable: false,
    status: 500,
    sentence:
      'The backup could not be restored or differs from the source. Nothing was changed; do not deploy before it can.',
  },
  DiskFull: { retryable: false, status: 507, sentence: 'Make room on the disk named in the message, then go on.' },
  DatabaseUnreachable: {
    retryable: true,
    status: 502,
    sentence: 'Check that the database runs and accepts connections from the worker.',
  },
  DatabaseRefused: {
    retryable: false,
    status: 502,
    sentence: 'Check user, password and rights of the database account named in the message.',
  },
  MigrationFailed: {
    retryable: false,
    status: 422,
    sentence: 'Read the output of the migration in the details; what it had changed is being undone.',
  },
  MigrationLocked: {
    retryable: true,
    status: 409,
    sentence: 'Another migration or a long transaction holds the lock: end it, or wait for it.',
  },
  MigrationIncompatible: {
    retryable: false,
    status: 409,
    sentence:
      'The running release could not go on with this schema: split the migration, or acknowledge it at approval.',
  },
  RestoreFailed: {
    retryable: true,
    status: 500,
    sentence:
      'The data could not be put back: the environment is held; type the command in the message by hand, then `slipway unlock <environment> --state-is <version> --reason …`.',
  },

  // What runs, and the traffic to it.
  ContainerUnhealthy: {
    retryable: false,
    status: 422,
    sentence: 'Read the last lines of the container in the details; no traffic was moved to it.',
  },
  PortTaken: {
    retryable: false,
    status: 409,
    sentence:
      'Free the port named in the message, or use another one: that of a slot stands in the project, that of the API is `--port` of `slipway up`.',
  },
  EngineUnavailable: {
    retryable: true,
    status: 503,
    sentence: 'Check that the Docker engine runs and that the worker may use its socket.',
  },
  EngineRefused: {
    retryable: false,
    status: 502,
    sentence: 'The engine refused the request for the reason in the message; correct what it names.',
  },
  RouterUnavailable: {
    retryable: true,
    status: 503,
    sentence: 'Check that the router runs; it is started again with the last good configuration.',
  },
  RouterConfigInvalid: {
    retryable: false,
    status: 500,
    sentence: 'The router refused the rendered file, the old one stays: read its complaint in the details.',
  },
  TrafficNotMoved: {
    retryable: true,
    status: 502,
    sentence: 'The new release does not answer through the router although it was told to; traffic is put back.',
  },
  ReleaseMissing: {
    retryable: false,
    status: 409,
    sentence: 'The previous release is no longer there to go back to; deploy a version by hand.',
  },
  ReleaseDegraded: {
    retryable: false,
    status: 502,
    sentence: 'The watch found the release to be bad; the figures that decided are in the details.',
  },
  FenceRefused: {
    retryable: false,
    status: 409,
    sentence: 'A newer deployment or attempt works on this target; nothing to do, this one ends here.',
  },
  FenceUnavailable: {
    retryable: true,
    status: 503,
    sentence: 'The lock of the target could not be had or was lost: check the store; moves back still go on.',
  },

  // Slipway's own surroundings.
  StoreUnavailable: {
    retryable: true,
    status: 503,
    sentence: 'Check that the store (PostgreSQL) runs; facts wait in the spool until it does.',
  },
  TemporalUnavailable: {
    retryable: true,
    status: 503,
    sentence: 'Check that Temporal runs and can be reached; what was accepted starts as soon as it does.',
  },
  SpoolFull: {
    retryable: false,
    status: 507,
    sentence: 'The store has been away too long and the spool is full: bring the store back or raise its limit.',
  },
  BlobsUnavailable: {
    retryable: true,
    status: 503,
    sentence: 'Check the folder or bucket where logs and backups go.',
  },
  NotifierFailed: { retryable: true, status: 502, sentence: 'Check the address of the notifier; no run fails for it.' },
  MetricsUnavailable: {
    retryable: true,
    status: 502,
    sentence: 'Check the source of the figures named in the message; without figures nothing passes.',
  },
  ForgeRefused: {
    retryable: false,
    status: 502,
    sentence: 'Check what the token of the forge may do, and that it is one of this repository; no run fails for it.',
  },
  ForgeUnavailable: {
    retryable: true,
    status: 502,
    sentence: 'Check that the forge can be reached and the token is valid.',
  },
  TimedOut: {
    retryable: true,
    status: 504,
    sentence: 'It took longer than it may; look in the Temporal UI where it waited.',
  },
  WorkerLost: {
    retryable: true,
    status: 503,
    sentence: 'A worker went away; another one goes on. Start one if none is left.',
  },
  Terminated: {
    retryable: false,
    status: 409,
    sentence: 'Somebody terminated the workflow, so nothing was undone: check the environment and `reconcile` it.',
  },
  Aborted: { retryable: false, status: 409, sentence: 'It was aborted; what it had changed was undone.' },
  Internal: {
    retryable: true,
    status: 500,
    sentence: 'This is a fault of Slipway: keep the message and the id of the run, and report them.',
  },
} as const satisfies Record<string, FailureKind>;

/** The name of one type of failure; the keys of {@link failures}. */
export type FailureType = keyof typeof failures;

/** True for the names in the table; what comes over the wire is only a string. */
export function isFailureType(type: unknown): type is FailureType {
  return typeof type === 'string' && Object.hasOwn(failures, type);
}
