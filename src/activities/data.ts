import { counted } from '../domain/counted.ts';
import type { DataRollback, DeploymentRef, LaterWrites, StepRecord } from '../domain/deployment.ts';
import { tellUnexported } from '../domain/database-work.ts';
import { ProviderError } from '../domain/failures.ts';
import type { Fence } from '../effects/fence.ts';
import type { BackupOptions, BackupRecord } from '../providers/backups/port.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { Store } from '../store/store.ts';
import { beating, changing, typed } from './changes.ts';
import type { BackupReport, Change, DataActivities } from './contracts.ts';
import type { Database, Databases } from './databases.ts';
import type { DeploymentLog, DeploymentLogs, DeploymentStage, LogSubject } from './deployment-logs.ts';
import type { Materials } from './material.ts';
import type { Place, Places } from './places.ts';
import { versionInForce } from './versions.ts';

export interface DataDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly materials: Materials;
  readonly databases: Databases;
  readonly blobs: BlobStore;
  readonly fence: Fence;
  readonly logs: DeploymentLogs;
  /** How long a proof took, for the next plan; never waits, never fails. */
  readonly recordProof: (deployment: DeploymentRef, at: string, durationMs: number) => void;
}

type Ref = Pick<Change, 'project' | 'environment' | 'number'>;

