import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import type { CacheSpec, StageSpec } from '../definition/specs/stage.ts';
import { matchesPath } from '../domain/glob.ts';
import { ProviderError } from '../domain/failures.ts';
import type { RunRef } from '../domain/run.ts';
import { type ArchiveLimits, mostArchivedFiles, packPaths, putInside, unpack } from '../effects/archive.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import { type StageFiles, longestKeepMs } from './stage-files.ts';

/** How a cache was found. */
export type CacheHit = 'exact' | 'fallback' | 'miss';

/** A cache that is kept. */
export interface KeptCache {
  readonly project: string;
  /** Whose it is: the ref whose runs may write it. */
  readonly scope: string;
  readonly name: string;
  readonly key: string;
  readonly blob: string;
  readonly sizeBytes: number;
}

/** Which caches there are. Where it does not answer there are none, and nothing fails for it. */
export interface CacheIndex {
  /** Of the scopes in their order: the one with this key, else, where `fallback`, the newest of the name. */
  find(wanted: {
    readonly project: string;
    readonly scopes: readonly string[];
    readonly name: string;
    readonly key: string;
    readonly fallback: boolean;
  }): Promise<KeptCache | undefined>;
  /** @returns blobs that nobody names any more: what was there before, and what was least used where all together are above the limit. */
  put(cache: KeptCache, totalBytes: number): Promise<readonly string[]>;
  forget(cache: KeptCache): Promise<void>;
}

/** For people's eyes: how often caches are found. */
export interface CacheUse {
  readonly run: RunRef;
  readonly stage: string;
  readonly cache: string;
  readonly hit: CacheHit;
  readonly sizeBytes: number;
  readonly durationMs: number;
  readonly at: string;
}

export interface CacheDependencies {
  readonly blobs: BlobStore;
  readonly index: CacheIndex;
  readonly repositories: Pick<SourceRepository, 'listTree'>;
  readonly recordUse: (use: CacheUse) => void;
}

/** Caches of one stage that were looked for. */
export interface RestoredCaches {
  /** Keeps those that were not found as they are wanted. Never throws but for an abort. */
  save(): Promise<void>;
}

/** Files that stages keep from run to run: nothing depends on them, so nothing ever fails for one. */
export interface StageCaches {
  restore(files: StageFiles, spec: StageSpec): Promise<RestoredCaches>;
}

/** How much larger than packed a cache may be, for it is packed by what the repository wrote. Judgement. */
const mostInflation = 8;
const nothing: RestoredCaches = { save: () => Promise.resolve() };

export function createStageCaches(deps: CacheDependencies): StageCaches {
  return {
    async restore(files, spec) {
      if (spec.caches.length === 0) return nothing;
      const wanted: { readonly cache: CacheSpec; readonly key: string }[] = [];
      for (const cache of spec.caches) {
        const key = await keyOf(deps, files, spec, cache);
        if (key === undefined) {
          files.say(`cache ${cache.name}: the commit has no file ${cache.key.join(' or ')}, so it is not used`);
          continue;
        }
        const hit = await restoreOne(deps, files, spec, cache, key);
        if (hit !== 'exact') wanted.push({ cache, key });
      }
      return {
        async save() {
          const until = AbortSignal.timeout(longestKeepMs);
          for (const { cache, key } of wanted) await saveOne(deps, files, cache, key, until);
        },
      };
    },
  };
}

/**
 * By what a cache is found again: the content of the files that it was made from, where it lies, and what it was made in. The files are those
 * of the commit, for what steps have written could differ from run to run. undefined: there are none.
 */
async function keyOf(
  { repositories }: CacheDependencies,
  { run, commit, signal }: StageFiles,
  { steps, matrix }: StageSpec,
  { name, paths, key }: CacheSpec,
): Promise<string | undefined> {
  const tree = await repositories.listTree({ project: run.project, commit, path: '.', signal });
  const found = (tree ?? []).filter(({ path }) => key.some((glob) => matchesPath(glob, path)));
  if (found.length === 0) return undefined;
  const images = steps.map((step) => (step.executor === 'container' ? step.image : 'host'));
  const made = [name, paths, [...new Set(images)], matrix, found.map(({ path, object }) => [path, object])];
  return createHash('sha256').update(JSON.stringify(made)).digest('hex');
}

/** Where runs of a ref keep their caches. A fork has a place of its own, whatever its ref is called. */
function scopeOf({ event }: StageFiles): string {
  return event.fork === true ? `fork:${event.ref}` : event.ref;
}

