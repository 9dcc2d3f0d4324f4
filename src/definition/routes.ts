import type { Route } from '../domain/routing.ts';
import type { RunMode } from '../domain/run-turn.ts';
import type { ProjectDefinition } from './project.ts';

/** The routing table of a project: its own, or the default one, with what was left out filled in. */
export function routesOf(project: ProjectDefinition): readonly Route[] {
  if (project.routes === undefined) return defaultRoutes(project);
  return project.routes.map((route) => ({
    on: route.on,
    ref: route.ref,
    environments: route.environments,
    priority: route.priority,
    ...(route.emergency ? { emergency: true as const } : {}),
    ...(route.imageGroups === undefined ? {} : { imageGroups: route.imageGroups }),
    ...(route.publish === undefined ? {} : { publish: route.publish }),
    ...(route.when === undefined ? {} : { parameters: route.when.parameter }),
    ...(route.into === undefined ? {} : { into: route.into }),
    ...(route.paths === undefined ? {} : { paths: route.paths }),
    ...(route.ignorePaths === undefined ? {} : { ignorePaths: route.ignorePaths }),
    ...modeOf(route.runs ?? project.runs.mode),
    buildImages: route.buildImages ?? (route.environments.length > 0 ? 'push' : 'none'),
  }));
}

function modeOf(runs: RunMode): Pick<Route, 'runs'> {
  return runs === 'parallel' ? {} : { runs };
}

/**
 * Feature branches are checked and built to see that they build, `develop` and `release/…` go to staging, the release branch and versions to
 * production, a hotfix to staging and then production, everything else is checked. An environment that the project does not have is left out: its images are pushed all the same.
 */
function defaultRoutes(project: ProjectDefinition): readonly Route[] {
  const to = (name: string): readonly string[] => (Object.hasOwn(project.environments, name) ? [name] : []);
  const route = (on: Route['on'], ref: string, rest: Pick<Route, 'buildImages' | 'environments'>): Route => ({
    on,
    ref,
    priority: 'routine',
    ...modeOf(project.runs.mode),
    ...rest,
  });
  return [
    route('tag', 'v*.*.*', { buildImages: 'push', environments: to('production') }),
    route('push', project.repository.releaseBranch, { buildImages: 'push', environments: to('production') }),
    {
      ...route('push', 'hotfix/**', { buildImages: 'push', environments: [...to('staging'), ...to('production')] }),
      priority: 'hotfix',
    },
    route('push', 'release/**', { buildImages: 'push', environments: to('staging') }),
    route('push', 'develop', { buildImages: 'push', environments: to('staging') }),
    route('push', 'feature/**', { buildImages: 'validate', environments: [] }),
    route('pull-request', '**', { buildImages: 'none', environments: [] }),
    route('push', '**', { buildImages: 'none', environments: [] }),
  ];
}
