import { createReadStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { type ScanMode, type ScanVerdict, erroredScan, judgeScan, stopsPush } from '../domain/image-scan.ts';
import type { ImageEvidence, ImageReport, RunPlan, RunRef } from '../domain/run.ts';
import type { ScanSpec } from '../definition/specs.ts';
import type { Sbom } from '../providers/sboms/port.ts';
import { type ImageEnd, type ImageWork, progressOf } from './image-work.ts';
import type { LogWriter } from './logs.ts';
import { foldersOf } from './workspaces.ts';

/** Files of one image's evidence in the workspace, between building and pushing. */
export interface EvidenceFiles {
  readonly folder: string;
  readonly spdx: string;
  readonly cyclonedx: string;
  readonly scan: string;
}

export function evidenceFiles(plan: Pick<RunPlan, 'workspace'>, image: string): EvidenceFiles {
  const folder = join(foldersOf(plan.workspace).evidence, image);
  return {
    folder,
    spdx: join(folder, 'sbom.spdx.json'),
    cyclonedx: join(folder, 'sbom.cdx.json'),
    scan: join(folder, 'scan.json'),
  };
}

/** Where the same is kept once the workspace is gone. */
export function evidenceKey(run: Pick<RunRef, 'project' | 'number'>, image: string, file: string): string {
  return `evidence/${run.project}/${run.number}/${image}/${file}`;
}

/**
 * Lists what is in an image and looks that up, before anything of it leaves this machine. Where the scanner cannot say anything the verdict is
 * errored; what that costs is for the environments to say.
 *
 * @throws `ScanErrored`, `ToolMissing` (not retried): no list could be made, and the project only wants the list.
 */
export async function examineImage(work: ImageWork, image: ImageReport, log: LogWriter): Promise<ImageEnd> {
  const { scan: spec } = work.known.pipeline.supplyChain;
  if (spec === undefined) {
    const { packages } = await listPackages(work, image, log);
    return withEvidence(image, { packages });
  }
  const { packages, scan } = await scanImage(work, image, spec, log);
  for (const line of [scan.reason, ...scan.lines, ...scan.excepted.map((line) => `excepted: ${line}`)]) log.say(line);
  return {
    ...withEvidence(image, { ...(packages === undefined ? {} : { packages }), scan }),
    verdict: scan.verdict,
    detail: scan.reason,
  };
}

/**
 * @throws `ImageVulnerable`, `ScanErrored` (not retried): no environment of the run could take its images.
 */
export function stopVulnerable(work: ImageWork, images: readonly ImageReport[]): void {
  const { scan: spec } = work.known.pipeline.supplyChain;
  if (spec === undefined) return;
  const verdicts = images.flatMap(({ evidence }) => evidence?.scan ?? []);
  if (!stopsPush(modesOf(spec, work.plan), verdicts)) return;
  const bad = images.filter(({ evidence }) => evidence?.scan !== undefined && evidence.scan.verdict !== 'passed');
  const failed = bad.some(({ evidence }) => evidence?.scan?.verdict === 'failed');
  throw new ProviderError(
    failed ? 'ImageVulnerable' : 'ScanErrored',
    bad.map(({ name, evidence }) => `${name}: ${evidence?.scan?.reason ?? ''}`).join('\n'),
    {
      details: {
        images: bad.map(({ name }) => name),
        lastLines: bad.flatMap(({ evidence }) => evidence?.scan?.lines ?? []),
      },
    },
  );
}

function modesOf(spec: ScanSpec, { environments }: RunPlan): readonly ScanMode[] {
  return environments.length === 0 ? [spec.mode] : environments.map((name) => spec.modes[name] ?? spec.mode);
}

async function scanImage(
  work: ImageWork,
  image: ImageReport,
  spec: ScanSpec,
  log: LogWriter,
): Promise<{ readonly packages?: number; readonly scan: ScanVerdict }> {
  const { deps, plan, run, signal } = work;
  const now = new Date();
  let packages: number | undefined;
  try {
    const sbom = await listPackages(work, image, log);
    packages = sbom.packages;
    const scanner = deps.supplyChain.scanners[spec.scanner];
    const { database, maxAgeMs } = spec;
    const found = await scanner.scan({ name: image.name, sbom, database, maxAgeMs, now, signal });
    const text = JSON.stringify(found);
    const { scan } = evidenceFiles(plan, image.name);
    await writeFile(scan, text);
    await deps.supplyChain.blobs.put(evidenceKey(run, image.name, 'scan.json'), Buffer.from(text));
    return { packages, scan: judgeScan(found, spec) };
  } catch (error) {
    if (signal.aborted) throw error;
    // Whatever went wrong, the image was not looked at. That is no pass, and no reason to do the whole build again.
    const { message } = describeFailure(error);
    return { ...(packages === undefined ? {} : { packages }), scan: erroredScan(message, now.toISOString()) };
  }
}

async function listPackages(work: ImageWork, image: ImageReport, log: LogWriter): Promise<Sbom> {
  const { deps, run, plan, signal, moved, registry } = work;
  const files = evidenceFiles(plan, image.name);
  await mkdir(files.folder, { recursive: true });
  const progress = progressOf(work, log);
  let local = await deps.builder.inspect(image.digest);
  if (local === undefined) {
    // Equal inputs gave it on another worker.
    const reference = `${image.repository}@${image.digest}`;
    await deps.builder.resolve([reference], { ...progress, credentials: registry.credentials });
    local = await deps.builder.inspect(reference);
  }
  if (local === undefined) {
    throw new ProviderError('ScanErrored', `${image.name} (${image.digest}) is not on this worker to be looked into`);
  }
  const archive = join(files.folder, 'image.tar');
  try {
    await deps.builder.save(local.id, archive, progress);
    moved();
    const sbom = await deps.supplyChain.sboms.make({
      archive,
      name: image.repository,
      version: plan.version,
      folder: files.folder,
      signal,
    });
    log.say(`${sbom.packages} packages, listed by ${sbom.tool.name} ${sbom.tool.version}`);
    for (const file of [sbom.spdx, sbom.cyclonedx]) {
      const name = file.slice(files.folder.length + 1);
      await deps.supplyChain.blobs.put(evidenceKey(run, image.name, name), createReadStream(file), { signal });
    }
    return sbom;
  } finally {
    await rm(archive, { force: true });
  }
}

function withEvidence(image: ImageReport, more: Partial<ImageEvidence>): ImageEnd {
  const { evidence = { buildKey: '', bases: {}, warnings: [] } } = image;
  return { image: { ...image, evidence: { ...evidence, ...more } } };
}
