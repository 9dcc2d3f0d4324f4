import type { PushedRemoval } from '../activities/contracts.ts';
import { call } from './call.ts';
import { removingPushed } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/** Input of `reviewRegistry`. */
export interface RegistryReviewInput {
  readonly project: string;
}

/** Finds out what retention would remove from the registry of a project, and removes nothing. */
export async function reviewRegistry({ project }: RegistryReviewInput): Promise<PushedRemoval> {
  const found = await call(removingPushed.removePushedImages, `what of ${project} would go`, { project, dryRun: true });
  showPage(`registry of ${project}`, [`${found.count} images would go, ${found.sizeBytes} bytes`, ...found.names]);
  return found;
}
