import { loadProject } from '../definition/load.ts';
import { evidenceFolders, foldersToForget } from '../domain/evidence-files.ts';
import { type BackupFolder, backupsToRemove, imagesToRemove } from '../domain/retention.ts';
import type { Fence } from '../effects/fence.ts';
import { withFenceBeside, withFencesBeside } from '../effects/fence-beside.ts';
import type { LogFiles } from '../effects/log-files.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { ImageBuilder } from '../providers/builders/port.ts';
import type { LeftFile, SourceRepository } from '../providers/repositories/port.ts';
import { appendAudit } from '../store/audit.ts';
import { forgetOldBuiltImages } from '../store/builds.ts';
import { listEnvironments } from '../store/environments.ts';
import { forgetOldEvents } from '../store/events.ts';
import { forgetOldFacts } from '../store/facts.ts';
import { forgetOldDeliveries } from '../store/inbox.ts';
import { forgetOldCacheUses } from '../store/kept-files.ts';
import { listProjects } from '../store/projects.ts';
import { forgetPages } from '../store/reports.ts';
import {
  type OldLog,
  forgetLogs,
  readEndedDeployments,
  readEndedRuns,
  readKeptBuilds,
  readMachines,
  readNeededData,
  readOldLogs,
} from '../store/retention.ts';
import type { Store } from '../store/store.ts';
import { forgetOldRounds } from '../store/upkeep.ts';
import { environmentId } from '../workflows/messages.ts';
import { beating, typed } from './changes.ts';
import type { Removal, RetentionPlan, UpkeepActivities } from './contracts.ts';
import type { Databases } from './databases.ts';
import { type KeptFileRecords, type RemovedThing as Thing, removeKeptFiles } from './kept-files.ts';
import { backupsOf } from './disks.ts';
import type { Place, Places } from './places.ts';
import { placeOf, placesOf } from './project-places.ts';
import { readWorkspaces, removeWorkspace } from './workspaces.ts';

/** The images of one engine. */
export type EngineImages = Pick<ImageBuilder, 'list' | 'discard'>;

export interface UpkeepDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly databases: Databases;
  readonly blobs: BlobStore;
  readonly keptFiles: KeptFileRecords;
  readonly files: LogFiles;
  readonly fence: Fence;
  readonly repositories: Pick<SourceRepository, 'removeLeftovers'>;
  /** The engine that this worker builds with. */
  readonly builder: EngineImages;
  /** The engine that releases of an environment run on. */
  readonly openEngine: (place: Place) => Promise<EngineImages>;
  /** As `prepareRun` has it. */
  readonly workspaces: { readonly folder: string };
}

type Upkeep = Omit<UpkeepActivities, 'readAbandoned' | 'settleAbandoned'>;

/** Who removes what is no longer kept. */
const actor = 'retention';
/** Logs removed by one call. */
const logsAtOnce = 500;
/** Names in an entry of the audit; their number and size are always whole. */
const shownNames = 100;
const dayMs = 86_400_000;
/**
 * Scratch copies and checkouts stay so long after their deployment or run is over, ms: who looks for what went wrong may need them. Judgement.
 */
const leftoverMs = dayMs;
/** A machine that had no checkout for so long is not asked any more, days. Judgement. */
const machineDays = 30;

