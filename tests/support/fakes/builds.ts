import type { BuiltHere, KnownBuild, KnownBuilds, KnownLists } from '../../../src/activities/image-work.ts';
import type { ImageReport, RunRef } from '../../../src/domain/run.ts';

/** What was built, in memory: the contract of `KnownBuilds` holds for it as for the store. */
export function createMemoryBuilds(): KnownBuilds {
  const pushed: KnownBuild[] = [];
  const built: BuiltHere[] = [];
  const at = (project: string, key: string): number =>
    pushed.findIndex((build) => build.project === project && build.key === key);
  return {
    listBuilt: (project, key) =>
      Promise.resolve(
        built
          .filter((each) => each.project === project && each.key === key)
          .map(({ id }) => id)
          .reverse(),
      ),
    recordBuilt(build) {
      const { project, key, id } = build;
      if (!built.some((each) => each.project === project && each.key === key && each.id === id)) built.push(build);
      return Promise.resolve();
    },
    find: (project, key) => Promise.resolve(pushed[at(project, key)]),
    latest: (project, name) =>
      Promise.resolve(pushed.findLast((build) => build.project === project && build.name === name)),
    record(build) {
      if (at(build.project, build.key) < 0) pushed.push(build);
      return Promise.resolve();
    },
    forget(project, key) {
      const index = at(project, key);
      if (index >= 0) pushed.splice(index, 1);
      return Promise.resolve();
    },
  };
}

/** What runs have listed, in memory: the contract of `KnownLists` holds for it as for the store. */
export function createMemoryLists(): KnownLists & {
  /** As a run writes its images down. */
  record(run: Pick<RunRef, 'project' | 'number'>, images: readonly ImageReport[]): void;
} {
  const known: { readonly project: string; readonly run: number; readonly image: ImageReport }[] = [];
  return {
    record({ project, number: run }, images) {
      for (const image of images) known.push({ project, run, image });
    },
    find({ project, repository, digest, method }) {
      const found = known
        .filter((each) => each.project === project && each.image.repository === repository)
        .filter(({ image: { digest: of, evidence } }) => {
          const list = evidence?.list ?? evidence?.platforms?.[0]?.list;
          return of === digest && list?.method === method;
        })
        .sort((a, b) => b.run - a.run)[0];
      const { evidence } = found?.image ?? {};
      return Promise.resolve(
        found === undefined || evidence === undefined
          ? undefined
          : { run: found.run, name: found.image.name, evidence },
      );
    },
  };
}
