import { mkdir, rm, writeFile } from 'node:fs/promises';
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
import type { ImageReport, KeptList, RunPlan } from '../domain/run.ts';
import type { ScanSpec } from '../definition/specs/supply-chain.ts';
import type { BuildProgress, LocalImage, SavedImage } from '../providers/builders/port.ts';
import { evidenceFiles, evidenceKey } from './image-files.ts';
import { asksForLicencesOfImages } from './image-licences.ts';
import { type ImageList, makeList, readMethod, takeKeptLists } from './image-lists.ts';
import { type ImageEnd, type ImageWork, forEach, progressOf } from './image-work.ts';
import type { LogWriter } from './logs.ts';

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
  const licences = plan.buildImages !== 'validate' && asksForLicencesOfImages(known);
  if (scan !== undefined || sbom === 'required' || licences) return await forEach(work, 'scan', images, examineImage);
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

/** A list that nobody requires fails nothing by itself; what it was asked for is errored without. */
async function listImage(work: ImageWork, image: ImageReport, log: LogWriter): Promise<ImageEnd> {
  try {
    const lists = await withLists(work, image, log, async ({ platform, list }) => {
      const { sbom, kept } = await list();
      return { platform, packages: sbom.packages, list: kept };
    });
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
  readonly list?: KeptList | undefined;
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
    return await withLists(work, image, log, (listed) => scanListed(work, image, listed, spec));
  } catch (error) {
    if (work.signal.aborted) throw error;
    // Whatever went wrong, the image was not looked at. That is no pass, and no reason to do the whole build again.
    const { message } = describeFailure(error);
    return [{ scan: erroredScan(message, new Date().toISOString()) }];
  }
}

async function scanListed(
  work: ImageWork,
  image: ImageReport,
  { platform, list }: Listable,
  spec: ScanSpec,
): Promise<Looked> {
  const { deps, signal } = work;
  const now = new Date();
  let listed: Pick<Looked, 'packages' | 'list'> = {};
  try {
    const { sbom, kept } = await list();
    listed = { packages: sbom.packages, list: kept };
    const { database, maxAgeMs } = spec;
    const name = platform === undefined ? image.name : `${image.name} for ${platform}`;
    const found = await deps.supplyChain.scanners[spec.scanner].scan({ name, sbom, database, maxAgeMs, now, signal });
    if (platform !== undefined) await keepScan(work, image.name, found, platform);
    return { platform, ...listed, scan: judgeScan(found, spec), found };
  } catch (error) {
    if (signal.aborted) throw error;
    const { message } = describeFailure(error);
    return { platform, ...listed, scan: erroredScan(message, now.toISOString()) };
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

/** An image, or one platform of it, that can be listed. */
interface Listable {
  readonly platform: string | undefined;
  readonly list: () => Promise<ImageList>;
}

/**
 * Looks into an image, or into each platform of it, one after the other: a list of packages takes what memory there is. One that was listed before is
 * not even saved.
 */
async function withLists<T>(
  work: ImageWork,
  image: ImageReport,
  log: LogWriter,
  look: (listed: Listable) => Promise<T>,
): Promise<readonly T[]> {
  const { builder, known, moved } = work;
  const method = await readMethod(work);
  const kept = method === undefined ? undefined : await takeKeptLists(work, image, method, log);
  const looked: T[] = [];
  if (kept !== undefined) {
    // Beside the list a gate reads the layers of what is scanned.
    if (known.pipeline.supplyChain.scan !== undefined) await ensureHere(work, image, log);
    for (const each of kept) looked.push(await look({ ...each, list: () => Promise.resolve(each) }));
    return looked;
  }
  const { folder } = evidenceFiles(work.plan, image.name);
  await mkdir(folder, { recursive: true });
  const local = await ensureHere(work, image, log);
  let saved: readonly SavedImage[] = [];
  try {
    saved = await builder.save(local.id, folder, progressOf(work, log));
    moved();
    for (const each of saved) {
      const { platform } = each;
      looked.push(await look({ platform, list: () => makeList(work, image, each, method, log) }));
    }
    return looked;
  } finally {
    await Promise.all(saved.map(({ path }) => rm(path, { recursive: true, force: true })));
  }
}

async function ensureHere(work: ImageWork, image: ImageReport, log: LogWriter): Promise<LocalImage> {
  const progress = progressOf(work, log);
  const local = (await work.builder.inspect(image.digest)) ?? (await fetchAgain(work, image, progress));
  if (local !== undefined) return local;
  throw new ProviderError('ScanErrored', `${image.name} (${image.digest}) is not on this worker to be looked into`);
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

/** @param looked - the image, or each of its platforms. */
function withEvidence(image: ImageReport, looked: readonly Partial<Looked>[]): ImageEnd {
  const { evidence = { buildKey: '', bases: {}, warnings: [] } } = image;
  const packages = looked.flatMap((each) => each.packages ?? []);
  const scans = looked.flatMap(({ platform, scan }) => (scan === undefined ? [] : [{ platform, scan }]));
  const whole = looked.find(({ platform, list }) => platform === undefined && list !== undefined)?.list;
  const platforms = evidence.platforms?.map((known) => {
    const one = looked.find(({ platform }) => platform === known.platform);
    return {
      ...known,
      ...(one?.packages === undefined ? {} : { packages: one.packages }),
      ...(one?.list === undefined ? {} : { list: one.list }),
      ...(one?.scan === undefined ? {} : { scan: one.scan }),
    };
  });
  return {
    image: {
      ...image,
      evidence: {
        ...evidence,
        ...(platforms === undefined ? {} : { platforms }),
        ...(whole === undefined ? {} : { list: whole }),
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
