import { log } from '@temporalio/activity';
import { loadProject } from '../definition/load.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { routesOf } from '../definition/routes.ts';
import { runKey } from '../definition/run-key.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { routeEvent } from '../domain/routing.ts';
import type { SourceEvent } from '../domain/run.ts';
import { asksToSkip } from '../domain/skip.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import type { RemoteRef, RepositoryAddress, SourceRepository } from '../providers/repositories/port.ts';
import { acceptRun } from '../store/inbox.ts';
import { listProjects, readProject } from '../store/projects.ts';
import { readRefsSeen, recordRefsSeen, runsOfRef } from '../store/refs-seen.ts';
import type { Store } from '../store/store.ts';
import type { PollActivities, PollReport } from './contracts.ts';
import { repositoryAddress, type ReadSecret } from './secrets.ts';

export interface PollDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly repositories: Pick<SourceRepository, 'listRefs' | 'ensureCommit'>;
  readonly readSecret: ReadSecret;
}

const heartbeatMs = 300;
const noCommit = '0'.repeat(40);
/** Refs of one look that a run may be of; the same number as of one webhook. The others come with the next look. */
const mostRefs = 50;

/** Looks at repositories for what no webhook told. Runs are only accepted here: the API starts what is accepted. */
export function createPollActivities(deps: PollDependencies): PollActivities {
  async function find(name: string): Promise<ProjectDefinition | undefined> {
    const stored = await readProject(deps.store.db, name);
    const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
    return loaded?.ok === true ? loaded.value : undefined;
  }

  async function poll(name: string, signal: AbortSignal): Promise<PollReport> {
    const project = await find(name);
    if (project === undefined) throw new ProviderError('NotFound', `There is no project ${name}.`);
    const repository = await repositoryAddress(project, deps.readSecret);
    const [refs, seen] = await Promise.all([
      deps.repositories.listRefs(repository, signal),
      readRefsSeen(deps.store.db, name),
    ]);
    const moved = refs.filter(({ ref, value }) => seen?.get(ref) !== value);
    const present = new Set(refs.map(({ ref }) => ref));
    const gone = [...(seen?.keys() ?? [])].filter((ref) => !present.has(ref));
    // All of them are new the first time, and none of them just happened.
    const wanted = seen === undefined ? [] : moved.filter((one) => isWanted(project, one));
    const later = new Set(wanted.slice(mostRefs).map(({ ref }) => ref));
    const accepted: { readonly ref: string; readonly run: number }[] = [];
    const unreadable: { readonly ref: string; readonly why: string }[] = [];
    for (const one of wanted.slice(0, mostRefs)) {
      try {
        const run = await accept(project, repository, one, seen?.get(one.ref), signal);
        if (run !== undefined) accepted.push({ ref: one.ref, run });
      } catch (error) {
        // No later look would find a commit there either, and the refs behind it would never be reached.
        if (!(error instanceof ProviderError && error.type === 'CommitNotFound')) throw error;
        unreadable.push({ ref: one.ref, why: error.message });
        log.warn('a ref was seen that no run can be of', { project: name, ref: one.ref, reason: error.message });
      }
    }
    if (later.size > 0) log.warn('refs are left for the next look', { project: name, refs: later.size });
    // After the runs: what is not accepted yet is still new to the next look.
    await recordRefsSeen(deps.store.db, name, {
      moved: new Map(moved.filter(({ ref }) => !later.has(ref)).map(({ ref, value }) => [ref, value])),
      gone,
    });
    return {
      refs: refs.length,
      moved: moved.length,
      accepted,
      ...(later.size === 0 ? {} : { later: later.size }),
      ...(unreadable.length === 0 ? {} : { unreadable }),
    };
  }

  /** @returns the number of a run that nobody had asked for; undefined when there is nothing to run, or it is known. */
  async function accept(
    project: ProjectDefinition,
    repository: RepositoryAddress,
    { ref, value, commit }: RemoteRef,
    before: string | undefined,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const kind = kindOf(ref);
    const place = { project: project.project, kind, ref };
    const { known, last } = await runsOfRef(deps.store.db, place, [value, commit]);
    if (known) return undefined;
    // Who pushed is told by no repository; the author of the commit is who must not approve it.
    const { author, message } = await deps.repositories.ensureCommit({ repository, commit, ref, signal });
    if (asksToSkip(kind, message)) return undefined;
    // As the webhook would have it: from where the last run left off.
    const event = { kind, ref, before: last ?? before ?? noCommit, after: commit, author, message };
    const { number, created } = await acceptRun(deps.store.db, {
      project: project.project,
      key: runKey(event),
      event,
      acceptedAt: new Date().toISOString(),
    });
    return created ? number : undefined;
  }

  return {
    async readPolled() {
      try {
        const names = (await listProjects(deps.store.db)).map(({ name }) => name);
        const found = await Promise.all(names.map(async (name) => ({ name, project: await find(name) })));
        return found.filter(({ project }) => project?.repository.poll === true).map(({ name }) => name);
      } catch (error) {
        throw toFailure(error);
      }
    },
    async pollRepository({ project }) {
      try {
        return await withHeartbeat(heartbeatMs, (signal) => poll(project, signal), undefined, Infinity);
      } catch (error) {
        throw toFailure(error);
      }
    },
  };
}

function kindOf(ref: string): Extract<SourceEvent['kind'], 'tag' | 'push'> {
  return ref.startsWith('refs/tags/') ? 'tag' : 'push';
}

/** Whether a route takes it: a ref that none is for neither counts nor is read. */
function isWanted(project: ProjectDefinition, { ref, commit }: RemoteRef): boolean {
  return routeEvent({ kind: kindOf(ref), ref, after: commit }, routesOf(project)).kind === 'run';
}