async function restoreOne(
  deps: CacheDependencies,
  files: StageFiles,
  spec: StageSpec,
  cache: CacheSpec,
  key: string,
): Promise<CacheHit> {
  const { run, signal } = files;
  const began = performance.now();
  let hit: CacheHit = 'miss';
  let kept: KeptCache | undefined;
  try {
    // Its own, then the release branch's: what other branches and forks have written is not to be trusted.
    const scopes = [...new Set([scopeOf(files), `refs/heads/${files.releaseBranch}`])];
    const { project } = run;
    kept = await deps.index.find({ project, scopes, name: cache.name, key, fallback: cache.fallback });
    if (kept !== undefined && (await bringBack(deps, files, cache, kept)))
      hit = kept.key === key ? 'exact' : 'fallback';
  } catch (error) {
    signal.throwIfAborted();
    files.say(`cache ${cache.name}: could not be restored, going on without it: ${messageOf(error)}`);
    // The next run would only find the same.
    if (kept !== undefined && isItsFault(error)) {
      await deps.index.forget(kept);
      await removeLoose(deps, files, cache, [kept.blob]);
    }
  }
  const durationMs = Math.round(performance.now() - began);
  const sizeBytes = hit === 'miss' ? 0 : (kept?.sizeBytes ?? 0);
  files.say(
    hit === 'miss'
      ? `cache ${cache.name}: none for ${key.slice(0, 12)}`
      : `cache ${cache.name}: ${hit === 'exact' ? 'found' : 'found an older one'}, ${sizeBytes} bytes in ${durationMs} ms`,
  );
  deps.recordUse({
    run,
    stage: spec.name,
    cache: cache.name,
    hit,
    sizeBytes,
    durationMs,
    at: new Date().toISOString(),
  });
  return hit;
}

async function bringBack(
  { blobs }: CacheDependencies,
  files: StageFiles,
  cache: CacheSpec,
  kept: KeptCache,
): Promise<boolean> {
  const staging = join(files.scratch, `restore-${randomUUID()}`);
  await mkdir(staging, { recursive: true });
  try {
    await unpack(await blobs.read(kept.blob), staging, limitsOf(cache), files.signal);
    for (const [index, { root, path }] of cache.paths.entries()) {
      const from = join(staging, root, path);
      if (
        !(await stat(from).then(
          () => true,
          () => false,
        ))
      )
        continue;
      const put = await putInside(from, files[root], path, join(staging, `before-${index}`));
      if (!put) files.say(`cache ${cache.name}: ${path} lies behind something that is no folder of its own`);
    }
    return true;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function saveOne(
  deps: CacheDependencies,
  files: StageFiles,
  cache: CacheSpec,
  key: string,
  until: AbortSignal,
): Promise<void> {
  const { run, signal } = files;
  const blob = `caches/${run.project}/${cache.name}/${randomUUID()}`;
  try {
    const paths = cache.paths.map(({ root, path }) => ({ root: files[root], path, as: root }));
    // What is brought back must be what was kept, so nothing is taken out of it; and every run of the project may read the release branch's.
    const packed = packPaths(paths, limitsOf(cache), (content, name) =>
      files.secrets.active ? files.secrets.refused(content, name) : content,
    );
    const counted = packed.pipe(mostBytes(cache.largestBytes));
    packed.on('error', (error) => counted.destroy(error));
    const { sizeBytes } = await deps.blobs.put(blob, counted, { signal: AbortSignal.any([signal, until]) });
    const kept: KeptCache = { project: run.project, scope: scopeOf(files), name: cache.name, key, blob, sizeBytes };
    const loose = await deps.index.put(kept, cache.totalBytes);
    await removeLoose(deps, files, cache, loose);
    files.say(`cache ${cache.name}: kept, ${sizeBytes} bytes`);
  } catch (error) {
    await removeLoose(deps, files, cache, [blob]);
    signal.throwIfAborted();
    files.say(`cache ${cache.name}: not kept: ${messageOf(error)}`);
  }
}

/**
 * Removes blobs that no cache is made of any more: each is of one alone. A run that has just found one goes on without it. What cannot be removed
 * goes with the retention.
 */
async function removeLoose(
  { blobs }: CacheDependencies,
  files: StageFiles,
  cache: CacheSpec,
  loose: readonly string[],
): Promise<void> {
  const tries = await Promise.allSettled(loose.map((blob) => blobs.remove(blob)));
  const failed = tries.filter((one) => one.status === 'rejected');
  const [first] = failed;
  if (first === undefined) return;
  files.say(
    `cache ${cache.name}: ${failed.length} that nobody needs could not be removed, which the retention will do: ${messageOf(first.reason)}`,
  );
}

/** What a machine says that has no room, or no more files; another one can read the same cache. */
const faultsOfMachines: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'EROFS', 'EIO'];

function isItsFault(error: unknown): boolean {
  if (error instanceof ProviderError) return !error.retryable;
  return !(error instanceof Error && 'code' in error && faultsOfMachines.includes(error.code));
}

function limitsOf({ largestBytes }: CacheSpec): ArchiveLimits {
  return { bytes: largestBytes * mostInflation, files: mostArchivedFiles };
}

function mostBytes(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      left -= chunk.length;
      if (left < 0) done(new ProviderError('TooLarge', `it is larger than the ${bytes} bytes that a cache may have`));
      else done(null, chunk);
    },
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
