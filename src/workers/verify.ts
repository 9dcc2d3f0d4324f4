import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { type ReplayHistoriesIterable, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { runTool } from '../effects/process.ts';
import { workflowTaskQueue } from '../workflows/queues.ts';

/** One open workflow that the new code cannot go on with. */
export interface ReplayProblem {
  readonly workflowId: string;
  readonly runId: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly replayed: number;
  readonly problems: readonly ReplayProblem[];
  /** Whether every open workflow was looked at; when not, a limit was met first. */
  readonly complete: boolean;
}

export interface VerifyLimits {
  /** Longest time that new histories are begun, ms. */
  readonly budgetMs: number;
  /** Histories that are replayed at most. */
  readonly workflows: number;
}

/** `slipway up` waits 60 s for a worker, of which making the bundle takes some; the number is judgement. */
const startLimits: VerifyLimits = { budgetMs: 30_000, workflows: 5_000 };
/** By hand nobody waits for the queue. Judgement. */
export const handLimits: VerifyLimits = { budgetMs: 600_000, workflows: 100_000 };
/** A build is refused for one; more than these tell nothing new. */
const enoughProblems = 20;
const atOnce = 4;
/** Of one question to Temporal, ms. */
const askMs = 10_000;
/** What the process needs around its budget: its start, the bundle, the last question, ms. */
const aroundMs = 20_000;

const openWorkflows = `ExecutionStatus = "Running" AND TaskQueue = "${workflowTaskQueue}"`;

type Replayable = ReplayHistoriesIterable extends AsyncIterable<infer One> | Iterable<infer One> ? One : never;

/**
 * Replays the open workflows of the queue against the bundle, before this build takes the queue.
 *
 * Without it a build that cannot go on with what is open would be noticed one stuck deployment at a time. One that fails is replayed a second
 * time before it counts, for a busy machine must not be taken for changed code.
 *
 * @param bundle - path of the workflow bundle.
 * @throws ProviderError `TemporalUnavailable` (retried) - it could not be asked, so nothing is known.
 */
export async function verifyOpenWorkflows(
  client: Client,
  bundle: string,
  limits: VerifyLimits = handLimits,
): Promise<VerifyReport> {
  const until = performance.now() + limits.budgetMs;
  const underWay = new Map<string, Replayable>();
  const problems: ReplayProblem[] = [];
  let replayed = 0;
  let complete = true;
  let unanswered: ProviderError | undefined;

  async function* histories(): AsyncGenerator<Replayable> {
    try {
      for await (const one of openHistories(client)) {
        if (
          performance.now() > until ||
          replayed + underWay.size >= limits.workflows ||
          problems.length >= enoughProblems
        ) {
          complete = false;
          return;
        }
        underWay.set(one.workflowId, one);
        yield one;
      }
    } catch (error) {
      // What the SDK does with an error of what it reads from is not said; the caller is told below.
      unanswered = unavailable(describeFailure(error).message, error);
    }
  }

  const options = { workflowBundle: { codePath: bundle }, replayName: 'verify' };
  for await (const result of Worker.runReplayHistories(options, histories())) {
    replayed += 1;
    const given = underWay.get(result.workflowId);
    underWay.delete(result.workflowId);
    if (result.error === undefined || given === undefined) continue;
    const again = await Worker.runReplayHistory(options, given.history, given.workflowId).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (again === undefined) continue;
    problems.push({ workflowId: result.workflowId, runId: result.runId, message: describeFailure(again).message });
  }
  if (unanswered !== undefined) throw unanswered;
  return { replayed, problems, complete };
}

/** A few are fetched at once; one that is gone by then is open no more. */
async function* openHistories(client: Client): AsyncGenerator<Replayable> {
  let page: Promise<Replayable | undefined>[] = [];
  async function fetched(): Promise<Replayable[]> {
    const all = await Promise.all(page);
    page = [];
    return all.filter((one) => one !== undefined);
  }
  for await (const { workflowId, runId } of client.workflow.list({ query: openWorkflows })) {
    page.push(fetchHistory(client, workflowId, runId));
    if (page.length === atOnce) yield* await fetched();
  }
  yield* await fetched();
}

async function fetchHistory(client: Client, workflowId: string, runId: string): Promise<Replayable | undefined> {
  try {
    const history = await client.withDeadline(Date.now() + askMs, () =>
      client.workflow.getHandle(workflowId, runId).fetchHistory(),
    );
    return { workflowId, history };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

/** What to print when a build is refused: which workflows, why, and what can be done. */
export function renderProblems(report: VerifyReport): string {
  const lines = report.problems.map((problem) => `  ${problem.workflowId} (${problem.runId}): ${problem.message}`);
  return [
    `${String(report.problems.length)} of ${String(report.replayed)} open workflows cannot go on with this build:`,
    ...lines,
    'Keep the earlier build running until they have ended, or put the changed order behind `patched(…)` (CONTRIBUTING.md).',
  ].join('\n');
}

/** What to print when a build is accepted. */
export function renderAccepted({ replayed, complete }: VerifyReport): string {
  if (complete) return `All ${String(replayed)} open workflows can go on with this build.`;
  return `The ${String(replayed)} open workflows that were replayed can go on with this build; there are more.`;
}

export interface TakingQueue {
  readonly config: Config;
  readonly temporal: Client;
  /** Path of the workflow bundle. */
  readonly bundle: string;
  readonly logger: Logger;
}

/**
 * Lets this build take the queue, or refuses it: {@link verifyOpenWorkflows}, in a process of its own whose memory goes with it.
 *
 * The bundle that took the queue last is remembered in the state folder, and a restart with the same one replays nothing: what is open has gone
 * on with it since. A folder of its own on another machine knows nothing of that, so there every start replays.
 *
 * @throws ProviderError `BuildRefused` (not retried) - an open workflow cannot go on.
 * @throws ProviderError `TemporalUnavailable` (retried) - it could not be asked, so nothing is known.
 */
export async function verifyBeforeTaking({ config, temporal, bundle, logger }: TakingQueue): Promise<void> {
  const { address = '', namespace } = config.temporal;
  const memory = join(config.stateFolder, 'bundles', 'verified');
  const own = `${basename(bundle)} ${address} ${namespace}\n`;
  if (read(memory) === own) return;
  const { count } = await temporal
    .withDeadline(Date.now() + askMs, () => temporal.workflow.count(openWorkflows))
    .catch((error: unknown) => {
      throw unavailable(describeFailure(error).message, error);
    });
  if (count > 0) {
    const report = await verifyApart(config, bundle);
    if (report.problems.length > 0) throw new ProviderError('BuildRefused', renderProblems(report));
    if (report.complete) logger.info(renderAccepted(report));
    else logger.warn({ open: count }, renderAccepted(report));
  }
  writeFileSync(memory, own);
}

async function verifyApart(config: Config, bundle: string): Promise<VerifyReport> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  const main = fileURLToPath(new URL(`./verify-main${extension}`, import.meta.url));
  const { exitCode, stdout, stderr } = await runTool({
    command: [process.execPath, main, bundle, JSON.stringify(startLimits)],
    cwd: config.stateFolder,
    env: Object.fromEntries(
      Object.entries(config.environment).filter((one): one is [string, string] => one[1] !== undefined),
    ),
    timeoutMs: startLimits.budgetMs + aroundMs,
  });
  // The last line, for what the SDK warns of is printed there as well.
  const last = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (exitCode !== 0) throw unavailable(`${stderr.trim().slice(-2_000)} (exit code ${String(exitCode)})`);
  return JSON.parse(last) as VerifyReport;
}

function unavailable(why: string, cause?: unknown): ProviderError {
  const message = `The open workflows could not be replayed with this build: ${why}`;
  return new ProviderError('TemporalUnavailable', message, { cause });
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
