import { parameterVariable } from '../definition/parameters.ts';
import type { SecretRef } from '../definition/specs/secret.ts';
import type { StageSpec, StepSpec } from '../definition/specs/stage.ts';
import { failures } from '../domain/failure-kinds.ts';
import { ProviderError } from '../domain/failures.ts';
import type { RunPlan, RunRef, StageReport, StepReport } from '../domain/run.ts';
import type { Redactor } from '../effects/redact.ts';
import { unlessOver } from '../effects/waits.ts';
import type { ServiceHost, StageServices } from '../providers/executors/services-port.ts';
import {
  type StageScope,
  type StageSession,
  type StepEnd,
  type StepExecutors,
  neverStarted,
} from '../providers/executors/port.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { StageArtifacts } from './artifacts.ts';
import type { StageCaches } from './caches.ts';
import type { StageJournal } from './journal.ts';
import type { LogWriter, Logs } from './logs.ts';
import type { Pipelines, RunPipeline } from './pipelines.ts';
import type { ReportHands } from './reports.ts';
import type { ReadSecret } from './secrets.ts';

/** Facts of stages for people's eyes; they go to the spool, so that they neither wait nor fail. */
export interface StageFacts {
  /** @param fact.phase - what the run is doing from here on, for lists and pages. */
  stageStarted(fact: {
    readonly run: RunRef;
    readonly stage: string;
    readonly position: number;
    readonly at: string;
    readonly phase: 'checking' | 'building' | 'publishing' | 'pushing';
  }): void;
  stepStarted(fact: StepFact & { readonly at: string }): void;
  stepSettled(fact: StepFact & { readonly report: StepReport }): void;
  stageSettled(fact: { readonly run: RunRef; readonly position: number; readonly report: StageReport }): void;
}

export interface StepFact {
  readonly run: RunRef;
  readonly stage: string;
  readonly step: string;
  readonly position: number;
}

/** What is known beyond the machine of a checkout of steps that may run only once: when it is lost, its journal is. */
export interface OnceSteps {
  /** On record when this settles, so before the step is started. @throws `StoreUnavailable` (retried) */
  begin(fact: StepFact & { readonly at: string }): Promise<void>;
  /** Names of the steps of a stage that were ever started, on whatever machine. @throws `StoreUnavailable` (retried) */
  readStarted(run: RunRef, stage: string): Promise<ReadonlySet<string>>;
}

export interface StageDependencies {
  readonly executors: StepExecutors;
  readonly services: ServiceHost;
  readonly repositories: SourceRepository;
  readonly pipelines: Pipelines;
  readonly readSecret: ReadSecret;
  readonly readRegistry: ReadRegistry;
  readonly caches: StageCaches;
  readonly artifacts: StageArtifacts;
  readonly logs: Logs;
  readonly facts: StageFacts;
  readonly once: OnceSteps;
  readonly reports: ReportHands;
}

/** What one attempt at a stage works with. */
export interface Attempt {
  readonly deps: StageDependencies;
  readonly known: RunPipeline;
  readonly run: RunRef;
  readonly plan: RunPlan;
  readonly spec: StageSpec;
  readonly scope: StageScope;
  readonly journal: StageJournal;
  readonly secrets: Secrets;
  /** Values that nothing of it may show: of its own secrets, and of those of stages that may run beside it. */
  readonly hidden: readonly string[];
  readonly redactor: Redactor;
  /** What steps before have handed on, by name. */
  readonly outputs: Map<string, string>;
  /** Which try of a step comes next, where it is not the first. */
  readonly tries: Map<number, number>;
  readonly startedMs: number;
  /** When the time of its steps is over, ms since the epoch. It begins once they can: making good what a lost worker took along is no part of it. */
  readonly due: { ms: number };
  readonly signal: AbortSignal;
  readonly progress: (detail: unknown) => void;
}

/** What a stage leaves running is waited for so long at its end, ms: more than its executors themselves take. Judgement. */
const longestCloseMs = 120_000;

/** Secrets of steps by `stage/step`. */
export type Secrets = ReadonlyMap<string, Readonly<Record<string, string>>>;

/** Lines of a failed step that go into its report, and with it into the history. */
const detailLines = 20;
const detailChars = 4_000;

