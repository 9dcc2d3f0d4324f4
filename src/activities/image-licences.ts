import { resolveEnvironmentGates } from '../definition/gates.ts';
import type { PipelineSpec } from '../definition/specs/pipeline.ts';
import { counted } from '../domain/counted.ts';
import type { GatedReport } from '../domain/evidence.ts';
import type { GateName, GatePolicy } from '../domain/gate.ts';
import { asksForImageLicences } from '../domain/licence.ts';
import type { LicensedPackage, Report, ReportTool } from '../domain/report.ts';
import type { ImageReport, RunPlan } from '../domain/run.ts';
import { readReport } from '../providers/reports/file.ts';
import { createFindings } from '../providers/reports/findings.ts';
import { evidenceFiles } from './image-files.ts';
import type { ImageWork } from './image-work.ts';
import type { RunPipeline } from './pipelines.ts';

/** Gates of a run that its images answer for, whatever its stages show: they are judged before the push. */
export function gatesOfImages(
  { images, supplyChain, gates = [] }: Pick<PipelineSpec, 'images' | 'supplyChain' | 'gates'>,
  { buildImages }: Pick<RunPlan, 'buildImages'>,
): readonly GateName[] {
  const licences = gates.find(({ gate }) => gate === 'dependencies');
  // What is thrown away is in nobody's hands, and need not be listed.
  const kept = images.length > 0 && (buildImages === 'build' || buildImages === 'push');
  return [
    ...(supplyChain.scan === undefined ? [] : ['container' as const]),
    ...(kept && licences !== undefined && isAsked(licences) ? ['dependencies' as const] : []),
  ];
}

/** Whether the images of a run are listed for their licences: it is asked by the run, or by an environment that may come to take them. */
export function asksForLicencesOfImages({ pipeline, pair }: RunPipeline): boolean {
  const ofRun = pipeline.gates?.find(({ gate }) => gate === 'dependencies');
  const environments = Object.keys(pair.project.environments).flatMap((name) => resolveEnvironmentGates(pair, name));
  return [ofRun, ...environments].some((policy) => policy?.gate === 'dependencies' && isAsked(policy));
}

function isAsked({ mode, licences }: GatePolicy): boolean {
  return mode !== 'off' && asksForImageLicences(licences);
}

/** The bill of materials of each image as a report on its licences; of several platforms all that any of them has. */
export async function readImageLicences(
  work: ImageWork,
  images: readonly ImageReport[],
): Promise<readonly GatedReport[]> {
  const reports: GatedReport[] = [];
  // One after the other: a list may be large.
  for (const image of images) reports.push({ ...(await reportOf(work, image)), gate: 'dependencies' });
  return reports;
}

async function reportOf({ plan, signal }: ImageWork, { name, evidence }: ImageReport): Promise<Report> {
  const base = { kind: 'spdx', path: name } as const;
  const problem = (reason: string): Report => ({
    ...{ ...base, state: 'errored' },
    problem: {
      reason,
      place: `image ${name}`,
      remedy:
        'Nothing is known of its licences; correct that, or say `gates.dependencies.licences.images: off` in project.yaml.',
    },
  });
  if (evidence?.unlisted !== undefined) return problem(`has no bill of materials: ${evidence.unlisted}`);
  const packages = new Map<string, LicensedPackage>();
  let tool: ReportTool | undefined;
  for (const platform of evidence?.platforms?.map((each) => each.platform) ?? [undefined]) {
    const { folder } = evidenceFiles(plan, name, platform);
    const read = await readReport({ root: folder }, { kind: 'spdx', path: 'sbom.spdx.json', base: '' }, signal);
    const of = platform === undefined ? '' : ` for ${platform}`;
    if (read.state === 'errored') return problem(`has a bill of materials${of} that ${read.problem.reason}`);
    tool = read.tool;
    for (const one of read.packages ?? []) packages.set(JSON.stringify([one.name, one.version, one.licence]), one);
  }
  return {
    ...base,
    state: 'read',
    tool: tool ?? { name: 'SPDX' },
    lookedAt: `${counted(packages.size, 'package')} of ${name}`,
    ...createFindings('spdx').done(),
    packages: [...packages.values()],
    contentOf: name,
  };
}