/** Removes what is no longer kept (B-10). Everything may run twice: what is gone is passed over. */
export function createUpkeepActivities(deps: UpkeepDependencies): Upkeep {
  const { store, blobs, files, fence, databases } = deps;

  /** Before it is done; what cannot be written is not done. */
  async function tell(what: string, object: string, things: readonly Thing[]): Promise<void> {
    const names = things.slice(0, shownNames).map(({ name }) => name);
    const detail = { count: things.length, sizeBytes: sizeOf(things), names };
    await appendAudit(store.db, { actor, action: `retention.${what}`, object, detail });
  }

  return {
    readRetention: () =>
      typed(async (): Promise<RetentionPlan> => {
        const [projects, environments, machines] = await Promise.all([
          listProjects(store.db),
          listEnvironments(store.db),
          readMachines(store.db, machineDays),
        ]);
        const problems: string[] = [];
        const kept = projects.flatMap(({ name, text }) => {
          const loaded = loadProject({ file: 'project.yaml', text });
          if (!loaded.ok) {
            problems.push(`${name}: its project.yaml cannot be read, so everything of it is kept`);
            return [];
          }
          const { runs, backups, damagedDatabases, registry } = loaded.value.retention;
          const { caches } = loaded.value.steps;
          const mine = environments.filter(({ project }) => project === name).map((environment) => environment.name);
          return [
            {
              project: name,
              runs,
              backups,
              damagedDatabasesMs: damagedDatabases,
              cachesBytes: caches.size,
              environments: mine,
              ...(registry === 'remove' ? { registry: true as const } : {}),
            },
          ];
        });
        return { projects: kept, machines, problems };
      }),

    removeOldRows: () =>
      beating(async () => {
        const rows = async (what: string, forget: () => Promise<number>): Promise<Removal> => {
          return { what, count: await forget(), sizeBytes: 0 };
        };
        return [
          await rows('deliveries', () => forgetOldDeliveries(store.db)),
          await rows('keys of facts', () => forgetOldFacts(store.db)),
          await rows('events', () => forgetOldEvents(store.db)),
          await rows('rounds of upkeep', () => forgetOldRounds(store.db)),
          await rows('records of built images', () => forgetOldBuiltImages(store.db)),
          await rows('uses of caches', () => forgetOldCacheUses(store.db)),
        ];
      }),

    removeOldLogs: ({ project, runs }) =>
      beating(async (signal, progress): Promise<Removal> => {
        const what = `logs of ${project}`;
        const old = await readOldLogs(store.db, project, runs, logsAtOnce);
        if (old.length === 0) return { what, count: 0, sizeBytes: 0 };
        await tell('logs', project, byOwner(project, old));
        let sizeBytes = 0;
        for (const { log, blob } of old) {
          signal.throwIfAborted();
          // The bytes first: an index without bytes is found again, bytes without an index are not.
          if (blob !== null) sizeBytes += await files.remove(blob);
          await forgetLogs(store.db, [log]);
          progress();
        }
        return { what, count: old.length, sizeBytes, more: old.length === logsAtOnce };
      }),

    removeOldEvidence: ({ project, runs, cachesBytes }) =>
      beating(async (signal, progress): Promise<Removal> => {
        const what = `evidence, artifacts and caches of ${project}`;
        const lists = await Promise.all(evidenceFolders.map((folder) => blobs.list(`${folder}/${project}`)));
        // Read after the lists: a run that begins meanwhile has nothing in them.
        const { runs: kept } = await readKeptBuilds(store.db, project, runs, await backupsOf(blobs, project));
        const old = foldersToForget(project, lists.flat(), kept);
        const things: Thing[] = old.map(({ prefix, sizeBytes }) => ({ name: prefix, sizeBytes }));
        if (things.length > 0) await tell('evidence', project, things);
        for (const { run, prefix } of old) {
          signal.throwIfAborted();
          await blobs.removeAll(prefix);
          if (prefix.startsWith('pages/')) await forgetPages(store.db, project, run);
          progress();
        }
        const files = await removeKeptFiles(
          { records: deps.keptFiles, blobs },
          { project, ...(cachesBytes === undefined ? {} : { cachesBytes }) },
          { tell: (of, removed) => tell(of, project, removed), signal, progress },
        );
        things.push(...files.things);
        const left = files.left === undefined ? {} : { left: files.left };
        return { what, count: things.length, sizeBytes: sizeOf(things), ...left };
      }),

    removeOldImages: ({ project, runs, on }) =>
      beating(async (signal, progress): Promise<Removal> => {
        const what = `images of ${project}`;
        const places = await placesOf(deps, project);
        const engines =
          on === 'builder' ? [deps.builder] : [...new Set(await Promise.all(places.map(deps.openEngine)))];
        const removed: Thing[] = [];
        const targets = places.map(({ spec }) => spec.target.name);
        const done = await withFencesBeside(fence, { targets, signal }, async (leases) => {
          const stop = AbortSignal.any([signal, ...leases.map((lease) => lease.signal)]);
          for (const engine of engines) {
            // Read under the fences: what is needed by whatever is deployed from now on is in the list.
            const images = await engine.list({ 'slipway.project': project });
            const backups = await backupsOf(blobs, project);
            const old = imagesToRemove(images, await readKeptBuilds(store.db, project, runs, backups));
            if (old.length > 0) await tell('images', project, old.map(named));
            for (const image of old) {
              if (stop.aborted) return false;
              for (const lease of leases) lease.check();
              if (await engine.discard(image)) removed.push(named(image));
              progress();
            }
          }
          return true;
        });
        signal.throwIfAborted();
        return { what, count: removed.length, sizeBytes: sizeOf(removed), ...leftWhenBusy(done) };
      }),

    removeOldBackups: (request) =>
      beating(async (signal, progress): Promise<Removal> => {
        const what = `backups of ${request.project}/${request.environment}`;
        const needed = await readNeededData(store.db, request, request.damagedDatabasesMs);
        const prefix = `backups/${request.project}/${request.environment}`;
        const folders = foldersOf(await blobs.list(prefix), prefix);
        const old = backupsToRemove(folders, request.backups, needed.backups);
        if (old.length === 0) return { what, count: 0, sizeBytes: 0 };
        if (needed.held) return { what, count: 0, sizeBytes: 0, left: held };
        const things = old.map(({ deployment, sizeBytes }) => ({ name: `${prefix}/${deployment}`, sizeBytes }));
        await tell('backups', environmentId(request.project, request.environment), things);
        for (const { name } of things) {
          signal.throwIfAborted();
          // The record first: where it is the rest has to be.
          await blobs.remove(`${name}/database.json`);
          await blobs.removeAll(name);
          progress();
        }
        return { what, count: things.length, sizeBytes: sizeOf(things) };
      }),

    removeOldDatabases: (request) =>
      beating(async (signal): Promise<Removal> => {
        const { project, environment } = request;
        const what = `databases of ${project}/${environment}`;
        const none = { what, count: 0, sizeBytes: 0 };
        const place = await placeOf(deps, project, environment);
        const database = place === undefined ? undefined : await databases.of(place);
        if (place === undefined || database === undefined) return none;
        const { backup } = database;
        const before = new Date(Date.now() - request.damagedDatabasesMs).toISOString();
        const damaged = (await backup.readDamaged()).filter(({ since }) => since < before);
        const scratch = await backup.readScratch();
        const numbers = scratch.map(({ deployment }) => deployment);
        const ended = await readEndedDeployments(store.db, request, numbers, leftoverMs);
        const left = scratch.filter(({ deployment }) => ended.includes(deployment));
        const things = [...damaged, ...left].map((one) => ({ name: one.database, sizeBytes: one.sizeBytes }));
        if (things.length === 0) return none;
        const { held: isHeld } = await readNeededData(store.db, request, request.damagedDatabasesMs);
        if (isHeld) return { ...none, left: held };
        const target = place.spec.target.name;
        const dropped: string[] = [];
        const done = await withFenceBeside(fence, { target, signal }, async (lease) => {
          await tell('databases', environmentId(project, environment), things);
          lease.check();
          if (damaged.length > 0) dropped.push(...(await backup.dropDamaged(before, lease.signal)));
          for (const { deployment, database: name } of left) {
            lease.check();
            await backup.ensureProofDropped({ project, environment, deployment });
            dropped.push(name);
          }
          return true;
        });
        const gone = things.filter(({ name }) => dropped.includes(name));
        return { what, count: gone.length, sizeBytes: sizeOf(gone), ...leftWhenBusy(done) };
      }),

    removeLeftFiles: () =>
      beating(async (signal, progress): Promise<Removal> => {
        const workspaces = await readWorkspaces(deps.workspaces.folder);
        const over = await readEndedRuns(store.db, workspaces, leftoverMs);
        const projects = (await listProjects(store.db)).map(({ name }) => name);
        const things: Thing[] = [];
        for (const run of over) {
          signal.throwIfAborted();
          things.push(await removeWorkspace(deps.workspaces.folder, run));
          progress();
        }
        const before = new Date(Date.now() - leftoverMs);
        const mirrors: readonly LeftFile[] = await deps.repositories.removeLeftovers({ projects, before });
        things.push(...mirrors.map(({ path, sizeBytes }) => ({ name: path, sizeBytes })));
        const unfinished = await blobs.removeUnfinished(before);
        if (unfinished.count > 0)
          things.push({ name: `${unfinished.count} unfinished blobs`, sizeBytes: unfinished.sizeBytes });
        // After it, for only what was found to be left over tells of its size; nobody else needs any of it.
        if (things.length > 0) await tell('files', 'worker', things);
        return { what: 'files left over', count: things.length, sizeBytes: sizeOf(things) };
      }),
  };
}

