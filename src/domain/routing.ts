import type { Priority } from './deployment.ts';
import { matchesPath, matchesRef } from './glob.ts';
import type { BuildImages, SourceEvent } from './run.ts';
import type { RunMode } from './run-turn.ts';

/** One row of a project's routing table. */
export interface Route {
  readonly on: SourceEvent['kind'];
  /** Pattern over the short ref: `*` anything but `/`, `**` anything, `?` one character, `{a,b}` either. */
  readonly ref: string;
  readonly buildImages: BuildImages;
  /** Groups of images that are built, beside those without one; every group when absent. */
  readonly imageGroups?: readonly string[];
  /** Indexes that packages are published to; none when absent. */
  readonly publish?: readonly string[];
  /** Deployed to, in this order; none: checks only. */
  readonly environments: readonly string[];
  readonly priority: Priority;
  /** Shortens the watch of every environment that is not production; never an approval. */
  readonly emergency?: true;
  /** Pattern over the branch that a pull request goes into; every one when absent. */
  readonly into?: string;
  /** Only when each of these parameters of the run has one of the values; whatever they are when absent. */
  readonly parameters?: Readonly<Record<string, readonly string[]>>;
  /** What a run does about those of its ref that still go on; `parallel` when absent. */
  readonly runs?: RunMode;
  /** Only when one of the changed paths matches one of these; every change when absent. */
  readonly paths?: readonly string[];
  /** Paths that count as no change. */
  readonly ignorePaths?: readonly string[];
}

/** What is known of the parameters of a run. */
export interface KnownParameters {
  readonly values: Readonly<Record<string, string>>;
  /** False before its commit was read, which says what is taken for those that were not given. */
  readonly complete: boolean;
}

/** What an event leads to. What is ignored is answered with 202 all the same, and with this reason. */
export type RouteDecision =
  | { readonly kind: 'run'; readonly route: Route; readonly index: number; readonly ref: string }
  | {
      readonly kind: 'ignored';
      readonly reason: 'deleted' | 'unknown-ref' | 'no-route' | 'no-path' | 'no-parameter';
      readonly why: string;
    };

/** Where refs lie, and how much of them people leave out. Anything else in a repository (notes, replacements) starts nothing. */
const namespaces: readonly { readonly prefix: string; readonly on: SourceEvent['kind']; readonly unsaid: string }[] = [
  { prefix: 'refs/heads/', on: 'push', unsaid: 'refs/heads/' },
  { prefix: 'refs/tags/', on: 'tag', unsaid: 'refs/tags/' },
  { prefix: 'refs/pull/', on: 'pull-request', unsaid: 'refs/' },
];

/**
 * Finds the first route that an event matches, in the order of the table.
 *
 * An event by hand goes the way of a push of its branch or tag, unless a route for `manual` comes before that; one by schedule always does.
 *
 * @param changed - the paths that changed, where all of them are known. Unknown, a route with paths is taken: rather once too often than
 * not at all. A tag and a run by hand are of the whole repository.
 * @param parameters - as far as they are known; a route is taken that may yet turn out to ask for others.
 */
export function routeEvent(
  event: Pick<SourceEvent, 'kind' | 'ref' | 'after' | 'into'>,
  routes: readonly Route[],
  changed?: readonly string[],
  parameters: KnownParameters = { values: {}, complete: false },
): RouteDecision {
  if (/^0+$/.test(event.after)) {
    return { kind: 'ignored', reason: 'deleted', why: `${event.ref} was deleted; there is nothing to run.` };
  }
  const namespace = namespaces.find(({ prefix }) => event.ref.startsWith(prefix) && event.ref.length > prefix.length);
  const isAsked = event.kind === 'manual' || event.kind === 'schedule';
  if (namespace === undefined || (!isAsked && event.kind !== namespace.on)) {
    return {
      kind: 'ignored',
      reason: 'unknown-ref',
      why: `${event.ref} is no ref of a ${event.kind}.`,
    };
  }
  const ref = event.ref.slice(namespace.unsaid.length);
  const kinds = event.kind === 'manual' ? ['manual', namespace.on] : [namespace.on];
  const fits = (route: Route): boolean =>
    kinds.includes(route.on) && matchesRef(route.ref, ref) && goesInto(route, event.into);
  const known = event.kind === 'push' || event.kind === 'pull-request' ? changed : undefined;
  const isFor = (route: Route): boolean => fits(route) && hasParameters(route, parameters);
  const index = routes.findIndex((route) => isFor(route) && touches(route, known));
  const route = routes[index];
  if (route === undefined) {
    if (routes.some(fits) && !routes.some(isFor)) {
      return { kind: 'ignored', reason: 'no-parameter', why: otherParameters(ref, routes.filter(fits), parameters) };
    }
    if (routes.some(fits)) {
      return {
        kind: 'ignored',
        reason: 'no-path',
        why: `None of the ${known?.length ?? 0} changed paths is one that a route for ${ref} looks at.`,
      };
    }
    return { kind: 'ignored', reason: 'no-route', why: `No route of the project is for a ${event.kind} of ${ref}.` };
  }
  return { kind: 'run', route, index, ref };
}

/** A forge that does not say where a pull request goes is believed to mean any branch. */
function goesInto({ into }: Route, branch: string | undefined): boolean {
  return into === undefined || branch === undefined || matchesRef(into, branch);
}

function hasParameters({ parameters = {} }: Route, { values, complete }: KnownParameters): boolean {
  return Object.entries(parameters).every(([name, wanted]) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    return value === undefined ? !complete : wanted.includes(value);
  });
}

function otherParameters(ref: string, routes: readonly Route[], { values }: KnownParameters): string {
  const names = [...new Set(routes.flatMap(({ parameters = {} }) => Object.keys(parameters)))];
  const said = names.map(
    (name) => `${name} ${Object.hasOwn(values, name) ? `\`${values[name] ?? ''}\`` : 'not given'}`,
  );
  return `No route for ${ref} is for these parameters: ${said.join(', ')}.`;
}

function touches({ paths, ignorePaths }: Route, changed: readonly string[] | undefined): boolean {
  if (changed === undefined || (paths === undefined && ignorePaths === undefined)) return true;
  return changed.some(
    (path) =>
      (paths === undefined || paths.some((pattern) => matchesPath(pattern, path))) &&
      !ignorePaths?.some((pattern) => matchesPath(pattern, path)),
  );
}

/** How much a deployment presses: what the route says that its run went by. */
export type Urgency = Pick<Route, 'priority' | 'emergency'>;

export function urgencyOf({ priority, emergency }: Urgency): Urgency {
  return { priority, ...(emergency === undefined ? {} : { emergency }) };
}

/** Whether the code may be anybody's: of a pull request from a fork, and of one of which nobody says that it is none. */
export function isForeign({ kind, ref, fork }: Pick<SourceEvent, 'kind' | 'ref' | 'fork'>): boolean {
  return fork ?? (kind === 'pull-request' || ref.startsWith('refs/pull/'));
}

/** What a route leaves to code that may be anybody's: it may be built, and neither leaves the worker nor gets to what an environment has. */
export function foreignRoute(route: Route): Route {
  return { ...route, environments: [], buildImages: route.buildImages === 'push' ? 'build' : route.buildImages };
}

/** Whether a route can be told from others only by what changed. */
export function asksForPaths(routes: readonly Route[]): boolean {
  return routes.some(({ paths, ignorePaths }) => paths !== undefined || ignorePaths !== undefined);
}
