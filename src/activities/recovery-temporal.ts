import { type Client, type WorkflowExecutionInfo, WorkflowNotFoundError } from '@temporalio/client';
import { defaultPayloadConverter, defineSearchAttributeKey } from '@temporalio/common';
import pLimit from 'p-limit';
import type { DeploymentInput, DeploymentResult } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import { outcomes } from '../domain/outcome.ts';
import type { EnvironmentWord, FoundDeployment } from '../domain/recovery.ts';
import {
  type EnvironmentView,
  deploymentId,
  deploymentQuery,
  environmentId,
  environmentQuery,
  owedQuery,
  rollbackId,
} from '../workflows/messages.ts';

/** What Temporal remembers of an environment. */
export interface TemporalSight {
  readonly found: readonly FoundDeployment[];
  readonly word: EnvironmentWord | undefined;
  /** Workflow that has the turn. */
  readonly busy: string | undefined;
  /** Highest number of a run that a version was named after. */
  readonly seenRun: number;
}

/**
 * Asks Temporal for everything that it still has of an environment.
 *
 * @throws `TemporalUnavailable` (retried): it does not answer, or the environment's workflow, which is open, does not.
 */
export type RecoveryMemory = (project: string, environment: string, signal: AbortSignal) => Promise<TemporalSight>;

/** Of one question, ms; a query waits for a worker. */
const askMs = 5_000;
/** Of a list, ms. */
const listMs = 30_000;
/** Newest deployments that are looked at; as many as the store looks back for what was live before. */
const mostDeployments = 200;
/** Newest runs whose versions are looked at. */
const mostRuns = 1_000;
const atOnce = 10;
/** By which workflows say the version that they are about. */
const versionAttribute = defineSearchAttributeKey('SlipwayVersion', 'KEYWORD');

