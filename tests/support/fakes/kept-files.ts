import type { KeptCache } from '../../../src/activities/caches.ts';
import type { ArtifactName, KeptFileRecords } from '../../../src/activities/kept-files.ts';
import type { ArtifactRecord } from '../../../src/store/kept-files.ts';

export interface MemoryKeptFiles extends KeptFileRecords {
  /** As it is told of by the store's `recordArtifact`. */
  record(artifact: ArtifactRecord): void;
  /** The one used last is put last. */
  putCache(cache: KeptCache): void;
  /** The run is over. */
  endRun(project: string, run: number): void;
}

/** What is on record of files that stages keep, in memory; the contract suite of the store's own runs over it too. */
export function createMemoryKeptFiles(): MemoryKeptFiles {
  const artifacts = new Map<string, ArtifactRecord & { removed: boolean }>();
  const ended = new Set<string>();
  let caches: KeptCache[] = [];
  const keyOf = ({ project, run, stage, name }: ArtifactName): string => [project, run, stage, name].join('/');
  const isExpired = ({ removed, expiresAt }: { readonly removed: boolean; readonly expiresAt: string }): boolean =>
    !removed && Date.parse(expiresAt) <= Date.now();
  const expired = (artifact: ArtifactName) => {
    const found = artifacts.get(keyOf(artifact));
    return found !== undefined && isExpired(found) ? found : undefined;
  };
  return {
    record: (artifact) => void artifacts.set(keyOf(artifact), { ...artifact, removed: false }),
    putCache: (cache) => void caches.push(cache),
    endRun: (project, run) => void ended.add(`${project}/${run}`),
    listExpired(project) {
      const mine = [...artifacts.values()].filter((one) => one.project === project && isExpired(one));
      return Promise.resolve(mine.sort((a, b) => Date.parse(a.expiresAt) - Date.parse(b.expiresAt)));
    },
    readExpiredBlobs: (artifact) => Promise.resolve(expired(artifact)?.files.map(({ blob }) => blob) ?? []),
    markRemoved(artifact) {
      const found = expired(artifact);
      if (found !== undefined) found.removed = true;
      return Promise.resolve();
    },
    readArtifactBlobs(project, run) {
      if (!ended.has(`${project}/${run}`)) return Promise.resolve(undefined);
      const mine = [...artifacts.values()].filter((one) => one.project === project && one.run === run && !one.removed);
      return Promise.resolve(mine.flatMap(({ files }) => files.map(({ blob }) => blob)));
    },
    trimCaches(project, totalBytes) {
      let together = 0;
      const loose = caches
        .filter((cache) => cache.project === project)
        .reverse()
        .filter(({ sizeBytes }) => (together += sizeBytes) > totalBytes);
      caches = caches.filter((cache) => !loose.includes(cache));
      return Promise.resolve(loose.map(({ blob, sizeBytes }) => ({ blob, sizeBytes })));
    },
    readCacheBlobs: (project) =>
      Promise.resolve(caches.filter((cache) => cache.project === project).map(({ blob }) => blob)),
  };
}
