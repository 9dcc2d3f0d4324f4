import type { ArtifactDependencies } from '../activities/artifacts.ts';
import type { CacheDependencies, CacheIndex } from '../activities/caches.ts';
import type { KeptFileRecords } from '../activities/kept-files.ts';
import type { PackageDependencies } from '../activities/packages.ts';
import {
  findCache,
  forgetCache,
  listExpiredArtifacts,
  markArtifactRemoved,
  putCache,
  readArtifactBlobs,
  readCacheBlobs,
  readExpiredBlobs,
  trimCaches,
} from '../store/kept-files.ts';
import type { Store } from '../store/store.ts';
import type { FactSpool } from './facts.ts';

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

/** What the retention asks and tells the store. */
export function createKeptFileRecords({ db }: Pick<Store, 'db'>): KeptFileRecords {
  return {
    listExpired: (project) => listExpiredArtifacts(db, project),
    readExpiredBlobs: (artifact) => readExpiredBlobs(db, artifact),
    markRemoved: (artifact) => markArtifactRemoved(db, artifact),
    readArtifactBlobs: (project, run) => readArtifactBlobs(db, project, run),
    trimCaches: (project, totalBytes) => trimCaches(db, project, totalBytes),
    readCacheBlobs: (project) => readCacheBlobs(db, project),
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

/** Tells of artifacts. */
export function recordArtifactsTo(spool: FactSpool): ArtifactDependencies['record'] {
  return ({ run, stage, name, files, entry = null, sizeBytes, at, expiresAt }) =>
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
}
