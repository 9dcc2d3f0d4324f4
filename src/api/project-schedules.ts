import {
  type Client,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleOptions,
  type ScheduleUpdateOptions,
} from '@temporalio/client';
import type { FastifyBaseLogger } from 'fastify';
import { loadProject } from '../definition/load.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { listProjects, readProject } from '../store/projects.ts';
import type { ApiDependencies } from './dependencies.ts';

/** A run is accepted in seconds; what takes longer has no worker. */
const longest = '1 hour';

/**
 * Makes Temporal's schedules of a project those of its document: missing ones are created, known ones updated, those that are gone deleted. One
 * that somebody has paused stays paused. May be done at any time, any number of times.
 */
export async function ensureProjectSchedules(
  client: Client,
  project: ProjectDefinition,
  taskQueue: string,
): Promise<void> {
  const wanted = schedulesOf(project, taskQueue);
  for (const [id, options] of wanted) await ensure(client, id, options);
  // By name, where the names are known: Temporal lists a schedule only some time after it was made.
  for (const kind of upkeepKinds) {
    const id = `${upkeepPrefix}${project.project}/${kind}`;
    if (!wanted.has(id)) await ensureGone(client, id);
  }
  for await (const { scheduleId } of client.schedule.list()) {
    if (scheduleId.startsWith(`schedule/${project.project}/`) && !wanted.has(scheduleId)) {
      await ensureGone(client, scheduleId);
    }
  }
}

async function ensureGone(client: Client, scheduleId: string): Promise<void> {
  try {
    await client.schedule.getHandle(scheduleId).delete();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}

/** Upkeep of a project; that of the installation (`upkeep/…`) is kept by its workers. */
const upkeepPrefix = 'project-upkeep/';
const upkeepKinds = ['scan', 'bases', 'dependencies', 'audit'] as const;

/** All schedules of a project, by their ids. */
function schedulesOf(project: ProjectDefinition, taskQueue: string): ReadonlyMap<string, Options> {
  const { project: name, upkeep, images } = project;
  const wanted = new Map<string, Options>();
  for (const schedule of project.schedules) {
    wanted.set(`schedule/${name}/${schedule.name}`, optionsOf(project, schedule, taskQueue));
  }
  if (upkeep.scan.enabled && images.scan !== undefined) {
    const id = `${upkeepPrefix}${name}/scan`;
    wanted.set(id, upkeepOptions(project, upkeep.scan, { id, workflow: 'scanLive', taskQueue }));
  }
  if (upkeep.bases.enabled) {
    const id = `${upkeepPrefix}${name}/bases`;
    wanted.set(id, upkeepOptions(project, upkeep.bases, { id, workflow: 'offerBaseUpdates', taskQueue }));
  }
  if (upkeep.dependencies.enabled) {
    const id = `${upkeepPrefix}${name}/dependencies`;
    const workflow = 'offerDependencyUpdates';
    wanted.set(id, upkeepOptions(project, upkeep.dependencies, { id, workflow, taskQueue }));
  }
  if (upkeep.audit.enabled) {
    const id = `${upkeepPrefix}${name}/audit`;
    wanted.set(id, upkeepOptions(project, upkeep.audit, { id, workflow: 'reportAudit', taskQueue }));
  }
  return wanted;
}

type Options = Omit<ScheduleOptions, 'scheduleId'> & Omit<ScheduleUpdateOptions, 'state'>;

async function ensure(client: Client, scheduleId: string, options: Options): Promise<void> {
  try {
    await client.schedule.create({ ...options, scheduleId });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(scheduleId).update(({ state }) => {
      const { paused, note, remainingActions } = state;
      return {
        ...options,
        state: {
          paused,
          ...(note === undefined ? {} : { note }),
          ...(remainingActions === undefined ? {} : { remainingActions }),
        },
      };
    });
  }
}

function optionsOf(
  project: ProjectDefinition,
  { name, cron, timeZone, catchUp }: ProjectDefinition['schedules'][number],
  taskQueue: string,
): Options {
  return {
    spec: { cronExpressions: [cron], timezone: timeZone ?? project.calendar.timeZone },
    action: {
      type: 'startWorkflow',
      workflowType: 'startScheduledRun',
      workflowId: `schedule/${project.project}/${name}`,
      args: [{ project: project.project, schedule: name }],
      taskQueue,
      workflowExecutionTimeout: longest,
      staticSummary: `${project.project}: ${name}`,
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: catchUp },
  };
}

/** What takes longer is ended; the next one begins anew. */
const longestUpkeep = '2 hours';

function upkeepOptions(
  project: ProjectDefinition,
  { cron, timeZone, catchUp }: { readonly cron: string; readonly timeZone?: string; readonly catchUp: number },
  { id, workflow, taskQueue }: { readonly id: string; readonly workflow: string; readonly taskQueue: string },
): Options {
  return {
    spec: { cronExpressions: [cron], timezone: timeZone ?? project.calendar.timeZone },
    action: {
      type: 'startWorkflow',
      workflowType: workflow,
      workflowId: id,
      args: [{ project: project.project }],
      taskQueue,
      workflowExecutionTimeout: longestUpkeep,
      staticSummary: `upkeep of ${project.project}`,
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: catchUp },
  };
}

/** Keeps the schedules of projects in Temporal, which may be away when a document is put in force. */
export interface ScheduleKeeper {
  /** Begins to do so and returns. */
  keep(project: ProjectDefinition): void;
  /** All projects that have schedules, at boot: Temporal may have lost them, or another version of them made. */
  begin(): void;
  /** Waits for what is being done. */
  end(): Promise<void>;
}

const againMs = 30_000;

export function createScheduleKeeper(
  { store, temporal, settings }: Pick<ApiDependencies, 'store' | 'temporal' | 'settings'>,
  log: FastifyBaseLogger,
): ScheduleKeeper {
  /** Newest document of each project that Temporal does not know yet. */
  const waiting = new Map<string, ProjectDefinition>();
  let working: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let ended = false;

  /** Ends when nothing is left but what could not be done; that is tried again later. */
  async function work(): Promise<void> {
    const failed = new Set<ProjectDefinition>();
    for (;;) {
      // Looked for anew each time: a newer document may have come meanwhile.
      const next = [...waiting].find(([, project]) => !failed.has(project));
      if (next === undefined || ended) break;
      const [name, project] = next;
      try {
        await ensureProjectSchedules(temporal, project, settings.taskQueue);
        if (waiting.get(name) === project) waiting.delete(name);
      } catch (error) {
        failed.add(project);
        log.warn({ err: error, project: name }, 'the schedules of a project could not be kept yet');
      }
    }
    // In the same moment as the last look: what comes from now on begins anew.
    working = undefined;
    if (waiting.size > 0 && !ended) timer = setTimeout(go, againMs).unref();
  }

  function go(): void {
    if (ended || working !== undefined) return;
    clearTimeout(timer);
    working = Promise.resolve().then(work);
  }

  return {
    keep(project) {
      waiting.set(project.project, project);
      go();
    },
    begin() {
      void listProjects(store.db)
        .then(async (all) => {
          for (const { name } of all) {
            const stored = await readProject(store.db, name);
            const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
            if (loaded?.ok === true && schedulesOf(loaded.value, settings.taskQueue).size > 0) {
              waiting.set(name, loaded.value);
            }
          }
          if (waiting.size > 0) go();
        })
        .catch((error: unknown) => log.warn({ err: error }, 'the schedules of projects could not be read'));
    },
    async end() {
      ended = true;
      clearTimeout(timer);
      await working;
    },
  };
}
