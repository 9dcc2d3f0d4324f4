import type { LaterWrites } from '../../domain/deployment.ts';

/** What one database is backed up for: names its blobs and its scratch databases. */
export interface BackupRef {
  readonly project: string;
  readonly environment: string;
  readonly deployment: number;
}

/** One table as it was in the snapshot of the backup. */
export interface TableRecord {
  /** `schema.name`, quoted where SQL needs it. */
  readonly table: string;
  readonly rows: number;
  /** Sum of the hashes of all rows, independent of their order. */
  readonly content: string;
}

/** A backup that was taken: everything that is needed to prove, restore and compare it, no secret. Kept as a blob beside it. */
export interface BackupRecord extends BackupRef {
  /** Blob of the dump, PostgreSQL's custom format. */
  readonly blob: string;
  /** Blob of this record. */
  readonly recordBlob: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Tool with its version, as it says itself. */
  readonly tool: string;
  readonly serverVersion: string;
  readonly database: string;
  /** Moment of the snapshot, ISO 8601; everything committed before it is in the backup, nothing after it. */
  readonly takenAt: string;
  /** Position in the write-ahead log at that moment. */
  readonly walPosition: string;
  readonly tables: readonly TableRecord[];
  /** SHA-256 of the schema as text. */
  readonly schemaSha256: string;
  readonly durationMs: number;
}

/** A backup that was restored and compared. */
export interface BackupProof {
  /** Scratch database that holds it, ready to take the place of the live one. Nobody can connect to it. */
  readonly database: string;
  readonly tables: number;
  readonly rows: number;
  /** Restore and comparison together. */
  readonly durationMs: number;
}

/** What a backup and its proof will take. */
export interface BackupSizes {
  readonly databaseBytes: number;
  /**
   * The least of what is free where backups go and, where it can be seen from here, where the database lies; null where neither can be
   * seen, which is no problem and no pass: the plan names it as a risk.
   */
  readonly freeDiskBytes: number | null;
  /** For a second set of the application's connections beside the present one, and for the proof. */
  readonly connectionsNeeded: number;
  readonly connectionsFree: number;
  /** Empty when it fits; else what is too small and what to do. */
  readonly problems: readonly string[];
}

/** Differences of one table. */
export interface TableWrites {
  readonly table: string;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
}

/** Writes since the backup, whoever made them: the application, a migration, a person. */
export interface DatabaseWrites extends LaterWrites {
  /** Only tables with differences. */
  readonly tables: readonly TableWrites[];
}

/** What a swap brought about. */
export interface DatabaseSwap {
  /** False when it had been done before. */
  readonly changed: boolean;
  /** Database that keeps the state from before. */
  readonly damagedDatabase: string;
  /** How long connections were refused, ms; as far as known when an interrupted swap was ended. */
  readonly refusedWritesMs: number;
}

/** A database that was put aside by a swap. */
export interface DamagedDatabase {
  readonly database: string;
  readonly deployment: number;
  readonly since: string;
  readonly sizeBytes: number;
}

/** A copy that a proof or a comparison was made in, or was being made in. */
export interface ScratchDatabase {
  readonly database: string;
  readonly deployment: number;
  readonly sizeBytes: number;
}

/** How a call may be watched and ended. */
export interface BackupOptions {
  readonly signal?: AbortSignal;
  /**
   * Called with what is being done, for a heartbeat: whenever data has moved, and every few seconds while the server works on it. Who hears
   * nothing for minutes may take it for hung.
   */
  readonly onProgress?: (what: string) => void;
  /** Told what the programs say beside their data, a line each; it may hold secrets. Without it they are asked to say only what is wrong. */
  readonly onLine?: (line: string) => void;
}

/**
 * Safety of one database: taken, proved, put back.
 *
 * Every method may be called again after any error or kill, and goes on where it was: the state is read from the databases on the server,
 * never from memory. All throw `DatabaseUnreachable` (retried) and `DatabaseRefused` (not retried); those that run programs of the database
 * `ToolMissing` and `ToolTooOld` (not retried), before anything was changed.
 */
export interface Backup {
  /** Sizes, disk, connections and the programs that it takes, before anything is done. Looks, changes nothing. */
  estimate(): Promise<BackupSizes>;

  /**
   * Dumps the database to the blob store from one snapshot. A backup that was taken for this deployment before is returned as it is.
   *
   * @throws `BackupFailed` (retried), `DiskFull` (not retried): no blob is left behind. `BlobsUnavailable` (retried)
   */
  ensureTaken(ref: BackupRef, options?: BackupOptions): Promise<BackupRecord>;

  /**
   * Restores the backup into a scratch database and compares schema, row counts and contents with what the snapshot had. The scratch
   * database is kept for {@link Backup.ensureSwapped} until {@link Backup.ensureProofDropped}.
   *
   * @throws `BackupNotProved` (not retried): details say what differs or why it cannot be restored. `DiskFull` (not retried).
   * After either there is no scratch database.
   */
  ensureProved(record: BackupRecord, options?: BackupOptions): Promise<BackupProof>;

  /**
   * Counts what was written since the backup, against its proof. Before a swap; the application goes on.
   *
   * @throws `BackupNotProved`: there is no proof to compare with.
   */
  readLaterWrites(record: BackupRecord, options?: BackupOptions): Promise<DatabaseWrites>;

  /**
   * Puts the proof in the place of the live database by renaming, and the live one aside. Connections are refused meanwhile and ended.
   *
   * @throws `RestoreFailed` (retried): the live database is again, or still, the one before; or it is the restored one: the same call tells.
   */
  ensureSwapped(record: BackupRecord, options?: BackupOptions): Promise<DatabaseSwap>;

  /**
   * Whether a swap to this backup was begun, ended or not; then {@link Backup.ensureSwapped} goes on where it was. Looks, changes nothing.
   *
   * @throws `RestoreFailed` (retried): the server does not tell.
   */
  readSwapBegun(record: BackupRecord): Promise<boolean>;

  /**
   * Exports what is in the database put aside and not in the backup, as JSON lines, and counts it. After a swap; takes its time and disturbs
   * nobody. An export that was made before is counted again from its blob's record.
   */
  ensureLaterWritesExported(record: BackupRecord, options?: BackupOptions): Promise<DatabaseWrites>;

  /**
   * Compares schema and tables of the live database with the backup.
   *
   * @returns what differs, one line each; row counts may have grown since and are only told. Empty `problems` means it is sound.
   */
  verify(
    record: BackupRecord,
    options?: BackupOptions,
  ): Promise<{ readonly problems: readonly string[]; readonly rows: number; readonly tables: number }>;

  /** Drops the scratch databases of a deployment. Never anything that this capability did not make. Idempotent. */
  ensureProofDropped(ref: BackupRef): Promise<void>;

  /** Databases that swaps have put aside, oldest first. */
  readDamaged(): Promise<readonly DamagedDatabase[]>;

  /** Drops those put aside before a moment (ISO 8601), until the signal. @returns their names. */
  dropDamaged(before: string, signal?: AbortSignal): Promise<readonly string[]>;

  /** Scratch databases that are there, by name. {@link Backup.ensureProofDropped} drops them. */
  readScratch(): Promise<readonly ScratchDatabase[]>;
}
