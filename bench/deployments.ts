import { request } from 'undici';
import type { DeploymentRef, DeploymentResult } from '../src/domain/deployment.ts';
import { deploymentId } from '../src/workflows/messages.ts';
import { until } from '../tests/support/until.ts';
import { expectRight } from './bench.ts';
import type { Installation } from './installation.ts';

/** Waits for the end of a deployment, as its workflow tells it. */
export async function deploymentEnded(
  { temporal }: Pick<Installation, 'temporal'>,
  ref: DeploymentRef,
): Promise<DeploymentResult> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return (await temporal.workflow.getHandle(deploymentId(ref)).result()) as DeploymentResult;
    } catch (error) {
      const name = error instanceof Error ? error.name : '';
      if (name !== 'WorkflowNotFoundError' || performance.now() > deadline) throw error;
    }
  }
}

/** As {@link deploymentEnded}, and it must have gone well. */
export async function deploymentSucceeded(
  installation: Pick<Installation, 'temporal'>,
  ref: DeploymentRef,
): Promise<DeploymentResult> {
  const result = await deploymentEnded(installation, ref);
  expectRight(result.outcome === 'succeeded', `${deploymentId(ref)} ended ${result.outcome}: ${result.reason}`);
  return result;
}

/** Waits for the end of anything that has a number of the environment's series, rollbacks too, as the API tells it. */
export async function turnEnded(
  { client }: Pick<Installation, 'client'>,
  ref: DeploymentRef,
): Promise<DeploymentResult> {
  return until(async () => (await client.readDeployment(ref)).result, {
    timeoutMs: 300_000,
    everyMs: 100,
    what: `the end of ${ref.environment} #${ref.number}`,
  });
}

/** Version that answers at an address, asked over a connection of its own. */
export async function versionAt(url: string): Promise<string | undefined> {
  const { headers, body } = await request(url, { reset: true });
  await body.dump();
  const version = headers['x-version'];
  return Array.isArray(version) ? version[0] : version;
}
