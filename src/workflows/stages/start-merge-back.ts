import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { startChild } from '@temporalio/workflow';
import type { ForgeActivities } from '../../activities/contracts.ts';
import { brief } from '../call.ts';
import { mergeBackId } from '../messages.ts';
import { attributesOf } from '../progress.ts';

/** Input of `bringHotfixBack`. */
export type HotfixLive = Parameters<ForgeActivities['mergeBack']>[0];

/**
 * Starts what brings a hotfix back. Its own from here on: nobody waits, and a second call finds it running.
 *
 * @param workflow - `bringHotfixBack`; handed in, for stages know no workflow.
 */
export async function startMergeBack(
  workflow: (input: HotfixLive) => Promise<{ readonly broughtBack: boolean }>,
  live: HotfixLive,
): Promise<void> {
  const { project, environment, number } = live.deployment;
  try {
    await startChild(workflow, {
      workflowId: mergeBackId(live.deployment),
      args: [live],
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      parentClosePolicy: 'ABANDON',
      cancellationType: 'ABANDON',
      staticSummary: brief(`${live.version} ← ${environment} #${number}`),
      typedSearchAttributes: attributesOf({ project, environment, phase: 'merge-back', version: live.version }),
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}
