import type { Readable } from 'node:stream';

/** What is known of a blob that was written. */
export interface BlobInfo {
  readonly key: string;
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** A blob in a list. */
export interface ListedBlob {
  readonly key: string;
  readonly sizeBytes: number;
  /** When its last byte was written. */
  readonly writtenAt: Date;
}

export interface BlobRange {
  /** First byte, from 0. Default 0. */
  readonly start?: number | undefined;
  /** One past the last byte. Default: the end. */
  readonly end?: number | undefined;
}

/**
 * Bytes by key. A key is a path of letters, digits and `._-`, parts divided by `/`.
 *
 * A blob is there whole or not at all: after an error, or when the writer is killed, a reader sees what was there before, or nothing.
 */
export interface BlobStore {
  /**
   * Writes a blob, over one that is there. A stream is on the disk when this returns; a Buffer may wait a moment in the machine's memory.
   *
   * @throws ProviderError `DiskFull` (not retried), `BlobsUnavailable` (retried), `InvalidInput` (not retried: the key)
   */
  put(key: string, content: Buffer | Readable, options?: { readonly signal?: AbortSignal }): Promise<BlobInfo>;
  /**
   * The bytes of a blob, or a part of them.
   *
   * @throws ProviderError `NotFound` (not retried), `BlobsUnavailable` (retried)
   */
  read(key: string, range?: BlobRange): Promise<Readable>;
  /** Size of a blob; undefined when there is none. */
  size(key: string): Promise<number | undefined>;
  /** Makes one blob of several, in order. They stay. As {@link BlobStore.put} for errors. */
  concatenate(key: string, parts: readonly string[]): Promise<BlobInfo>;
  /** Every blob whose key begins with `prefix/`, in no order. One that is written or removed meanwhile may be there or not. */
  list(prefix: string): Promise<readonly ListedBlob[]>;
  /**
   * Removes what writers that were killed have left of blobs that never came to be.
   *
   * @param before - what was last written to after this moment may be being written.
   */
  removeUnfinished(before: Date): Promise<{ readonly count: number; readonly sizeBytes: number }>;
  /** Removes a blob; none is as well. */
  remove(key: string): Promise<void>;
  /** Removes everything whose key begins with `prefix/`. */
  removeAll(prefix: string): Promise<void>;
}
