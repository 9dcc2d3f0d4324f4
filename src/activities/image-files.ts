import { join } from 'node:path';
import type { RunPlan, RunRef } from '../domain/run.ts';
import { foldersOf } from './workspaces.ts';

/** Files of one image's evidence in the workspace, between building and pushing. */
export interface EvidenceFiles {
  readonly folder: string;
  readonly spdx: string;
  readonly cyclonedx: string;
  readonly scan: string;
}

/** @param platform - one of several of the image; default: the image as a whole. */
export function evidenceFiles(plan: Pick<RunPlan, 'workspace'>, image: string, platform?: string): EvidenceFiles {
  const whole = join(foldersOf(plan.workspace).evidence, image);
  const folder = platform === undefined ? whole : join(whole, slugOf(platform));
  return {
    folder,
    spdx: join(folder, 'sbom.spdx.json'),
    cyclonedx: join(folder, 'sbom.cdx.json'),
    scan: join(folder, 'scan.json'),
  };
}

function slugOf(platform: string): string {
  return platform.replaceAll('/', '-');
}

/** Where the same is kept once the workspace is gone; of one platform as `linux-arm64.sbom.spdx.json`. */
export function evidenceKey(
  run: Pick<RunRef, 'project' | 'number'>,
  image: string,
  file: string,
  platform?: string,
): string {
  const of = platform === undefined ? '' : `${slugOf(platform)}.`;
  return `evidence/${run.project}/${run.number}/${image}/${of}${file}`;
}