export function createRecoveryMemory(temporal: Client): RecoveryMemory {
  const asking = <T>(work: () => Promise<T>): Promise<T> => temporal.withDeadline(Date.now() + askMs, work);

  async function list(query: string, most: number): Promise<readonly WorkflowExecutionInfo[]> {
    return await temporal.withDeadline(Date.now() + listMs, async () => {
      const found: WorkflowExecutionInfo[] = [];
      for await (const one of temporal.workflow.list({ query, pageSize: Math.min(most, 1_000) })) {
        found.push(one);
        if (found.length >= most) break;
      }
      return found;
    });
  }

  /** The input of a workflow is in its first event; its history may be long. */
  async function inputOf({ workflowId, runId }: WorkflowExecutionInfo): Promise<unknown> {
    const { history } = await asking(() =>
      temporal.connection.workflowService.getWorkflowExecutionHistory({
        namespace: temporal.options.namespace,
        execution: { workflowId, runId },
        maximumPageSize: 1,
      }),
    );
    const [payload] = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads ?? [];
    if (payload === undefined) return undefined;
    const [decoded = payload] = await decodeAll(payload);
    return defaultPayloadConverter.fromPayload(decoded);
  }

  type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];

  async function decodeAll(payload: Payload): Promise<readonly Payload[]> {
    let payloads = [payload];
    for (const codec of temporal.options.loadedDataConverter.payloadCodecs) payloads = await codec.decode(payloads);
    return payloads;
  }

  async function read(info: WorkflowExecutionInfo): Promise<FoundDeployment | undefined> {
    const kind = info.type === 'rollbackRelease' ? 'rollback' : 'rollout';
    const given = await inputOf(info);
    const input = deploymentIn(given);
    if (input === undefined) return undefined;
    const id = kind === 'rollback' ? rollbackId(input) : deploymentId(input);
    // Another run of the same id, or somebody else's.
    if (id !== info.workflowId) return undefined;
    const row = { kind, input, startedAt: info.startTime.toISOString() } as const;
    const handle = temporal.workflow.getHandle(info.workflowId, info.runId, { followRuns: false });
    if (info.status.name === 'RUNNING') {
      if (kind === 'rollback') return { ...row, open: { phase: 'rolling-back' } };
      const view = await asking(() => handle.query(deploymentQuery)).catch(() => undefined);
      const plan = view?.plan === undefined ? {} : { plan: view.plan };
      return { ...row, open: { phase: view?.phase ?? 'planning', ...plan } };
    }
    if (info.status.name !== 'COMPLETED') return row;
    const result = resultIn(await asking(() => handle.result() as Promise<unknown>), input);
    const at = (info.closeTime ?? info.startTime).toISOString();
    return result === undefined ? row : { ...row, ended: { result, at } };
  }

  async function ask(project: string, environment: string): Promise<Pick<TemporalSight, 'word' | 'busy'>> {
    const handle = temporal.workflow.getHandle(environmentId(project, environment));
    const described = await asking(() => handle.describe()).catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    });
    if (described?.status.name !== 'RUNNING') return { word: undefined, busy: undefined };
    const [view, numbers] = await Promise.all([
      asking(() => handle.query(environmentQuery)),
      asking(() => handle.query(owedQuery)),
    ]);
    return { word: wordOf(view, numbers), busy: busyOf(view) };
  }

  return async (project, environment, signal) => {
    try {
      const where = `SlipwayProject = ${quoted(project)}`;
      const [told, listed, runs] = await Promise.all([
        ask(project, environment),
        list(
          `${where} AND SlipwayEnvironment = ${quoted(environment)} AND WorkflowType IN ("deployRelease", "rollbackRelease")`,
          mostDeployments,
        ),
        list(`${where} AND WorkflowType = "runPipeline"`, mostRuns),
      ]);
      const limit = pLimit(atOnce);
      const found = await Promise.all(
        listed.map((info) =>
          limit(async () => {
            signal.throwIfAborted();
            return await read(info);
          }),
        ),
      );
      const versions = runs.map(({ typedSearchAttributes }) => typedSearchAttributes.get(versionAttribute) ?? '');
      return {
        ...told,
        found: found.filter((one) => one !== undefined).sort((one, other) => one.input.number - other.input.number),
        seenRun: Math.max(0, ...versions.map((version) => Number(/^(\d{1,9})-/.exec(version)?.[1] ?? 0))),
      };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ProviderError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new ProviderError('TemporalUnavailable', `Temporal could not say what it remembers: ${message}`, {
        cause: error,
      });
    }
  };
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}

function wordOf(view: EnvironmentView, numbers: readonly number[]): EnvironmentWord {
  const { live, previous, hold } = view;
  // Frozen is no hold: nothing has gone wrong, and its workflow knows until when.
  const held = hold === null || hold.state === 'frozen' ? null : { reason: hold.reason, since: hold.since };
  return { live, previous, hold: held, numbers };
}

function busyOf({ project, environment, current }: EnvironmentView): string | undefined {
  return current === null ? undefined : `${current.kind} ${project}/${environment}/${current.number}`;
}

/** `deployRelease` is given a deployment, `rollbackRelease` one within its order. */
function deploymentIn(given: unknown): DeploymentInput | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  const input = ('deployment' in given ? given.deployment : given) as Partial<DeploymentInput> | null;
  if (typeof input?.number !== 'number' || typeof input.project !== 'string' || typeof input.version !== 'string') {
    return undefined;
  }
  return input as DeploymentInput;
}

/** The result of a deployment, as `deployRelease` returns it or as a turn reports it. */
function resultIn(value: unknown, { project, environment, number }: DeploymentInput): DeploymentResult | undefined {
  const inner = typeof value === 'object' && value !== null && 'result' in value ? value.result : value;
  if (typeof inner !== 'object' || inner === null) return undefined;
  const result = inner as DeploymentResult;
  if (result.number !== number || !outcomes.includes(result.outcome) || !Array.isArray(result.steps)) return undefined;
  return { ...result, project, environment, number };
}
