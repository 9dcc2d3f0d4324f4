import type { ArtifactDependencies } from '../activities/artifacts.ts';
import type { CacheDependencies, CacheIndex } from '../activities/caches.ts';
import type { PackageDependencies } from '../activities/packages.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { expireArtifacts, findCache, forgetCache, forgetOldCacheUses, putCache } from '../store/kept-files.ts';
import type { Store } from '../store/store.ts';
import type { FactSpool } from './facts.ts';

/** Artifacts whose time is over are looked for this often at most, ms; whoever keeps a new one does it. Judgement. */
const sweepEveryMs = 600_000;

/** Which caches there are. What the store cannot say is no cache; nothing fails for it. */
export function createCacheIndex({ db }: Store, onError: (error: unknown) => void): CacheIndex {
  return {
    find: (wanted) =>
      findCache(db, wanted).catch((error: unknown) => {
        onError(error);
        return undefined;
      }),
    put: ({ project, scope, name, key, blob, sizeBytes }, totalBytes) =>
      putCache(db, { project, scope, name, key, blob, sizeBytes }, totalBytes),
    forget: ({ blob }) => forgetCache(db, blob).catch(onError),
  };
}

/** Tells of uses of caches. */
export function recordCacheUsesTo(spool: FactSpool): CacheDependencies['recordUse'] {
  return ({ run, stage, cache, hit, sizeBytes, durationMs, at }) =>
    spool.record(`cache-use/${run.project}/${run.number}/${stage}/${cache}/${at}`, {
      kind: 'cache-use',
      use: { project: run.project, run: run.number, stage, cache, hit, sizeBytes, durationMs, at },
    });
}

/** Tells of what was published, file by file. */
export function recordPackagesTo(spool: FactSpool): PackageDependencies['record'] {
  return (run, published) =>
    spool.record(`package/${run.project}/${run.number}/${published.package}/${published.file}`, {
      kind: 'package',
      run,
      published,
    });
}

/** Tells of artifacts, and removes those whose time is over. */
export function recordArtifactsTo(
  spool: FactSpool,
  { db }: Store,
  blobs: BlobStore,
  onError: (error: unknown) => void,
): ArtifactDependencies['record'] {
  let sweptAt = -Infinity;
  async function sweep(): Promise<void> {
    const loose = await expireArtifacts(db);
    for (const blob of loose) await blobs.remove(blob);
    await forgetOldCacheUses(db);
  }
  return ({ run, stage, name, files, entry = null, sizeBytes, at, expiresAt }) => {
    spool.record(`artifact/${run.project}/${run.number}/${stage}/${name}/${at}`, {
      kind: 'artifact',
      artifact: {
        project: run.project,
        run: run.number,
        stage,
        name,
        files,
        entry,
        sizeBytes,
        createdAt: at,
        expiresAt,
      },
    });
    if (performance.now() - sweptAt < sweepEveryMs) return;
    sweptAt = performance.now();
    void sweep().catch(onError);
  };
}
