import { readFile } from 'node:fs/promises';
import { type GatedReport, type StageEvidence, blockedBy, lineOf } from '../domain/evidence.ts';
import { ProviderError } from '../domain/failures.ts';
import type { GateName, GatePolicy } from '../domain/gate.ts';
import { type GateVerdict, judgeGate } from '../domain/gate-verdict.ts';
import { type ImageLayers, imageFactsOf } from '../domain/image-layers.ts';
import type { ImageScan } from '../domain/image-scan.ts';
import { isRoot } from '../domain/image-user.ts';
import { asksForImageLicences } from '../domain/licence.ts';
import type { ReportKind } from '../domain/report.ts';
import type { ImageReport, RunRef } from '../domain/run.ts';
import { createFindings } from '../providers/reports/findings.ts';
import { evidenceFiles } from './image-files.ts';
import { asksForLicencesOfImages, readImageLicences } from './image-licences.ts';
import type { ImageWork } from './image-work.ts';

/** Under this the evidence of a run's images stands beside that of its stages, none of which can have the name. */
export const imagesStage = 'scan images';

/** Blob of it. */
export function imagesEvidenceKey(run: Pick<RunRef, 'project' | 'number'>): string {
  return `reports/${run.project}/${run.number}/scan.images.json`;
}

/**
 * Security gate 3, what the scan and the layers of all images of a run mean, and gate 2 as far as the licences of what is in them go. Kept whole beside
 * the evidence of the stages, so that every plan judges it again by what its environment asks.
 *
 * @param images - examined; in each the verdict of its scan.
 * @returns them with the verdicts of the gates; as they were where nothing scans and nobody asks for licences, or the gates are off.
 * @throws `BlobsUnavailable` (retried), `DiskFull`: the evidence must be there before anybody acts on it
 * @throws `GateBlocked`, or `GateErrored` where nothing bad was found (not retried): a gate blocks, and nothing is pushed
 */
export async function judgeImages(work: ImageWork, images: readonly ImageReport[]): Promise<readonly ImageReport[]> {
  const { deps, known, run, plan } = work;
  const { scan } = known.pipeline.supplyChain;
  if (images.length === 0) return images;
  const policyOf = (name: GateName): GatePolicy | undefined => known.pipeline.gates?.find(({ gate }) => gate === name);
  const container = scan === undefined ? undefined : policyOf('container');
  const asksForLicences = plan.buildImages !== 'validate' && asksForLicencesOfImages(known);
  const reports = [
    ...(scan === undefined || container === undefined
      ? []
      : await Promise.all(images.map((image) => reportOf(work, image, scan.scanner)))),
    ...(asksForLicences ? await readImageLicences(work, images) : []),
  ];
  if (reports.length === 0) return images;
  const ofContainer = await judge(work, container, reports);
  const ofLicences = await judge(work, policyOf('dependencies'), reports);
  const verdicts = [ofContainer, ofLicences].filter((verdict) => verdict !== undefined);
  const evidence: StageEvidence = { reports, gates: verdicts, pages: [], lost: [] };
  await deps.supplyChain.blobs.put(imagesEvidenceKey(run), Buffer.from(JSON.stringify(evidence)));
  const blocked = blockedBy(verdicts.map(lineOf));
  if (blocked !== undefined) {
    const blocking = verdicts.filter(({ blocks }) => blocks);
    throw new ProviderError(blocked.verdict === 'failed' ? 'GateBlocked' : 'GateErrored', blocked.detail, {
      details: {
        gates: blocking.map(({ gate }) => gate),
        lastLines: blocking.flatMap(({ findings }) =>
          findings.map(({ severity, rule, message }) => `${severity} ${rule}: ${message}`),
        ),
      },
    });
  }
  return images.map((image) => ({
    ...image,
    ...(image.evidence === undefined
      ? {}
      : {
          evidence: {
            ...image.evidence,
            ...(ofContainer === undefined ? {} : { gate: lineOf(ofContainer) }),
            ...(ofLicences === undefined ? {} : { licences: lineOf(ofLicences) }),
          },
        }),
  }));
}

