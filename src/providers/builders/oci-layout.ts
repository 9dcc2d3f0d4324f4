/** An image as a folder, after the OCI image layout. @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md */
import { createHash } from 'node:crypto';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageLayers } from '../../domain/image-layers.ts';
import { platformOf } from '../../domain/platform.ts';
import type { PlatformImage } from './port.ts';

/** What a manifest says of something that it names. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Of one platform. */
export interface LayoutImage extends PlatformImage {
  readonly descriptor: Descriptor;
  /** Configuration and layers. */
  readonly blobs: readonly Descriptor[];
  readonly labels: Readonly<Record<string, string>>;
  readonly layers: ImageLayers;
}

export interface Layout {
  readonly folder: string;
  /** What names everything else: the list of platforms, or the one manifest. */
  readonly root: Descriptor;
  /** In the order of the list. */
  readonly images: readonly LayoutImage[];
}

/** A manifest or configuration is a few kilobytes; a layer that calls itself one is not read. Judgement. */
const maxDocumentBytes = 16 * 1024 * 1024;

/**
 * Reads what a layout holds. Manifests and configurations are counted over; layers are when they are sent.
 *
 * @throws Error - it is no layout with one image in it, or not what its digests say.
 */
export async function readLayout(folder: string): Promise<Layout> {
  const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as { readonly manifests?: Descriptor[] };
  const [root, ...others] = index.manifests ?? [];
  if (root === undefined || others.length > 0) {
    throw new Error(`the layout has ${index.manifests?.length ?? 0} images in it, not one`);
  }
  const document = await readDocument<RawManifest>(folder, root);
  if (document.manifests === undefined) return { folder, root, images: [await readImage(folder, root, document)] };
  const images: LayoutImage[] = [];
  for (const each of document.manifests) {
    images.push(await readImage(folder, each, await readDocument<RawManifest>(folder, each)));
  }
  return { folder, root, images };
}

/** Where a blob of a layout lies. */
export function blobPath(folder: string, digest: string): string {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new Error(`${digest.slice(0, 80)} is no digest`);
  return join(folder, 'blobs', 'sha256', digest.slice('sha256:'.length));
}

/**
 * Makes a layout of one image of another layout, without a copy of its layers.
 *
 * @param folder - absolute; made new.
 */
export async function writeSingleLayout(layout: Layout, image: LayoutImage, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await symlink(join(layout.folder, 'blobs'), join(folder, 'blobs'));
  await writeLayoutIndex(folder, image.descriptor);
}

/** Says what a folder of blobs holds. */
export async function writeLayoutIndex(folder: string, root: Descriptor): Promise<void> {
  const { mediaType, digest, size, platform } = root;
  const manifests = [{ mediaType, digest, size, ...(platform === undefined ? {} : { platform }) }];
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: listType, manifests }));
}

const listType = 'application/vnd.oci.image.index.v1+json';

interface RawManifest {
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

/** @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md */
interface RawConfig {
  readonly os?: string;
  readonly architecture?: string;
  readonly variant?: string;
  readonly config?: {
    readonly User?: string;
    readonly Env?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  };
  readonly rootfs?: { readonly diff_ids?: readonly string[] | null };
  readonly history?: readonly { readonly created?: string; readonly created_by?: string }[] | null;
}

async function readImage(folder: string, descriptor: Descriptor, manifest: RawManifest): Promise<LayoutImage> {
  const { config, layers = [] } = manifest;
  if (config === undefined) throw new Error(`${descriptor.digest} is a manifest without a configuration`);
  const raw = await readDocument<RawConfig>(folder, config);
  const settings = (raw.config?.Env ?? []).map((line): readonly [string, string] => {
    const at = line.indexOf('=');
    return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
  });
  const blobs = [config, ...layers];
  return {
    descriptor,
    platform: platformOf(raw.os ?? '', raw.architecture ?? '', raw.variant),
    digest: descriptor.digest,
    sizeBytes: blobs.reduce((sum, { size }) => sum + size, 0),
    user: raw.config?.User ?? '',
    blobs,
    labels: raw.config?.Labels ?? {},
    layers: {
      user: raw.config?.User ?? '',
      settings: Object.fromEntries(settings),
      count: raw.rootfs?.diff_ids?.length ?? 0,
      history: [...(raw.history ?? [])]
        .reverse()
        .map(({ created, created_by }) => ({ createdAt: created ?? null, instruction: created_by ?? '' })),
    },
  };
}

async function readDocument<T>(folder: string, { digest, size }: Descriptor): Promise<T> {
  if (size > maxDocumentBytes) throw new Error(`${digest} has ${size} bytes, more than any manifest`);
  const bytes = await readFile(blobPath(folder, digest));
  const held = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (held !== digest) throw new Error(`${digest} is ${held} in the layout`);
  return JSON.parse(bytes.toString()) as T;
}
