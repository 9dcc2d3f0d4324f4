import type { MigrationRef } from './migration.ts';

export interface ReleaseImage {
  readonly name: string;
  readonly repository: string;
  /** `sha256:…`; from the push on an image is only known by this. */
  readonly digest: string;
}

/** What can run somewhere. Its identity is the version within the project; rows are never changed. */
export interface Release {
  readonly project: string;
  readonly version: string;
  readonly build: number;
  readonly commit: string;
  readonly images: readonly ReleaseImage[];
  /** Hash of the definition pair it was built with. */
  readonly definition: string;
  readonly migrations: readonly MigrationRef[];
}

/** A release as another thing refers to it. */
export interface ReleaseRef {
  readonly version: string;
  readonly commit: string;
  readonly images: readonly ReleaseImage[];
}

export type Slot = 'blue' | 'green';

/** The other slot. */
export function otherSlot(slot: Slot): Slot {
  return slot === 'blue' ? 'green' : 'blue';
}

/** What an environment has live. */
export interface LiveRelease extends ReleaseRef {
  readonly slot: Slot;
  /** Number of the deployment (or rollback) that made it live. */
  readonly deployment: number;
  readonly since: string;
}
