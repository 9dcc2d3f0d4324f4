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
/** Of one look; somebody who moves more branches at once mirrors a repository. The same number as of one webhook. */
const mostRuns = 50;

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
    const moved = refs.filter(({ ref, value }) => seen.get(ref) !== value);
    const present = new Set(refs.map(({ ref }) => ref));
    const gone = [...seen.keys()].filter((ref) => !present.has(ref));
    const accepted: { readonly ref: string; readonly run: number }[] = [];
    // All of them are new the first time, and none of them just happened.
    if (seen.size > 0 && moved.length <= mostRuns) {
      for (const one of moved) {
        const run = await accept(project, repository, one, seen.get(one.ref), signal);
        if (run !== undefined) accepted.push({ ref: one.ref, run });
      }
    }
    // After the runs: what is not accepted yet is still new to the next look.
    await recordRefsSeen(deps.store.db, name, {
      moved: new Map(moved.map(({ ref, value }) => [ref, value])),
      gone,
    });
    return { refs: refs.length, moved: moved.length, accepted };
  }

  /** @returns the number of a run that nobody had asked for; undefined when there is nothing to run, or it is known. */
  async function accept(
    project: ProjectDefinition,
    repository: RepositoryAddress,
    { ref, value, commit }: RemoteRef,
    before: string | undefined,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const kind: SourceEvent['kind'] = ref.startsWith('refs/tags/') ? 'tag' : 'push';
    const place = { project: project.project, kind, ref };
    const { known, last } = await runsOfRef(deps.store.db, place, [value, commit]);
    if (known || routeEvent({ kind, ref, after: commit }, routesOf(project)).kind === 'ignored') return undefined;
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
