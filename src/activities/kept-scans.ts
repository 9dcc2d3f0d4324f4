import { text } from 'node:stream/consumers';
import type { ImageScan } from '../domain/image-scan.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { evidenceKey } from './image-files.ts';

/** What was found before the push, and by the newest scan since. */
const files = { build: 'scan.json', since: 'scan-again.json' } as const;

/** The run that built an image, and its name in it. */
export interface BuiltAs {
  readonly project: string;
  readonly build: number;
  readonly image: string;
}

/**
 * What scans of an image found, whole.
 *
 * @param which - `build`: the scan before its push. Default: the newest there is.
 * @returns undefined where there is none, or it is not kept any more.
 * @throws `BlobsUnavailable` (retried)
 */
export async function readKeptScan(
  blobs: Pick<BlobStore, 'read' | 'size'>,
  { project, build, image }: BuiltAs,
  which?: 'build',
): Promise<ImageScan | undefined> {
  const wanted = which === undefined ? [files.build, files.since] : [files[which]];
  const scans: ImageScan[] = [];
  for (const file of wanted) {
    const key = evidenceKey({ project, number: build }, image, file);
    if ((await blobs.size(key)) === undefined) continue;
    scans.push(JSON.parse(await text(await blobs.read(key))) as ImageScan);
  }
  return scans.sort((a, b) => Date.parse(b.scannedAt) - Date.parse(a.scannedAt))[0];
}

/** Keeps what a later scan found beside the evidence of the build; the one before it is of no use any more. */
export async function keepLaterScan(
  blobs: Pick<BlobStore, 'put'>,
  { project, build, image }: BuiltAs,
  scan: ImageScan,
): Promise<void> {
  await blobs.put(evidenceKey({ project, number: build }, image, files.since), Buffer.from(JSON.stringify(scan)));
}
