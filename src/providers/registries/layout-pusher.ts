import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ProviderError } from '../../domain/failures.ts';
import { type Descriptor, type Layout, blobPath } from '../builders/oci-layout.ts';
import { checkDigest } from './digests.ts';
import type { ImagePusher, ImageRegistry } from './port.ts';

/**
 * Pushes images that lie in folders: the layers of each platform, their manifests, then the list, and the tag last. A registry that has a part
 * already is not sent it again.
 *
 * @param readImage - by digest; undefined where it is not here.
 */
export function createLayoutPusher(
  readImage: (digest: string) => Promise<Layout | undefined>,
  manifests: ImageRegistry,
): ImagePusher {
  return {
    async push({ id, repository, tag, output, moved, signal }) {
      const layout = await readImage(id);
      if (layout === undefined) {
        throw new ProviderError('ImageNotFound', `there is no image ${id} here to push as ${repository}:${tag}`);
      }
      const { folder, root, images } = layout;
      const done = new Set<string>();
      for (const { blobs, platform } of images) {
        for (const { digest, size } of blobs) {
          if (done.has(digest)) continue;
          done.add(digest);
          const path = blobPath(folder, digest);
          const blob = { digest, sizeBytes: size, open: () => createReadStream(path) };
          const sent = await manifests.ensureBlob(repository, blob, { signal, moved });
          output(`${platform}: ${digest.slice(7, 19)}: ${sent ? 'pushed' : 'is there already'}\n`);
          moved();
        }
      }
      const write = async (reference: string, { mediaType, digest }: Descriptor): Promise<void> => {
        const bytes = await readFile(blobPath(folder, digest));
        await manifests.writeManifest(repository, reference, { mediaType, digest, bytes }, signal);
        moved();
      };
      for (const { descriptor, digest } of images) if (digest !== root.digest) await write(digest, descriptor);
      await write(root.digest, root);
      await write(tag, root);
      const held = await manifests.readManifest(repository, tag, signal);
      checkDigest(repository, tag, root.digest, held?.digest);
      output(`${tag}: the registry holds ${root.digest}\n`);
      return root.digest;
    },
  };
}
