import { type KeptBlob, runOfArtifact, unnamedBlobs } from '../domain/retention.ts';
import type { BlobStore } from '../providers/blobs/port.ts';

/** An artifact, as one says which. */
export interface ArtifactName {
  readonly project: string;
  readonly run: number;
  readonly stage: string;
  readonly name: string;
}

/** What is on record of files that stages keep. */
export interface KeptFileRecords {
  /** Artifacts of a project whose time is over and whose files may still be there, the oldest first. */
  listExpired(project: string): Promise<readonly (ArtifactName & { readonly sizeBytes: number })[]>;
  /** Blobs of such an artifact; none of one that was told of anew since. */
  readExpiredBlobs(artifact: ArtifactName): Promise<readonly string[]>;
  /** Its blobs are gone. One that was told of anew since stays. */
  markRemoved(artifact: ArtifactName): Promise<void>;
  /** Blobs that artifacts of a run name; undefined where nobody knows the run, or it is not over. */
  readArtifactBlobs(project: string, run: number): Promise<readonly string[] | undefined>;
  /** Forgets caches that were not used for longest until all of the project fit. @returns blobs that nobody names any more. */
  trimCaches(
    project: string,
    totalBytes: number,
  ): Promise<readonly { readonly blob: string; readonly sizeBytes: number }[]>;
  readCacheBlobs(project: string): Promise<readonly string[]>;
}

export interface KeptFileRetention {
  readonly project: string;
  /** Of all caches together; absent: nothing is said of it. */
  readonly cachesBytes?: number;
}

/** What the retention lends to whoever removes something for it. */
export interface RetentionHands {
  /** Before it is done. */
  readonly tell: (what: string, things: readonly RemovedThing[]) => Promise<void>;
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

export interface RemovedThing {
  readonly name: string;
  readonly sizeBytes: number;
}

export interface RemovedFiles {
  readonly things: readonly RemovedThing[];
  /** Why something stays that could have gone; the next round finds it again. */
  readonly left?: string;
}

const dayMs = 86_400_000;
/**
 * How old files of an artifact must be before it counts that nothing names them, ms: what tells of an artifact waits on the disk of its worker
 * while the store is away, and as long as its key is kept (`forgetOldFacts`) it may still come.
 */
const lateArtifactMs = 30 * dayMs;
/** Of a cache: its worker puts it on record at once, or gives it up after two minutes. Judgement. */
const lateCacheMs = dayMs;

/**
 * Removes artifacts whose time is over, caches beyond what the project keeps, and files of both that nothing names. What cannot be removed keeps
 * nothing else from going, and stays on record or unnamed until the next round.
 */
export async function removeKeptFiles(
  { records, blobs }: { readonly records: KeptFileRecords; readonly blobs: Pick<BlobStore, 'list' | 'remove'> },
  { project, cachesBytes }: KeptFileRetention,
  { tell, signal, progress }: RetentionHands,
): Promise<RemovedFiles> {
  const things: RemovedThing[] = [];
  const failures: string[] = [];

  /** @returns whether all of them are gone. */
  async function remove(keys: readonly string[]): Promise<boolean> {
    let done = true;
    for (const key of keys) {
      signal.throwIfAborted();
      try {
        await blobs.remove(key);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        done = false;
      }
      progress();
    }
    return done;
  }

  async function removeExpired(): Promise<void> {
    const expired = (await records.listExpired(project)).map((artifact) => {
      const { run, stage, name, sizeBytes } = artifact;
      return { artifact, thing: { name: `${project}#${run} ${stage}/${name}`, sizeBytes } };
    });
    if (expired.length === 0) return;
    await tell(
      'artifacts',
      expired.map(({ thing }) => thing),
    );
    for (const { artifact, thing } of expired) {
      // The files first: what is still on record is found again.
      if (!(await remove(await records.readExpiredBlobs(artifact)))) continue;
      await records.markRemoved(artifact);
      things.push(thing);
    }
  }

  /** @param loose - called by their keys. */
  async function removeAll(what: string, loose: readonly RemovedThing[]): Promise<void> {
    if (loose.length === 0) return;
    await tell(what, loose);
    for (const thing of loose) if (await remove([thing.name])) things.push(thing);
  }

  async function unnamedOfArtifacts(): Promise<readonly RemovedThing[]> {
    const before = new Date(Date.now() - lateArtifactMs);
    const listed = await blobs.list(`artifacts/${project}`);
    const runs = Map.groupBy(
      listed.filter(({ writtenAt }) => writtenAt < before),
      (blob) => runOfArtifact(project, blob),
    );
    const found: RemovedThing[] = [];
    for (const [run, own] of runs) {
      progress();
      // A store that was lost knows neither the run nor what it has left: then nothing is known of what may go.
      const named = run === undefined ? undefined : await records.readArtifactBlobs(project, run);
      if (named !== undefined) found.push(...unnamedBlobs(own, named, before).map(byKey));
    }
    return found;
  }

  async function unnamedOfCaches(): Promise<readonly RemovedThing[]> {
    const listed = await blobs.list(`caches/${project}`);
    const named = await records.readCacheBlobs(project);
    return unnamedBlobs(listed, named, new Date(Date.now() - lateCacheMs)).map(byKey);
  }

  async function removeUnused(mostBytes: number): Promise<void> {
    const loose = await records.trimCaches(project, mostBytes);
    // Unnamed from now on, whatever comes next.
    await removeAll(
      'caches',
      loose.map(({ blob, sizeBytes }) => ({ name: blob, sizeBytes })),
    );
  }

  await removeExpired();
  if (cachesBytes !== undefined) await removeUnused(cachesBytes);
  await removeAll('unnamed', await unnamedOfArtifacts());
  await removeAll('unnamed', await unnamedOfCaches());
  const [first] = failures;
  return first === undefined
    ? { things }
    : { things, left: `${failures.length} files could not be removed and are left for the next time: ${first}` };
}

function byKey({ key, sizeBytes }: KeptBlob): RemovedThing {
  return { name: key, sizeBytes };
}
