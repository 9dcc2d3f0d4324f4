import type { Client } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
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
}

/**
 * Replays every open workflow of the queue against the bundle, before this build takes the queue.
 *
 * Without it a build that cannot go on with what is open would be noticed one stuck deployment at a time.
 *
 * @param bundle - path of the workflow bundle.
 */
export async function verifyOpenWorkflows(client: Client, bundle: string): Promise<VerifyReport> {
  const open = client.workflow.list({ query: `ExecutionStatus = "Running" AND TaskQueue = "${workflowTaskQueue}"` });
  const results = Worker.runReplayHistories(
    { workflowBundle: { codePath: bundle }, replayName: 'verify' },
    open.intoHistories({ concurrency: 4 }),
  );
  const problems: ReplayProblem[] = [];
  let replayed = 0;
  for await (const result of results) {
    replayed += 1;
    if (result.error === undefined) continue;
    problems.push({ workflowId: result.workflowId, runId: result.runId, message: result.error.message });
  }
  return { replayed, problems };
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
