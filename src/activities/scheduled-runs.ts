import { loadProject } from '../definition/load.ts';
import { runKeyOf } from '../definition/run-key.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import { acceptRun } from '../store/inbox.ts';
import { readProject } from '../store/projects.ts';
import type { Store } from '../store/store.ts';
import type { ScheduleActivities } from './contracts.ts';
import { repositoryAddress, type ReadSecret } from './secrets.ts';

export interface ScheduledRunDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly repositories: Pick<SourceRepository, 'resolveRef'>;
  readonly readSecret: ReadSecret;
}

const heartbeatMs = 300;

/** Accepts what a schedule asks for; the API starts what is accepted. */
export function createScheduledRunActivities(deps: ScheduledRunDependencies): ScheduleActivities {
  async function accept(name: string, schedule: string, occasion: string, signal: AbortSignal): Promise<number | null> {
    const stored = await readProject(deps.store.db, name);
    const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
    if (loaded?.ok !== true) throw new ProviderError('NotFound', `There is no project ${name}.`);
    const project = loaded.value;
    const found = project.schedules.find((one) => one.name === schedule);
    if (found === undefined) return null;
    const ref = `refs/heads/${found.branch ?? project.repository.releaseBranch}`;
    const address = await repositoryAddress(project, deps.readSecret);
    const after = await deps.repositories.resolveRef(address, ref, signal);
    if (after === undefined) throw new ProviderError('CommitNotFound', `The repository of ${name} has no ${ref}.`);
    const { number } = await acceptRun(deps.store.db, {
      project: name,
      key: runKeyOf(`schedule ${occasion}`),
      event: { kind: 'schedule', ref, before: '0'.repeat(40), after, author: `schedule ${schedule}` },
      acceptedAt: new Date().toISOString(),
      checksOnly: true,
      ...(Object.keys(found.parameters).length === 0 ? {} : { parameters: found.parameters }),
    });
    return number;
  }

  return {
    async acceptScheduledRun({ project, schedule, occasion }) {
      try {
        return await withHeartbeat(
          heartbeatMs,
          (signal) => accept(project, schedule, occasion, signal),
          undefined,
          Infinity,
        );
      } catch (error) {
        throw toFailure(error);
      }
    },
  };
}
