import { ProviderError } from '../../../src/domain/failures.ts';
import type {
  Backup,
  BackupRecord,
  BackupRef,
  DamagedDatabase,
  DatabaseWrites,
} from '../../../src/providers/backups/port.ts';

/** The safety of a database in memory, whose rows are texts by key. */
export interface FakeBackup extends Backup {
  /** Rows of the live database; a test writes here. */
  rows(): Map<string, string>;
  /** The next proof finds a difference. */
  breakProof(): void;
}

/** Keeps the promises of {@link Backup} without a database. */
export function createFakeBackup(database = 'hello'): FakeBackup {
  let live = new Map<string, string>();
  let proofBroken = false;
  const taken = new Map<number, { record: BackupRecord; rows: Map<string, string> }>();
  const proofs = new Set<number>();
  const damaged = new Map<number, { rows: Map<string, string>; since: string }>();

  function requireTaken(deployment: number): Map<string, string> {
    const found = taken.get(deployment);
    if (found === undefined) throw new ProviderError('BackupNotProved', 'there is no such backup');
    return found.rows;
  }
  function compare(before: Map<string, string>, after: Map<string, string>): DatabaseWrites {
    const inserted = [...after.keys()].filter((key) => !before.has(key)).length;
    const deleted = [...before.keys()].filter((key) => !after.has(key)).length;
    const updated = [...after].filter(([key, value]) => before.has(key) && before.get(key) !== value).length;
    const tables = inserted + updated + deleted === 0 ? [] : [{ table: 'public.rows', inserted, updated, deleted }];
    return { inserted, updated, deleted, tables };
  }
  const nameOf = (role: string, deployment: number): string => `${database}_${role}_${deployment}`;

  return {
    rows: () => live,
    breakProof() {
      proofBroken = true;
    },
    async estimate() {
      await Promise.resolve();
      return { databaseBytes: live.size, freeDiskBytes: 1e9, connectionsNeeded: 4, connectionsFree: 90, problems: [] };
    },
    async ensureTaken(ref: BackupRef) {
      await Promise.resolve();
      const known = taken.get(ref.deployment);
      if (known !== undefined) return known.record;
      const folder = `backups/${ref.project}/${ref.environment}/${ref.deployment}`;
      const record: BackupRecord = {
        ...ref,
        blob: `${folder}/database.dump`,
        recordBlob: `${folder}/database.json`,
        sizeBytes: live.size,
        sha256: '0'.repeat(64),
        tool: 'fake 1',
        serverVersion: '1',
        database,
        takenAt: new Date().toISOString(),
        walPosition: '0/0',
        tables: [{ table: 'public.rows', rows: live.size, content: '0' }],
        schemaSha256: '0'.repeat(64),
        durationMs: 1,
      };
      taken.set(ref.deployment, { record, rows: new Map(live) });
      return record;
    },
    async ensureProved(record) {
      await Promise.resolve();
      if (proofBroken) {
        throw new ProviderError('BackupNotProved', 'the backup differs', {
          details: { differences: ['made by the test'] },
        });
      }
      proofs.add(record.deployment);
      return {
        database: nameOf('proof', record.deployment),
        tables: 1,
        rows: requireTaken(record.deployment).size,
        durationMs: 1,
      };
    },
    async readLaterWrites(record) {
      await Promise.resolve();
      if (!proofs.has(record.deployment)) throw new ProviderError('BackupNotProved', 'there is no proof');
      return compare(requireTaken(record.deployment), live);
    },
    async ensureSwapped(record) {
      await Promise.resolve();
      const damagedDatabase = nameOf('damaged', record.deployment);
      if (damaged.has(record.deployment)) return { changed: false, damagedDatabase, refusedWritesMs: 1 };
      if (!proofs.delete(record.deployment)) {
        throw new ProviderError('RestoreFailed', 'there is no proof to swap in', { nonRetryable: true });
      }
      damaged.set(record.deployment, { rows: live, since: new Date().toISOString() });
      live = new Map(requireTaken(record.deployment));
      return { changed: true, damagedDatabase, refusedWritesMs: 1 };
    },
    async readSwapBegun(record) {
      await Promise.resolve();
      return damaged.has(record.deployment);
    },
    async ensureLaterWritesExported(record) {
      await Promise.resolve();
      const aside = damaged.get(record.deployment);
      if (aside === undefined) throw new ProviderError('RestoreFailed', 'nothing was put aside');
      const blob = record.blob.replace('database.dump', 'later-writes.jsonl');
      return { ...compare(requireTaken(record.deployment), aside.rows), blob };
    },
    async verify(record) {
      await Promise.resolve();
      requireTaken(record.deployment);
      return { problems: [], rows: live.size, tables: 1 };
    },
    async ensureProofDropped(ref) {
      await Promise.resolve();
      proofs.delete(ref.deployment);
    },
    async readDamaged(): Promise<readonly DamagedDatabase[]> {
      await Promise.resolve();
      return [...damaged].map(([deployment, { rows, since }]) => ({
        database: nameOf('damaged', deployment),
        deployment,
        since,
        sizeBytes: rows.size,
      }));
    },
    async readScratch() {
      await Promise.resolve();
      return [...proofs].map((deployment) => ({
        database: nameOf('proof', deployment),
        deployment,
        sizeBytes: requireTaken(deployment).size,
      }));
    },
    async dropDamaged(before, signal) {
      await Promise.resolve();
      const due = [...damaged].filter(([, { since }]) => since < before).map(([deployment]) => deployment);
      const old = signal?.aborted === true ? [] : due;
      for (const deployment of old) damaged.delete(deployment);
      return old.map((deployment) => nameOf('damaged', deployment));
    },
  };
}
