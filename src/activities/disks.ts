import type { Disk, DiskLimits } from '../domain/disk.ts';
import { usedShare } from '../domain/disk.ts';
import { describeFailure } from '../domain/failures.ts';
import { imagesToPrune } from '../domain/retention.ts';
import { type DiskSpace, readDiskSpace } from '../effects/disk-space.ts';
import type { Fence } from '../effects/fence.ts';
import { withFencesBeside } from '../effects/fence-beside.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { ImageBuilder } from '../providers/builders/port.ts';
import { appendAudit } from '../store/audit.ts';
import { listProjects } from '../store/projects.ts';
import { type BackedUp, readBuiltDigests, readKeptBuilds } from '../store/retention.ts';
import { noteMachine } from '../store/upkeep.ts';
import { beating } from './changes.ts';
import type { DiskActivities, Removal } from './contracts.ts';
import { type PlaceDependencies, placesOf } from './project-places.ts';

/** What is asked of an engine. */
export type PrunedEngine = Pick<ImageBuilder, 'list' | 'isUsed' | 'discard' | 'readRoot'>;

export interface DiskDependencies extends PlaceDependencies {
  readonly fence: Fence;
  readonly blobs: Pick<BlobStore, 'list'>;
  readonly machine: { readonly queue: string; readonly name: string };
  readonly limits: DiskLimits;
  /** Folders of Slipway on this machine, by what they hold. */
  readonly folders: Readonly<Record<string, string>>;
  /** As in DOCKER_HOST: the worker's own. */
  readonly engine: string;
  readonly openEngine: (address: string) => Promise<PrunedEngine>;
  /** Default: asks the machine. */
  readonly readSpace?: (folder: string) => Promise<DiskSpace>;
}

/** Who makes room. */
const actor = 'disk-watch';

/** Watches over the disks of the machine that this worker is on. */
export function createDiskActivities(deps: DiskDependencies): DiskActivities {
  const { store, fence } = deps;
  const readSpace = deps.readSpace ?? readDiskSpace;

  /** The worker's own, and those that targets name by a socket of this machine. A project that cannot be read names none. */
  async function enginesHere(): Promise<readonly string[]> {
    const projects = await listProjects(store.db);
    const places = await Promise.all(projects.map(({ name }) => placesOf(deps, name).catch(() => [])));
    const sockets = places.flat().flatMap(({ spec: { target } }) => target.socket ?? []);
    return [...new Set([deps.engine, ...sockets.map((socket) => `unix://${socket}`)])];
  }

  /** The folder of an engine's images, where it is one of this machine. */
  async function rootOf(address: string): Promise<string> {
    const root = await (await deps.openEngine(address)).readRoot();
    if (address.startsWith('unix://')) return root;
    throw new Error('it is on another machine');
  }

  /** How full the disk of an engine is, from 0 to 1. */
  async function shareOf(address: string): Promise<number> {
    const space = await readSpace(await rootOf(address));
    return usedShare({ holds: [], engines: [], ...space });
  }

  return {
    readDisks: () =>
      beating(async () => {
        // Being asked shows that it is there.
        await noteMachine(store.db, deps.machine);
        const disks = new Map<number, Disk>();
        const unmeasured: string[] = [];
        const add = async (holds: string, folder: () => Promise<string>, engine?: string): Promise<void> => {
          try {
            const { device, ...space } = await readSpace(await folder());
            const known = disks.get(device);
            disks.set(device, {
              ...space,
              holds: [...(known?.holds ?? []), holds],
              engines: [...(known?.engines ?? []), ...(engine === undefined ? [] : [engine])],
            });
          } catch (error) {
            unmeasured.push(`the disk of ${holds} could not be measured: ${describeFailure(error).message}`);
          }
        };
        for (const [holds, folder] of Object.entries(deps.folders)) await add(holds, () => Promise.resolve(folder));
        for (const engine of await enginesHere()) await add(`engine ${engine}`, () => rootOf(engine), engine);
        return { disks: [...disks.values()], unmeasured, limits: deps.limits };
      }),

    pruneImages: ({ engine: address, until }) =>
      beating(async (signal, progress): Promise<Removal> => {
        const engine = await deps.openEngine(address);
        const what = `images of ${address}`;
        const left: string[] = [];
        let count = 0;
        let sizeBytes = 0;
        for (const { name: project } of await listProjects(store.db)) {
          if ((await shareOf(address)) < until) break;
          signal.throwIfAborted();
          try {
            const targets = (await placesOf(deps, project)).map(({ spec }) => spec.target.name);
            const done = await withFencesBeside(fence, { targets, signal }, async (leases) => {
              const stop = AbortSignal.any([signal, ...leases.map((lease) => lease.signal)]);
              // Read under the fences: what is needed by whatever is deployed from now on is in the list.
              // Another installation may have a project of the same name on this engine: what our store does not know is not ours to remove.
              const built = await readBuiltDigests(store.db, project);
              const images = (await engine.list({ 'slipway.project': project })).filter(
                ({ id, digests }) =>
                  built.has(id) || digests.some((digest) => built.has(digest.slice(digest.indexOf('@') + 1))),
              );
              const needed = await readKeptBuilds(store.db, project, 0, await backupsOf(deps.blobs, project));
              for (const image of imagesToPrune(images, needed)) {
                if (stop.aborted) return false;
                // The size of an image says little of what goes with it, for images share layers: only the disk knows.
                if ((await shareOf(address)) < until) return true;
                for (const lease of leases) lease.check();
                // It stays, and the audit says nothing of it: the watch comes by every few minutes.
                if (await engine.isUsed(image)) continue;
                const name = image.tags[0] ?? image.id;
                const detail = { engine: address, machine: deps.machine.name, name, sizeBytes: image.sizeBytes };
                await appendAudit(store.db, { actor, action: 'disk.image', object: project, detail });
                if (await engine.discard(image)) {
                  count += 1;
                  sizeBytes += image.sizeBytes;
                }
                progress();
              }
              return true;
            });
            if (done !== true) left.push(`${project}: somebody changes an environment just now`);
          } catch (error) {
            signal.throwIfAborted();
            // One project that cannot be read keeps all of its images, and no other.
            left.push(`${project}: ${describeFailure(error).message}`);
          }
        }
        signal.throwIfAborted();
        return { what, count, sizeBytes, ...(left.length === 0 ? {} : { left: left.join('; ') }) };
      }),
  };
}

/** Backups that are kept, by their folders. */
export async function backupsOf(blobs: Pick<BlobStore, 'list'>, project: string): Promise<readonly BackedUp[]> {
  const found = new Map<string, BackedUp>();
  for (const { key } of await blobs.list(`backups/${project}`)) {
    const [, , environment = '', number = ''] = key.split('/');
    const deployment = Number(number);
    if (Number.isSafeInteger(deployment) && deployment > 0)
      found.set(`${environment}/${number}`, { environment, deployment });
  }
  return [...found.values()];
}
