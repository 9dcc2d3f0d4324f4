/**
 * `expand`: the previous release goes on working. `reversible`: has a down migration. `contract`: the previous release breaks.
 */
export type MigrationKind = 'expand' | 'reversible' | 'contract';

export interface MigrationRef {
  /** File name without folder; the order is the order of the names. */
  readonly name: string;
  /** SHA-256 of the file. */
  readonly checksum: string;
  readonly kind: MigrationKind;
}

export type MigrationPhase = 'before-switch' | 'after-start' | 'after-switch';
