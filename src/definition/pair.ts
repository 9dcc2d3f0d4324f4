import { createHash } from 'node:crypto';
import { canonical } from './canonical.ts';
import type { ProjectDefinition } from './project.ts';
import type { RepositoryDefinition } from './repository.ts';

/** Both documents of a run, checked against each other. */
export interface DefinitionPair {
  readonly repository: RepositoryDefinition;
  readonly project: ProjectDefinition;
  /** What people wrote, without defaults: this is what is stored and hashed. */
  readonly source: DefinitionSource;
}

/** The two documents as plain data, before defaults. */
export interface DefinitionSource {
  readonly repository: unknown;
  readonly project: unknown;
}

/**
 * The text under which a pair is stored; {@link hashDefinition} is its SHA-256. `reviveDefinition` of `load.ts` reads it.
 *
 * It holds what was written and no defaults: comments and order do not change the hash, and neither does an update of Slipway in the
 * middle of an approval. Settings that a later Slipway adds get their defaults when the text is read.
 */
export function serialiseDefinition(pair: Pick<DefinitionPair, 'source'>): string {
  return canonical(pair.source);
}

/** SHA-256 over the RFC 8785 form of what was written, 64 hexadecimal characters. */
export function hashDefinition(pair: Pick<DefinitionPair, 'source'>): string {
  return createHash('sha256').update(serialiseDefinition(pair)).digest('hex');
}
