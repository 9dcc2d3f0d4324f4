import { createReadStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import {
  type ImageScan,
  type ScanMode,
  type ScanVerdict,
  erroredScan,
  judgeScan,
  mergeScans,
  stopsPush,
  worstOf,
} from '../domain/image-scan.ts';
import type { ImageReport, RunPlan, RunRef } from '../domain/run.ts';
import type { ScanSpec } from '../definition/specs/supply-chain.ts';
import type { BuildProgress, LocalImage, SavedImage } from '../providers/builders/port.ts';
import type { Sbom } from '../providers/sboms/port.ts';
import { type ImageEnd, type ImageWork, forEach, progressOf } from './image-work.ts';
import type { LogWriter } from './logs.ts';
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

/**
 * Looks into the images of a run before anything of them leaves this machine, as far as the project asks for it and, where it says nothing, as far
 * as this worker can without more ado. What was not looked into says so.
 *
 * @throws `ScanErrored`, `ToolMissing`, `DiskFull` (not retried), `EngineUnavailable`, `BlobsUnavailable` (retried): an image has no list, and the
 *   project requires one
 */
export async function examineImages(work: ImageWork, images: readonly ImageReport[]): Promise<readonly ImageReport[]> {
  const { deps, known, plan } = work;
  const { sbom, scan } = known.pipeline.supplyChain;
  if (scan !== undefined || sbom === 'required') return await forEach(work, 'scan', images, examineImage);
  // What only had to be seen to build is thrown away, and with it whatever was in it.
  if (sbom === 'off' || plan.buildImages === 'validate') return images;
  const { sboms } = deps.supplyChain;
  if (sboms.isHere()) return await forEach(work, 'scan', images, examineImage);
  return images.map((image) => withoutList(image, `${sboms.name} is not on the worker that built it`));
}

/**
 * Lists what is in an image and looks that up. Where the scanner cannot say anything the verdict is errored; what that costs is for the environments
 * to say.
 */
async function examineImage(work: ImageWork, image: ImageReport, log: LogWriter): Promise<ImageEnd> {
  const { scan: spec, sbom } = work.known.pipeline.supplyChain;
  if (spec === undefined) return await listImage(work, image, log);
  const looked = await scanAll(work, image, spec, log);
  const unlisted = looked.find(({ packages }) => packages === undefined);
  if (sbom === 'required' && unlisted !== undefined) {
    throw new ProviderError(
      'ScanErrored',
      `${image.name} has no bill of materials, which the project requires: ${unlisted.scan.reason}`,
      { details: { image: image.name } },
    );
  }
  const scans = looked.flatMap(({ found }) => found ?? []);
  if (scans.length > 0) await keepScan(work, image.name, mergeScans(scans), undefined);
  const end = withEvidence(image, looked);
  const scan = end.image.evidence?.scan ?? erroredScan('nothing was looked at', new Date().toISOString());
  for (const line of [scan.reason, ...scan.lines, ...scan.excepted.map((each) => `excepted: ${each}`)]) log.say(line);
  return { ...end, verdict: scan.verdict, detail: scan.reason };
}

/** A list that nobody has asked for by name fails nothing. */
async function listImage(work: ImageWork, image: ImageReport, log: LogWriter): Promise<ImageEnd> {
  try {
    const lists = await withSaved(work, image, log, async (saved) => ({
      platform: saved.platform,
      packages: (await listPackages(work, image, saved, log)).packages,
    }));
    return withEvidence(image, lists);
  } catch (error) {
    if (work.signal.aborted || work.known.pipeline.supplyChain.sbom === 'required') throw error;
    const { message } = describeFailure(error);
    // Of several platforms some may be listed; half a list is attested to nothing.
    await rm(evidenceFiles(work.plan, image.name).folder, { recursive: true, force: true });
    log.say(`no bill of materials: ${message}`);
    return { image: withoutList(image, message), verdict: 'errored', detail: `no bill of materials: ${message}` };
  }
}

function withoutList(image: ImageReport, why: string): ImageReport {
  const { evidence = { buildKey: '', bases: {}, warnings: [] } } = image;
  return { ...image, evidence: { ...evidence, unlisted: why } };
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

/** What was found out about one platform of an image, or about an image that is no list. */
interface Looked {
  readonly platform?: string | undefined;
  readonly packages?: number | undefined;
  readonly scan: ScanVerdict;
  readonly found?: ImageScan;
}

async function scanAll(
  work: ImageWork,
  image: ImageReport,
  spec: ScanSpec,
  log: LogWriter,
): Promise<readonly Looked[]> {
  try {
    return await withSaved(work, image, log, (saved) => scanSaved(work, image, saved, { spec, log }));
  } catch (error) {
    if (work.signal.aborted) throw error;
    // Whatever went wrong, the image was not looked at. That is no pass, and no reason to do the whole build again.
    const { message } = describeFailure(error);
    return [{ scan: erroredScan(message, new Date().toISOString()) }];
  }
}

async function scanSaved(
  work: ImageWork,
  image: ImageReport,
  saved: SavedImage,
  { spec, log }: { readonly spec: ScanSpec; readonly log: LogWriter },
): Promise<Looked> {
  const { deps, signal } = work;
  const { platform } = saved;
  const now = new Date();
  let packages: number | undefined;
  try {
    const sbom = await listPackages(work, image, saved, log);
    packages = sbom.packages;
    const { database, maxAgeMs } = spec;
    const name = platform === undefined ? image.name : `${image.name} for ${platform}`;
    const found = await deps.supplyChain.scanners[spec.scanner].scan({ name, sbom, database, maxAgeMs, now, signal });
    if (platform !== undefined) await keepScan(work, image.name, found, platform);
    return { platform, packages, scan: judgeScan(found, spec), found };
  } catch (error) {
    if (signal.aborted) throw error;
    const { message } = describeFailure(error);
    return { platform, packages, scan: erroredScan(message, now.toISOString()) };
  }
}

async function keepScan(
  { deps, plan, run }: ImageWork,
  image: string,
  found: ImageScan,
  platform: string | undefined,
): Promise<void> {
  const text = JSON.stringify(found);
  await writeFile(evidenceFiles(plan, image, platform).scan, text);
  await deps.supplyChain.blobs.put(evidenceKey(run, image, 'scan.json', platform), Buffer.from(text));
}

/** Looks into an image, or into each platform of it, one after the other: a list of packages takes what memory there is. */
async function withSaved<T>(
  work: ImageWork,
  image: ImageReport,
  log: LogWriter,
  look: (saved: SavedImage) => Promise<T>,
): Promise<readonly T[]> {
  const { builder, plan, moved } = work;
  const { folder } = evidenceFiles(plan, image.name);
  await mkdir(folder, { recursive: true });
  const progress = progressOf(work, log);
  const local = (await builder.inspect(image.digest)) ?? (await fetchAgain(work, image, progress));
  if (local === undefined) {
    throw new ProviderError('ScanErrored', `${image.name} (${image.digest}) is not on this worker to be looked into`);
  }
  let saved: readonly SavedImage[] = [];
  try {
    saved = await builder.save(local.id, folder, progress);
    moved();
    const looked: T[] = [];
    for (const each of saved) looked.push(await look(each));
    return looked;
  } finally {
    await Promise.all(saved.map(({ path }) => rm(path, { recursive: true, force: true })));
  }
}

/** Equal inputs gave it on another worker, or in another run. */
async function fetchAgain(
  { builder, layouts, registry }: ImageWork,
  { name, repository, digest }: ImageReport,
  progress: BuildProgress,
): Promise<LocalImage | undefined> {
  if (layouts !== undefined) return await layouts.fetchImage({ name, repository, digest }, progress);
  const reference = `${repository}@${digest}`;
  await builder.resolve([reference], { ...progress, credentials: registry.credentials });
  return await builder.inspect(reference);
}

async function listPackages(work: ImageWork, image: ImageReport, saved: SavedImage, log: LogWriter): Promise<Sbom> {
  const { deps, run, plan, signal } = work;
  const { platform } = saved;
  const { folder } = evidenceFiles(plan, image.name, platform);
  await mkdir(folder, { recursive: true });
  const sbom = await deps.supplyChain.sboms.make({
    image: saved,
    name: image.repository,
    version: plan.version,
    folder,
    signal,
  });
  const of = platform === undefined ? '' : `${platform}: `;
  log.say(`${of}${sbom.packages} packages, listed by ${sbom.tool.name} ${sbom.tool.version}`);
  for (const file of [sbom.spdx, sbom.cyclonedx]) {
    const key = evidenceKey(run, image.name, file.slice(folder.length + 1), platform);
    await deps.supplyChain.blobs.put(key, createReadStream(file), { signal });
  }
  return sbom;
}

/** @param looked - the image, or each of its platforms. */
function withEvidence(image: ImageReport, looked: readonly Partial<Looked>[]): ImageEnd {
  const { evidence = { buildKey: '', bases: {}, warnings: [] } } = image;
  const packages = looked.flatMap((each) => each.packages ?? []);
  const scans = looked.flatMap(({ platform, scan }) => (scan === undefined ? [] : [{ platform, scan }]));
  const platforms = evidence.platforms?.map((known) => {
    const one = looked.find(({ platform }) => platform === known.platform);
    return {
      ...known,
      ...(one?.packages === undefined ? {} : { packages: one.packages }),
      ...(one?.scan === undefined ? {} : { scan: one.scan }),
    };
  });
  return {
    image: {
      ...image,
      evidence: {
        ...evidence,
        ...(platforms === undefined ? {} : { platforms }),
        ...(packages.length > 0
          ? { packages: Math.max(...packages) }
          : scans[0] === undefined
            ? {}
            : { unlisted: scans[0].scan.reason }),
        ...(scans.length === 0 ? {} : { scan: worstOf(scans) }),
      },
    },
  };
}
