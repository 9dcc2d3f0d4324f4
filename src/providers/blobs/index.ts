import { createFolderBlobs } from './folder.ts';
import type { BlobStore } from './port.ts';

/** Where blobs are kept. */
export interface BlobsSpec {
  readonly kind: 'folder';
  readonly folder: string;
}

/** Makes the store of a kind. */
export function createBlobs(spec: BlobsSpec): BlobStore {
  return createFolderBlobs({ folder: spec.folder });
}