/** Backup, migration and restore of the database that a release uses. */
export function createDataActivities(deps: DataDependencies): DataActivities {
  const { store, places, materials, databases, blobs, fence, logs } = deps;

  const subject = (ref: Ref, stage: DeploymentStage, what = 'database'): LogSubject => {
    const { project, environment, number } = ref;
    return { project, environment, number, stage, what };
  };

  const open = (ref: Ref & { readonly version?: string }): Promise<Place> =>
    typed(async () => {
      const { project, environment } = ref;
      return await places.open({ project, environment, version: ref.version ?? (await versionInForce(store, ref)) });
    });

  const refOf = (input: Ref, backup?: BackupReport): { project: string; environment: string; deployment: number } => ({
    project: input.project,
    environment: input.environment,
    deployment: backup?.deployment ?? input.number,
  });

  async function keepConfiguration(place: Place, input: Ref, signal: AbortSignal): Promise<string> {
    const { configuration } = await materials.of(place, signal);
    const blob = `backups/${input.project}/${input.environment}/${input.number}/configuration.json`;
    const kept = {
      definition: place.definition,
      release: place.release.version,
      env: configuration.env,
      router: await place.router.readTraffic({ project: input.project, environment: input.environment }),
      slots: await place.target.readSlots({ project: input.project, environment: input.environment }),
      // Names only: values are with whoever keeps the secrets.
      secrets: Object.keys(place.spec.secrets),
    };
    await blobs.put(blob, Buffer.from(JSON.stringify(kept, undefined, 2)));
    return blob;
  }

  return {
    ensureBackup: async (input) => {
      const place = await open(input);
      const take = async (
        log: DeploymentLog,
        signal: AbortSignal,
        progress: (detail?: unknown) => void,
      ): Promise<BackupReport> => {
        const database = input.database ? await databases.of(place) : undefined;
        const configurationBlob = input.configuration ? await keepConfiguration(place, input, signal) : undefined;
        const shared = {
          deployment: input.number,
          ...(configurationBlob === undefined ? {} : { configurationBlob }),
        };
        if (database === undefined) {
          return { ...shared, sizeBytes: 0, proofMs: 0, takenAt: new Date().toISOString() };
        }
        const options = watchedBy(log, signal, progress);
        const record = await database.backup.ensureTaken(refOf(input), options);
        const rows = record.tables.reduce((sum, table) => sum + table.rows, 0);
        log.say(
          `${record.tool} took ${record.sizeBytes} bytes in ${record.durationMs} ms, as it was at ${record.takenAt}: ${counted(record.tables.length, 'table')}, ${counted(rows, 'row')}`,
        );
        const proof = input.prove ? await database.backup.ensureProved(record, options) : undefined;
        if (proof !== undefined) {
          log.say(
            `proved in ${proof.durationMs} ms: restored into ${proof.database}, its ${counted(proof.tables, 'table')} with ${counted(proof.rows, 'row')} are those of the backup`,
          );
          const { project, environment, number } = input;
          deps.recordProof({ project, environment, number }, new Date().toISOString(), proof.durationMs);
        }
        return {
          ...shared,
          blob: record.blob,
          sizeBytes: record.sizeBytes,
          sha256: record.sha256,
          tool: record.tool,
          ...(proof === undefined ? {} : { proof: proof.database }),
          proofMs: proof?.durationMs ?? 0,
          takenAt: record.takenAt,
        };
      };
      const of = subject(input, 'backup', input.database ? 'database' : 'configuration');
      return await changing(fence, place, input, (signal, progress) =>
        logs.during(of, place, (log) => take(log, signal, progress)),
      );
    },

    runMigrations: async (input) => {
      const place = await open(input);
      return await changing(fence, place, input, (signal) =>
        logs.during(subject(input, 'migrate'), place, async (log) => {
          const [database, { migrations }] = await Promise.all([databases.of(place), materials.of(place, signal)]);
          if (database === undefined) return { applied: [] };
          const onLine = (line: string): void => log.lines([line]);
          return {
            applied: await database.migrations.run({ files: migrations, deployment: input.number, signal, onLine }),
          };
        }),
      );
    },

    ensureDataRolledBack: async (input) => {
      const place = await open(input);
      const goBack = async (
        log: DeploymentLog,
        signal: AbortSignal,
        progress: (detail?: unknown) => void,
      ): Promise<DataRollback> => {
        const database = await databases.of(place);
        if (database === undefined || input.backup.blob === undefined) {
          return { action: 'none', detail: 'the environment has no database' };
        }
        // A release damages data without a migration too; so it is the policy that says whether what it wrote goes back.
        if (input.restore === 'ask' && !input.migrated) {
          return {
            action: 'none',
            detail: 'this deployment migrated nothing, so the data stays with what users wrote',
          };
        }
        const options = watchedBy(log, signal, progress);
        const swap = input.exportsLater === true ? swapOnly : swapAndExport;
        const deployment = refOf(input, input.backup).deployment;
        const record = await database.backup.ensureTaken(refOf(input, input.backup), options);
        // What was begun is ended: half way through, the database refuses everybody, and there is no proof to compare with after it.
        if (await database.backup.readSwapBegun(record)) return await swap(database, record, options);
        await database.backup.ensureProved(record, options);
        if (input.restore === 'automatic') return await swap(database, record, options);
        const writes = await database.backup.readLaterWrites(record, options);
        if (writes.inserted + writes.updated + writes.deleted === 0) return await swap(database, record, options);
        return await withoutLosingWrites(database, place, input, { deployment, signal, onLine: options.onLine });
      };
      return await changing(fence, place, input, (signal, progress) =>
        logs.during(subject(input, 'restore'), place, async (log) => {
          const done = await goBack(log, signal, progress);
          log.say(`${done.action}: ${done.detail}`);
          return done;
        }),
      );
    },

    ensureLaterWritesExported: async (input) => {
      const place = await open(input);
      return await changing(fence, place, input, (signal, progress) =>
        logs.during(subject(input, 'restore', 'later-writes'), place, async (log) => {
          const database = await databases.of(place);
          if (database === undefined || input.backup.blob === undefined) {
            throw new ProviderError('RestoreFailed', 'the environment has no database any more', {
              nonRetryable: true,
            });
          }
          const options = watchedBy(log, signal, progress);
          const record = await database.backup.ensureTaken(refOf(input, input.backup), options);
          const exported = await exportWrites(database, record, options);
          log.say(exported.detail);
          return exported;
        }),
      );
    },

    verifyData: async (input) => {
      const place = await open(input);
      const startedAt = new Date();
      const verify = async (
        log: DeploymentLog,
        signal: AbortSignal,
        progress: (detail?: unknown) => void,
      ): Promise<StepRecord> => {
        const database = await databases.of(place);
        const done = (verdict: StepRecord['verdict'], detail: string): StepRecord => ({
          name: 'verify data',
          verdict,
          detail,
          startedAt: startedAt.toISOString(),
          durationMs: Date.now() - startedAt.getTime(),
        });
        if (database === undefined) return done('passed', 'the environment has no database');
        await database.ping();
        if (!input.swapped) return done('passed', 'the database answers');
        const options = watchedBy(log, signal, progress);
        const record = await database.backup.ensureTaken(refOf(input, input.backup), options);
        const { problems, rows, tables } = await database.backup.verify(record, options);
        const backedUp = record.tables.reduce((sum, table) => sum + table.rows, 0);
        return problems.length === 0
          ? done(
              'passed',
              `the schema is that of the backup and its ${tables} tables are there; they have ${rows} rows now and had ${backedUp} in the backup`,
            )
          : done('failed', log.heard.text(problems.join('; ')));
      };
      return await beating((signal, progress) =>
        logs.during(subject(input, 'restore', 'verify'), place, async (log) => {
          const step = await verify(log, signal, progress);
          log.say(`${step.verdict}: ${step.detail ?? ''}`);
          return step;
        }),
      );
    },

    ensureProofDropped: async (input) => {
      const place = await open(input);
      await changing(fence, place, input, () =>
        logs.unwritten(place, async () => {
          const database = await databases.of(place);
          await database?.backup.ensureProofDropped(refOf(input));
        }),
      );
    },
  };

  /** What can be done when writes since the backup would be lost by a restore, and nobody has said that they may be. */
  async function withoutLosingWrites(
    database: Database,
    place: Place,
    input: Ref & { readonly to: string },
    how: { readonly deployment: number; readonly signal: AbortSignal; readonly onLine: (line: string) => void },
  ): Promise<DataRollback> {
    const { deployment, signal } = how;
    const applied = await database.migrations.appliedBy(deployment);
    const { migrations } = await materials.of(place, signal);
    const files = migrations.filter(({ name }) => applied.includes(name));
    if (files.length > 0 && files.every(({ down }) => down !== undefined)) {
      const undone = await database.migrations.down(how);
      return { action: 'down', detail: `taken back: ${undone.join(', ')}; what users wrote stays` };
    }
    if (files.every(({ kind }) => kind === 'expand')) {
      return { action: 'left', detail: `${input.to} works with the migrated data, and what users wrote stays` };
    }
    const names = files.map(({ name }) => name).join(', ');
    const where = `${input.project}/${input.environment}`;
    return {
      action: 'held',
      detail: `${names} cannot be taken back without losing what users wrote since the backup. A person decides: \`slipway retry ${where} --reason "restore the data"\` restores it, \`slipway unlock ${where} --state-is ${input.to} --reason "…"\` leaves it.`,
    };
  }
}