/** By the reports that images are for a gate; what other kinds a document asks for, stages answer. */
async function judge(
  work: ImageWork,
  policy: GatePolicy | undefined,
  all: readonly GatedReport[],
): Promise<GateVerdict | undefined> {
  const reports = all.filter(({ gate }) => gate === policy?.gate);
  // Licences may be kept for an environment alone.
  if (policy === undefined || reports.length === 0) return undefined;
  if (policy.gate === 'dependencies' && !asksForImageLicences(policy.licences)) return undefined;
  const baseline = await baselineFor(work, policy);
  return judgeGate({
    policy: { ...policy, reports: [] },
    reports,
    at: new Date().toISOString(),
    ...(baseline === undefined ? {} : { baseline }),
  });
}

/** The scan of one image as any other report: what its tool is, what was looked at, and everything it found. */
async function reportOf(work: ImageWork, image: ImageReport, kind: ReportKind): Promise<GatedReport> {
  const { plan } = work;
  const base = { kind, path: image.name, gate: 'container' } as const;
  const errored = (reason: string): GatedReport => ({
    ...base,
    state: 'errored',
    problem: {
      reason,
      place: `image ${image.name}`,
      remedy: 'Correct what the scan names; a scanner that said nothing is never a pass.',
    },
  });
  const judged = image.evidence?.scan;
  if (judged === undefined || judged.scanner === undefined) {
    return errored(`was not looked into: ${judged?.reason ?? 'it was not scanned'}`);
  }
  if (judged.verdict === 'inconclusive' || judged.verdict === 'errored') return errored(judged.reason);
  const scan = JSON.parse(await readFile(evidenceFiles(plan, image.name).scan, 'utf8')) as ImageScan;
  const layers = await readWorstLayers(work, image);
  if (layers === undefined) return errored('is not on this worker any more, so that its layers cannot be read');
  const findings = createFindings(scan.scanner.name);
  for (const { id, aliases, severity, package: name, version, fixedIn } of scan.vulnerabilities) {
    const cure = fixedIn.length === 0 ? 'no version without it' : `gone in ${fixedIn.join(', ')}`;
    findings.add({
      rule: id,
      severity,
      message: `${id} in ${name} ${version}; ${cure}.`,
      file: image.name,
      component: { name, version, fixedIn },
      ...(aliases.length === 0 ? {} : { aliases }),
      identity: id,
    });
  }
  const { name, version } = scan.scanner;
  return {
    ...base,
    state: 'read',
    tool: { name, version, databaseAt: scan.databaseAt },
    lookedAt: `${scan.packages} packages and ${layers.count} layers of ${image.name} (${image.digest.slice(0, 19)})`,
    ...findings.done(),
    image: imageFactsOf(image.name, layers, Object.keys(image.evidence?.bases ?? {}).length > 0),
  };
}

/** Of several platforms the one that runs as root, if there is one: no gate is passed by the others. */
async function readWorstLayers(
  { builder }: ImageWork,
  { repository, digest, evidence }: ImageReport,
): Promise<ImageLayers | undefined> {
  const platforms = evidence?.platforms?.map(({ platform }) => platform) ?? [undefined];
  // By its id on this engine, or, where equal inputs gave it elsewhere, by that of the registry.
  const found = await Promise.all(
    platforms.map(
      async (platform) =>
        (await builder.readLayers(digest, platform)) ?? (await builder.readLayers(`${repository}@${digest}`, platform)),
    ),
  );
  if (found.includes(undefined)) return undefined;
  return found.find((layers) => layers !== undefined && isRoot(layers.user)) ?? found[0];
}

async function baselineFor(
  { deps, run }: ImageWork,
  { baseline }: GatePolicy,
): Promise<ReadonlySet<string> | 'unreadable' | undefined> {
  if (baseline !== 'last-release') return undefined;
  return await deps.reports.readBaseline(run).catch(() => 'unreadable' as const);
}
