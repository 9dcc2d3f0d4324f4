import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { startChild } from '@temporalio/workflow';
import type { DeploymentInput, DeploymentResult } from '../../domain/deployment.ts';
import { brief } from '../call.ts';
import { deploymentId } from '../messages.ts';
import { attributesOf } from '../progress.ts';

/**
 * Starts a deployment of a run. Its own from here on: nobody waits, and a second call finds it running.
 *
 * @param workflow - `deployRelease`; handed in, for stages know no workflow.
 */
export async function startDeployment(
  workflow: (input: DeploymentInput) => Promise<DeploymentResult>,
  deployment: DeploymentInput,
): Promise<void> {
  const { project, environment, version, number } = deployment;
  try {
    await startChild(workflow, {
      workflowId: deploymentId(deployment),
      args: [deployment],
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      parentClosePolicy: 'ABANDON',
      cancellationType: 'ABANDON',
      staticSummary: brief(`${version} → ${environment} #${number}`),
      typedSearchAttributes: attributesOf({ project, environment, phase: 'planning', version }),
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}
