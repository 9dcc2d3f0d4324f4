import type { RunRef, SourceEvent } from '../domain/run.ts';
import type { FileSecrets } from '../effects/file-secrets.ts';

/** Longest time that keeping the caches, or the artifacts, of one stage may take, ms; what is not kept by then is not. Judgement. */
export const longestKeepMs = 120_000;

/** What keeping files needs to know of a stage. */
export interface StageFiles {
  readonly run: RunRef;
  readonly commit: string;
  readonly event: Pick<SourceEvent, 'ref' | 'fork'>;
  /** Its caches may be read by every run of the project. */
  readonly releaseBranch: string;
  /** The checkout and HOME, as the stage has them. Hostile: steps have written into both, and those of other stages still may. */
  readonly source: string;
  readonly home: string;
  /** For what is being unpacked: on the same file system, where no step can see it. */
  readonly scratch: string;
  /** Says something in the log of the stage's files. */
  /** Those of the stage and of all before it, which may stand in any file. */
  readonly secrets: FileSecrets;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}
