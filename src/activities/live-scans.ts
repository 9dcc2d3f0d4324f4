import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { loadProject } from '../definition/load.ts';
import { resolveRegistry, resolveScan } from '../definition/image-resolution.ts';
import { isProduction } from '../definition/production.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import type { ScanSpec } from '../definition/specs/supply-chain.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import {
  type ImageScan,
  countedBy,
  describeVulnerability,
  erroredScan,
  isScanOld,
  judgeScan,
  mergeScans,
} from '../domain/image-scan.ts';
import { type LiveImageScan, findingKey, mostFindings } from '../domain/live-scan.ts';
import type { LiveRelease, ReleaseImage } from '../domain/release.ts';
import { withScratch } from '../effects/scratch-folder.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { ImageBuilder } from '../providers/builders/port.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { Sbom } from '../providers/sboms/port.ts';
import { listEnvironments } from '../store/environments.ts';
import { readProject } from '../store/projects.ts';
import { readRelease } from '../store/releases.ts';
import { readImageEvidence } from '../store/runs.ts';
import type { Store } from '../store/store.ts';
import { readUpkeep } from '../store/upkeep.ts';
import { beating, typed } from './changes.ts';
import type { LiveScanActivities, ScanRenewalActivities } from './contracts.ts';
import { evidenceKey } from './image-files.ts';
import type { SupplyChain } from './image-work.ts';
import { keepLaterScan, readKeptScan } from './kept-scans.ts';

export interface LiveScanDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly blobs: Pick<BlobStore, 'read' | 'size' | 'put' | 'list'>;
  readonly supplyChain: Pick<SupplyChain, 'sboms' | 'scanners'>;
  readonly builder: Pick<ImageBuilder, 'resolve' | 'inspect' | 'save'>;
  readonly readRegistry: ReadRegistry;
}