/** What a program says in its log is progress too. */
function watchedBy(log: DeploymentLog, signal: AbortSignal, progress: (detail?: unknown) => void): DataOptions {
  const onLine = (line: string): void => {
    progress();
    log.lines([line]);
  };
  return { signal, onProgress: progress, onLine };
}

type DataOptions = Required<BackupOptions>;

async function swapOnly(database: Database, record: BackupRecord, options: DataOptions): Promise<DataRollback> {
  const { damagedDatabase, refusedWritesMs } = await database.backup.ensureSwapped(record, options);
  return {
    action: 'swapped',
    detail: `the proved copy took its place; writes were refused for ${refusedWritesMs} ms`,
    damagedDatabase,
    refusedWritesMs,
  };
}

/** For workflows that were begun when both were one. */
async function swapAndExport(database: Database, record: BackupRecord, options: DataOptions): Promise<DataRollback> {
  const swapped = await swapOnly(database, record, options);
  const { laterWrites, detail } = await exportWrites(database, record, options).catch((error: unknown) => {
    if (!(error instanceof ProviderError)) throw error;
    // The data itself is back, and whoever reads this must know it.
    throw new ProviderError(error.type, tellUnexported(swapped.damagedDatabase, error.message), {
      details: error.details,
      nonRetryable: !error.retryable,
      cause: error,
    });
  });
  return { ...swapped, detail: `${swapped.detail}; ${detail}`, laterWrites };
}

async function exportWrites(
  database: Database,
  record: BackupRecord,
  options: DataOptions,
): Promise<{ readonly laterWrites: LaterWrites; readonly detail: string }> {
  const { tables, ...laterWrites } = await database.backup.ensureLaterWritesExported(record, options);
  const { inserted, updated, deleted, blob } = laterWrites;
  const where = blob === undefined ? '' : ` to ${blob}`;
  return {
    laterWrites,
    detail: `since the backup ${inserted} rows were inserted, ${updated} updated, ${deleted} deleted in ${tables.length} tables, exported${where}`,
  };
}
