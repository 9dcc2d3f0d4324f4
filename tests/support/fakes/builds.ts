import type { BuiltHere, KnownBuild, KnownBuilds } from '../../../src/activities/image-work.ts';

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
