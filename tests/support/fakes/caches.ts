import type { CacheIndex, KeptCache } from '../../../src/activities/caches.ts';

/** Which caches there are, in memory; the contract suite of the store's own runs over it too. */
export function createMemoryCacheIndex(): CacheIndex {
  // The one used last is the last.
  let kept: KeptCache[] = [];
  return {
    find({ project, scopes, name, key, fallback }) {
      const mine = kept.filter((cache) => cache.project === project && cache.name === name);
      const exact = scopes.map((scope) => mine.find((cache) => cache.scope === scope && cache.key === key));
      const newest = scopes.map((scope) => mine.findLast((cache) => cache.scope === scope));
      const found = [...exact, ...(fallback ? newest : [])].find((cache) => cache !== undefined);
      if (found !== undefined) kept = [...kept.filter((cache) => cache !== found), found];
      return Promise.resolve(found);
    },
    put(cache, totalBytes) {
      const same = kept.filter((one) =>
        (['project', 'scope', 'name', 'key'] as const).every((part) => one[part] === cache[part]),
      );
      kept = [...kept.filter((one) => !same.includes(one)), cache];
      const loose = [...same];
      let together = 0;
      for (const one of kept.filter(({ project }) => project === cache.project).reverse()) {
        together += one.sizeBytes;
        if (together > totalBytes) loose.push(one);
      }
      kept = kept.filter((one) => !loose.includes(one));
      return Promise.resolve(loose.map(({ blob }) => blob));
    },
    forget(cache) {
      kept = kept.filter(({ blob }) => blob !== cache.blob);
      return Promise.resolve();
    },
  };
}