/** Where the steps of a stage run, with the services beside them. */
export interface StagePlace {
  run(step: StepSpec, how: HowToRun): Promise<StepEnd>;
  /** What there is to say of services that run no more, a sentence each. */
  endedServices(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface HowToRun {
  readonly log: LogWriter;
  readonly timeoutMs: number;
  readonly untilMs?: number;
  readonly signal: AbortSignal;
  /** Steps of the same lane run one after the other, those of others at once. */
  readonly lane: number;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Opens the place where a stage's steps run; its services are ready when it returns.
 *
 * @throws `ServiceNotReady`, `ImageNotFound` (not retried): a service; `EngineUnavailable` (retried)
 */
export async function openPlace(attempt: Attempt, spec: StageSpec): Promise<StagePlace> {
  const { deps, run, signal } = attempt;
  const scope = { ...attempt.scope, stage: spec.name };
  let services: StageServices | undefined;
  if (spec.services.length > 0) {
    services = await deps.services.open(
      {
        scope,
        services: spec.services,
        // Without a way out where the project gives its steps none; the host reaches a published port only over a network that has one.
        internal: attempt.known.pair.project.steps.network === 'none' && !spec.steps.some(isHost),
        publish: spec.steps.some(isHost),
        openLog: (service) =>
          deps.logs.open(
            { run, stage: spec.name, step: `service.${service}`, attempt: scope.attempt },
            attempt.redactor,
          ),
      },
      signal,
    );
  }
  const open = new Map<StepSpec['executor'], Promise<StageSession>>();
  const session = (executor: StepSpec['executor']): Promise<StageSession> => {
    let opening = open.get(executor);
    if (opening === undefined) {
      const inside = services === undefined ? scope : { ...scope, network: services.network };
      opening = deps.executors[executor].open(inside, signal);
      open.set(executor, opening);
    }
    return opening;
  };
  return {
    async run(step, { log, timeoutMs, untilMs, signal: stop, lane, env = {} }) {
      const began = performance.now();
      const limits = { signal: stop, ...(untilMs === undefined ? {} : { untilMs }) };
      const opened = await unlessOver(session(step.executor), limits);
      if (opened === undefined) return neverStarted(performance.now() - began);
      return await opened.run({
        step,
        env: {
          ...environmentOf(attempt, spec, step),
          ...services?.environment(step.executor),
          ...Object.fromEntries(attempt.outputs),
          ...step.env,
          ...attempt.secrets.get(secretsKey(spec, step)),
          ...env,
        },
        timeoutMs,
        lane,
        redactor: attempt.redactor,
        sink: (chunk) => log.write(chunk),
        say: (line) => log.say(line),
        ...limits,
      });
    },
    endedServices: async () => (await services?.ended()) ?? [],
    async close() {
      const ended = [...open.values()].map((opening) =>
        opening.then((opened) => opened.close()).catch(() => undefined),
      );
      const all = Promise.all(ended).then(() => services?.close());
      // With an engine that hangs nothing may ever end; whoever comes next removes what is left.
      await unlessOver(all, { untilMs: Date.now() + longestCloseMs });
    },
  };
}

function isHost(step: StepSpec): boolean {
  return step.executor === 'host';
}

/** What every step may know of its run. */
function environmentOf({ run, plan, known }: Attempt, stage: StageSpec, step: StepSpec): Record<string, string> {
  const parameters = Object.entries(known.input.parameters ?? {}).map(
    ([name, value]) => [parameterVariable(name), value] as const,
  );
  return {
    CI: 'true',
    SLIPWAY: 'true',
    SLIPWAY_PROJECT: run.project,
    SLIPWAY_RUN: String(run.number),
    SLIPWAY_STAGE: stage.name,
    SLIPWAY_STEP: step.name,
    SLIPWAY_COMMIT: plan.commit.sha,
    SLIPWAY_REF: known.input.event.ref,
    SLIPWAY_VERSION: plan.version,
    SLIPWAY_WORKSPACE: plan.workspace.path,
    ...Object.fromEntries(parameters),
  };
}

function secretsKey(stage: StageSpec, step: StepSpec): string {
  return `${stage.name}/${step.name}`;
}

/** Reads what the steps of these stages declare, before anything is started: the redactor must know all of it. */
export async function readSecrets(stages: readonly StageSpec[], read: ReadSecret): Promise<Secrets> {
  const found = new Map<string, Readonly<Record<string, string>>>();
  for (const stage of stages) {
    for (const step of stage.steps) {
      const entries = Object.entries<SecretRef>(step.secrets);
      if (entries.length === 0) continue;
      const values = await Promise.all(entries.map(async ([name, ref]) => [name, await read(ref)] as const));
      found.set(secretsKey(stage, step), Object.fromEntries(values));
    }
  }
  return found;
}

/**
 * Values of secrets that stages beside this one may be given, to be hidden here too. One that is not there is given to nobody, and is the trouble of
 * the stage that wants it; one that only could not be read now may be read by that stage in a moment, so nothing is started without it.
 *
 * @throws ProviderError as `read` does, where it is worth another try.
 */
export async function readOthersSecrets(stages: readonly StageSpec[], read: ReadSecret): Promise<readonly string[]> {
  const refs = stages.flatMap(({ steps }) => steps.flatMap(({ secrets }) => Object.values<SecretRef>(secrets)));
  const values = await Promise.all(
    refs.map(async (ref) => {
      try {
        return [await read(ref)];
      } catch (error) {
        if (error instanceof ProviderError && !error.retryable) return [];
        throw error;
      }
    }),
  );
  return values.flat();
}

/** What an error makes of what it kept from being judged; undefined: it may be tried again, or is nobody's verdict. */
export function verdictOf(error: unknown, signal: AbortSignal): string | undefined {
  if (!(error instanceof ProviderError) || error.retryable || signal.aborted) return undefined;
  if (error.type === 'WorkspaceLost') return undefined;
  const { message } = error;
  return `${/[.!?]$/.test(message) ? message : `${message}.`} ${failures[error.type].sentence}`;
}

export function lastLines(tail: string): string {
  return tail.trimEnd().split('\n').slice(-detailLines).join('\n').slice(-detailChars);
}