/** One image to look up. */
interface Looking {
  readonly project: ProjectDefinition;
  readonly spec: ScanSpec;
  readonly image: ReleaseImage;
  /** Run that built it; null where the store does not know it. */
  readonly build: number | null;
  /** Scratch. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** Without a sign of life of the scanner; its own time limits are shorter. */
const stallMs = 900_000;

/** Scans what runs. Nothing is changed but images fetched to be looked into. */
export function createLiveScanActivities(deps: LiveScanDependencies): LiveScanActivities & ScanRenewalActivities {
  const { store, blobs, supplyChain } = deps;

  async function projectOf(name: string): Promise<ProjectDefinition> {
    const stored = await readProject(store.db, name);
    if (stored === undefined) throw new ProviderError('NotFound', `There is no project ${name}.`);
    const loaded = loadProject({ file: 'project.yaml', text: stored.text });
    if (loaded.ok) return loaded.value;
    throw new ProviderError('DefinitionInvalid', `The project.yaml of ${name} cannot be read any more.`);
  }

  async function scan(
    project: ProjectDefinition,
    spec: ScanSpec,
    image: ReleaseImage,
    build: number | null,
    signal: AbortSignal,
  ): Promise<LiveImageScan> {
    const now = new Date();
    const { name, digest } = image;
    const known = await knownAtBuild(project.project, image, build, spec);
    try {
      return await withScratch('live-scan', async (folder) => {
        const found = await lookUp({ project, spec, image, build, folder, signal }, now);
        const findings = countedBy(found, spec).map((each) => ({
          key: findingKey(each),
          severity: each.severity,
          line: describeVulnerability(each),
        }));
        return { name, digest, scan: judgeScan(found, spec), findings: findings.slice(0, mostFindings), known };
      });
    } catch (error) {
      signal.throwIfAborted();
      // A scanner that is missing, breaks or has old advisories says nothing; that is told, and not tried again today.
      return {
        name,
        digest,
        scan: erroredScan(describeFailure(error).message, now.toISOString()),
        findings: [],
        known,
      };
    }
  }

  /** Keys of what the scan before the push had found. */
  async function knownAtBuild(
    project: string,
    { name }: ReleaseImage,
    build: number | null,
    spec: ScanSpec,
  ): Promise<readonly string[] | null> {
    if (build === null) return null;
    const found = await readKeptScan(blobs, { project, build, image: name }, 'build');
    if (found === undefined) return null;
    // Those of exceptions too: one that has ended since makes nothing new.
    return countedBy(found, { ...spec, exceptions: [] }).map(findingKey);
  }

  /** Looks one image up, each platform of it of which a list is kept, and keeps what was found where whoever plans it looks for it. */
  async function lookUp({ project, spec, image, build, folder, signal }: Looking, now: Date): Promise<ImageScan> {
    const { database, maxAgeMs } = spec;
    const { name } = image;
    const kept = build === null ? [] : await keptSboms(project.project, name, build, folder);
    const lists = kept.length > 0 ? kept : [await newSbom(project, image, folder, signal)];
    const scans: ImageScan[] = [];
    for (const sbom of lists) {
      scans.push(await supplyChain.scanners[spec.scanner].scan({ name, sbom, database, maxAgeMs, now, signal }));
    }
    const found = mergeScans(scans);
    // A list made now is of one platform, which says nothing of the others of the image.
    if (build !== null && (kept.length > 0 || !(await hasPlatforms(project.project, build, name)))) {
      await keepLaterScan(blobs, { project: project.project, build, image: name }, found);
    }
    return found;
  }

  async function hasPlatforms(project: string, build: number, image: string): Promise<boolean> {
    const evidence = await readImageEvidence(store.db, project, build);
    return (evidence[image]?.platforms ?? []).length > 0;
  }

  /** The lists that were made of the image before it was pushed: one, or one of each platform. */
  async function keptSboms(project: string, image: string, build: number, folder: string): Promise<readonly Sbom[]> {
    const prefix = evidenceKey({ project, number: build }, image, '');
    const listed = (await blobs.list(prefix.slice(0, -1))).map(({ key }) => key.slice(prefix.length));
    const lists: Sbom[] = [];
    for (const spdx of listed.filter((file) => file.endsWith('sbom.spdx.json')).sort()) {
      const cyclonedx = spdx.replace(/sbom\.spdx\.json$/, 'sbom.cdx.json');
      if (!listed.includes(cyclonedx)) continue;
      for (const file of [spdx, cyclonedx]) {
        await pipeline(await blobs.read(`${prefix}${file}`), createWriteStream(join(folder, file)));
      }
      lists.push({
        spdx: join(folder, spdx),
        cyclonedx: join(folder, cyclonedx),
        packages: 0,
        tool: { name: 'syft', version: 'of the build' },
      });
    }
    return lists;
  }

  /** @returns why it could not be looked up; undefined where it was, or need not be. */
  async function renew(
    project: ProjectDefinition,
    spec: ScanSpec,
    image: ReleaseImage,
    build: number,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const now = new Date();
    try {
      const known = await readKeptScan(blobs, { project: project.project, build, image: image.name });
      if (known !== undefined && !isScanOld(known, spec.maxAgeMs, now.toISOString())) return undefined;
      await withScratch('scan-again', (folder) => lookUp({ project, spec, image, build, folder, signal }, now));
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return describeFailure(error).message;
    }
  }

  /** A list made now, of the image as the registry has it. */
  async function newSbom(
    project: ProjectDefinition,
    { repository, digest }: ReleaseImage,
    folder: string,
    signal: AbortSignal,
  ): Promise<Sbom> {
    const { credentials } = await deps.readRegistry(resolveRegistry({ project }), signal);
    const reference = `${repository}@${digest}`;
    const progress = { output: () => undefined, moved: () => undefined, signal };
    await deps.builder.resolve([reference], { ...progress, credentials });
    const local = await deps.builder.inspect(reference);
    if (local === undefined) throw new ProviderError('ScanErrored', `${reference} is not here to be looked into`);
    const [image] = await deps.builder.save(local.id, folder, progress);
    if (image === undefined) throw new ProviderError('ScanErrored', `${reference} has no image in it`);
    try {
      return await supplyChain.sboms.make({ image, name: repository, version: digest, folder, signal });
    } finally {
      await rm(image.path, { force: true });
    }
  }

  return {
    readLive: ({ project: name, environment: only }) =>
      typed(async () => {
        const project = await projectOf(name);
        const [records, rounds] = await Promise.all([
          listEnvironments(store.db, name),
          readUpkeep(store.db, { kind: 'scan', project: name }),
        ]);
        const mine = records.filter((record) => only === undefined || record.name === only);
        return await Promise.all(
          mine
            .filter((record) => Object.hasOwn(project.environments, record.name))
            .map(async (record) => {
              const known = rounds.find(({ environment }) => environment === record.name)?.detail['keys'];
              const releases = [
                ...(record.live === null ? [] : [await releaseOf('live', record.live)]),
                ...(record.previous === null || record.previous.version === record.live?.version
                  ? []
                  : [await releaseOf('previous', record.previous)]),
              ];
              const definition = project.environments[record.name];
              return {
                project: name,
                environment: record.name,
                production: definition !== undefined && isProduction(record.name, definition),
                releases,
                known: Array.isArray(known) ? (known as readonly string[]) : null,
              };
            }),
        );

        async function releaseOf<R extends 'live' | 'previous'>(role: R, { version, images }: LiveRelease) {
          const release = await readRelease(store.db, name, version);
          return { role, version, images, build: release?.build ?? null };
        }
      }),

    scanLiveImage: ({ project: name, image, build }) =>
      beating(async (signal) => {
        const project = await projectOf(name);
        const spec = resolveScan(project);
        if (spec === undefined) {
          const reason = 'the project names no scanner (`images.scan` of its project.yaml)';
          const verdict = erroredScan(reason, new Date().toISOString());
          return { name: image.name, digest: image.digest, scan: verdict, findings: [], known: null };
        }
        return await scan(project, spec, image, build, signal);
      }, stallMs),

    renewScans: ({ project: name, version, images }) =>
      beating(async (signal, progress) => {
        const project = await projectOf(name);
        const spec = resolveScan(project);
        const release = await readRelease(store.db, name, version);
        if (spec === undefined || release === undefined) return {};
        const problems: Record<string, string> = {};
        for (const image of release.images.filter((each) => images.includes(each.name))) {
          const problem = await renew(project, spec, image, release.build, signal);
          if (problem !== undefined) problems[image.name] = problem;
          progress();
        }
        return problems;
      }, stallMs),
  };
}