const held = 'the environment is held, and a person has to decide about its data first: everything of it is kept';

function leftWhenBusy(done: boolean | undefined): Pick<Removal, 'left'> {
  return done === true ? {} : { left: 'somebody changes the environment just now: the rest is left for the next time' };
}

function sizeOf(things: readonly Thing[]): number {
  return things.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function named({
  id,
  tags,
  sizeBytes,
}: {
  readonly id: string;
  readonly tags: readonly string[];
  readonly sizeBytes: number;
}): Thing {
  return { name: tags[0] ?? id, sizeBytes };
}

/** Logs as people know them: those of a run, or of a deployment, together. */
function byOwner(project: string, logs: readonly OldLog[]): readonly Thing[] {
  const owners = new Map<string, number>();
  for (const { run, environment, number, sizeBytes } of logs) {
    const name = run === null ? `${project}/${environment ?? ''}/${number ?? 0}` : `${project}#${run}`;
    owners.set(name, (owners.get(name) ?? 0) + sizeBytes);
  }
  return [...owners].map(([name, sizeBytes]) => ({ name, sizeBytes }));
}

/** Blobs of an environment's backups, by the deployment that they were taken for. */
function foldersOf(
  listed: readonly { readonly key: string; readonly sizeBytes: number }[],
  prefix: string,
): readonly BackupFolder[] {
  const folders = new Map<number, BackupFolder>();
  for (const { key, sizeBytes } of listed) {
    const [number = '', file = ''] = key.slice(prefix.length + 1).split('/');
    const deployment = Number(number);
    // Whatever else lies there was not put there by a backup.
    if (!Number.isSafeInteger(deployment) || deployment < 1) continue;
    const known = folders.get(deployment);
    folders.set(deployment, {
      deployment,
      sizeBytes: (known?.sizeBytes ?? 0) + sizeBytes,
      database: known?.database === true || file === 'database.json',
    });
  }
  return [...folders.values()];
}
