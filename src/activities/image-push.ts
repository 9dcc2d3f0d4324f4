import { ProviderError } from '../domain/failures.ts';
import type { ImageTag } from '../domain/image-tags.ts';
import type { ImageReport } from '../domain/run.ts';
import type { LocalImage } from '../providers/builders/port.ts';
import type { ImageRegistry } from '../providers/registries/port.ts';
import { type Made, attestImage } from './image-attest.ts';
import { tagsOf } from './image-build.ts';
import { claimPush, claimPushed } from './image-claims.ts';
import { type ImageEnd, type ImageWork, type OpenedRegistry, progressOf } from './image-work.ts';
import type { LogWriter } from './logs.ts';

/**
 * Pushes one image under its tags, makes sure that the registry has what was pushed, signs it and attests to it.
 *
 * @throws `TagTaken` (not retried): a tag that names one build or version for ever names another image.
 */
export async function pushImage(
  work: ImageWork,
  image: ImageReport,
  made: Made,
  log: LogWriter,
  { manifests, pusher }: OpenedRegistry,
): Promise<ImageEnd> {
  const { deps, run, known, builder, signal } = work;
  const { repository } = image;
  const tags = tagsOf(work);
  const [first, ...others] = tags;
  if (first === undefined) throw new TypeError('an image without a tag');
  const { output, moved } = progressOf(work, log);

  // The digest is only known when the image is there.
  await claimPush(work, image, log);
  // The engine first: asked for the manifest of a local id whose configuration it holds as a blob, as after a push that was cut off
  // before its end, the registry answers 500 for ever.
  const here = await builder.inspect(image.digest);
  let digest: string | undefined;
  if (here === undefined) {
    digest = (await manifests.readManifest(repository, image.digest, signal))?.digest;
    if (digest === undefined) {
      throw new ProviderError(
        'ImageNotFound',
        `${image.name} (${image.digest}) is neither on this worker nor in the registry`,
        {
          details: { image: image.name, digest: image.digest },
        },
      );
    }
    await ensureFree(manifests, repository, tags, [digest], signal);
    await manifests.ensureTag(repository, digest, first.name, signal);
    log.say(`${first.name}: the registry has ${digest} already`);
  } else {
    await ensureFree(manifests, repository, tags, namesOf(here, repository), signal);
    digest = await pusher.push({ id: here.id, repository, tag: first.name, output, moved, signal });
    const key = image.evidence?.buildKey ?? '';
    // The layers of the newest of a name are the cache of the next build, which strangers have no part in.
    if (key !== '' && known.input.event.fork !== true) {
      const build = { project: run.project, key, name: image.name, repository, digest, sizeBytes: image.sizeBytes };
      // Forgotten, it is built again some day.
      await deps.builds.record(build).catch(() => undefined);
    }
  }
  const content = await manifests.readContent(repository, digest, signal);
  if (content !== undefined) await claimPushed(work, image, content);
  if (known.pipeline.supplyChain.verify === 'content') {
    const { blobs, bytes } = await manifests.verifyContent(repository, digest, { signal, moved });
    log.say(`${digest}: all ${blobs} parts were fetched again and are whole, ${Math.round(bytes / 1024)} KiB`);
  }
  for (const { name } of others) {
    await manifests.ensureTag(repository, digest, name, signal);
    log.say(`${name}: the registry holds ${digest}`);
    moved();
  }
  const pushed = { ...image, digest, tags: tags.map(({ name }) => name), durationMs: 0 };
  const attested = await attestImage(work, pushed, made, log);
  const { evidence } = pushed;
  return {
    image:
      attested.length === 0 || evidence === undefined ? pushed : { ...pushed, evidence: { ...evidence, attested } },
  };
}

/** By what the registry may know an image that the engine has. */
function namesOf({ id, digests }: LocalImage, repository: string): readonly string[] {
  const own = digests.filter((digest) => digest.startsWith(`${repository}@`));
  return [id, ...own.map((digest) => digest.slice(repository.length + 1))];
}

/** @param names - digests of the manifest or of the configuration of the image that is to get the tags. */
async function ensureFree(
  manifests: ImageRegistry,
  repository: string,
  tags: readonly ImageTag[],
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const { name } of tags.filter(({ immutable }) => immutable)) {
    const held = await manifests.readManifest(repository, name, signal);
    if (held === undefined || names.includes(held.digest)) continue;
    const { config } = (await manifests.readContent(repository, held.digest, signal)) ?? {};
    if (config !== undefined && names.includes(config)) continue;
    throw new ProviderError('TagTaken', `${repository}:${name} is ${held.digest} already and stays so`, {
      details: { repository, tag: name, held: held.digest },
    });
  }
}
