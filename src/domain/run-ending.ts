import { counted } from './counted.ts';
import type { FailureType } from './failure-kinds.ts';
import { failureType } from './failures.ts';
import type { RunOutcome } from './outcome.ts';
import type { PublishedPackage } from './packages.ts';
import type { ImageReport, RunPlan, StageReport } from './run.ts';

/** How a run ended, or is to end. */
export interface RunEnding {
  readonly outcome: RunOutcome;
  /** A sentence. */
  readonly reason: string;
}

/** Failures of what was pushed; every other is one of what is around it. */
const brokenInput: readonly FailureType[] = [
  'DefinitionInvalid',
  'InvalidInput',
  'EnvironmentFileInvalid',
  'CommitNotFound',
  'BuildFailed',
  'ImageVulnerable',
  'GateBlocked',
  'TagTaken',
  'PackageRefused',
  'PackageTaken',
  'StepFailed',
  'StepTimedOut',
  'StepStalled',
];

/** Whether a failure says that what was pushed is bad (`failed`), or that something around it is (`errored`). */
export function outcomeOfFailure(error: unknown): 'failed' | 'errored' {
  return brokenInput.includes(failureType(error)) ? 'failed' : 'errored';
}

/** What a run that succeeded has done, in a line. */
export function succeededReason(
  plan: Pick<RunPlan, 'skipped' | 'environments' | 'stages'>,
  stages: readonly Pick<StageReport, 'skipped'>[],
  images: readonly Pick<ImageReport, 'name'>[],
  packages: readonly Pick<PublishedPackage, 'name'>[],
): string {
  if (plan.skipped !== undefined) return `Nothing was run: ${plan.skipped}`;
  const where = plan.environments.length === 0 ? '' : `, goes to ${plan.environments.join(', ')}`;
  const skipped = stages.filter((stage) => stage.skipped === true).length;
  const ran = `${counted(plan.stages.length - skipped, 'stage')} passed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
  const made = [
    ...(images.length === 0 ? [] : [`, ${counted(images.length, 'image')}`]),
    ...(packages.length === 0 ? [] : [`, ${counted(packages.length, 'file')} published`]),
  ].join('');
  return `${ran}${made}${where}.`;
}
