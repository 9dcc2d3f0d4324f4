import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import type { ImageReport, KeptList } from '../domain/run.ts';
import type { SavedImage } from '../providers/builders/port.ts';
import type { Sbom } from '../providers/sboms/port.ts';
import { evidenceFiles, evidenceKey } from './image-files.ts';
import type { ImageWork, ListedImage } from './image-work.ts';
import type { LogWriter } from './logs.ts';

/** An image, or one platform of it, and what is in it. */
export interface ImageList {
  readonly platform: string | undefined;
  readonly sbom: Sbom;
  /** As the next run of the same image finds it; absent where the maker does not say how it was made. */
  readonly kept: KeptList | undefined;
}

/** How this worker makes lists; undefined where nothing is known of that, and every image is listed anew. Why it cannot make any, making one says. */
export async function readMethod({ deps, signal }: ImageWork): Promise<string | undefined> {
  try {
    return await deps.supplyChain.sboms.readMethod(signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
}

/**
 * The lists that a run of before has kept of the same image, as lists of this run: files in its workspace and blobs of its own, so that it does not
 * matter when the other one is forgotten. Whatever is amiss with them, they are not taken.
 *
 * @returns one, or one of each platform; undefined: it has to be listed.
 * @throws what {@link ProviderError}s of keeping them there are
 */
export async function takeKeptLists(
  work: ImageWork,
  image: ImageReport,
  method: string,
  log: LogWriter,
): Promise<readonly ImageList[] | undefined> {
  const { deps, run, signal } = work;
  const { repository, digest } = image;
  const listed = await deps.lists.find({ project: run.project, repository, digest, method });
  if (listed === undefined) return undefined;
  const { list, platforms } = listed.evidence;
  const wanted = platforms ?? [{ platform: undefined, list }];
  const lists: ImageList[] = [];
  try {
    for (const { platform, list: kept } of wanted) {
      if (kept?.method !== method) throw new ProviderError('NotFound', `${platform ?? 'it'} was listed in another way`);
      lists.push({ platform, sbom: await fetchList(work, image, listed, { platform, kept }), kept });
    }
  } catch (error) {
    // What is half there must not be attested.
    await rm(evidenceFiles(work.plan, image.name).folder, { recursive: true, force: true });
    if (signal.aborted) throw error;
    log.say(`the list of run ${listed.run} is not taken: ${describeFailure(error).message}`);
    return undefined;
  }
  return await Promise.all(
    lists.map((each) => keepList(work, image, { ...each, method }, `listed in run ${listed.run}`, log)),
  );
}

/** Lists an image that was saved. */
export async function makeList(
  work: ImageWork,
  image: ImageReport,
  saved: SavedImage,
  method: string | undefined,
  log: LogWriter,
): Promise<ImageList> {
  const { deps, plan, signal } = work;
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
  return await keepList(work, image, { platform, sbom, method }, 'listed', log);
}

/** A list of before as one of this run, in the workspace. */
async function fetchList(
  { deps, run, plan, signal }: ImageWork,
  image: ImageReport,
  { run: number, name }: ListedImage,
  { platform, kept }: { readonly platform: string | undefined; readonly kept: KeptList },
): Promise<Sbom> {
  const { sboms, blobs } = deps.supplyChain;
  const files = evidenceFiles(plan, image.name, platform);
  await mkdir(files.folder, { recursive: true });
  for (const form of ['spdx', 'cyclonedx'] as const) {
    const key = evidenceKey({ project: run.project, number }, name, listNames[form], platform);
    const hash = createHash('sha256');
    await pipeline(
      await blobs.read(key),
      async function* (parts: AsyncIterable<Buffer>) {
        for await (const part of parts) {
          hash.update(part);
          yield part;
        }
      },
      createWriteStream(files[form]),
      { signal },
    );
    if (hash.digest('hex') !== kept[form]) throw new ProviderError('ScanErrored', `${key} is not what was kept`);
  }
  return await sboms.renew({ list: files, name: image.repository, version: plan.version });
}

const listNames = { spdx: 'sbom.spdx.json', cyclonedx: 'sbom.cdx.json' } as const;

async function keepList(
  { deps, run, signal }: ImageWork,
  image: ImageReport,
  list: {
    readonly platform: string | undefined;
    readonly sbom: Sbom;
    readonly method: string | undefined;
  },
  how: string,
  log: LogWriter,
): Promise<ImageList> {
  const { platform, sbom, method } = list;
  const of = platform === undefined ? '' : `${platform}: `;
  log.say(`${of}${sbom.packages} packages, ${how} by ${sbom.tool.name} ${sbom.tool.version}`);
  const keep = async (form: keyof typeof listNames): Promise<string> => {
    const key = evidenceKey(run, image.name, listNames[form], platform);
    return (await deps.supplyChain.blobs.put(key, createReadStream(sbom[form]), { signal })).sha256;
  };
  const [spdx, cyclonedx] = [await keep('spdx'), await keep('cyclonedx')];
  return { platform, sbom, kept: method === undefined ? undefined : { method, spdx, cyclonedx } };
}
