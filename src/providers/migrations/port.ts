import type { MigrationRef } from '../../domain/migration.ts';

/** One migration with its text, as it lies in the repository at the release's commit. */
export interface MigrationFile extends MigrationRef {
  readonly sql: string;
  /** What takes it back; present for `reversible`. */
  readonly down?: string;
}

/** Who applies; written beside each applied migration. */
export interface MigrationRequest {
  /** All migrations of the release, in order. */
  readonly files: readonly MigrationFile[];
  readonly deployment: number;
  /** Aborts between two migrations; one that runs is cancelled by its connection's end and rolled back by the server. */
  readonly signal?: AbortSignal;
  /** Told of every file as it begins and ends, and of what the server says meanwhile (`raise notice`), a line each. */
  readonly onLine?: (line: string) => void;
}

/**
 * Applies a release's migrations to the application's own database, each exactly once: the record of it is committed with it.
 *
 * After any error every migration is either applied and recorded or neither; `pending` tells which.
 */
export interface MigrationRunner {
  /**
   * Those that the database has not had, in order. Looks, changes nothing.
   *
   * @throws `MigrationFailed` (not retried): an applied file was changed since; `DatabaseUnreachable` (retried), `DatabaseRefused`
   */
  pending(files: readonly MigrationFile[]): Promise<readonly MigrationRef[]>;
  /**
   * Applies what is pending, in order.
   *
   * @returns the names applied by this call
   * @throws `MigrationFailed` (not retried): details carry the file, the line and the server's words; `MigrationLocked` (retried): another
   * runner or a long transaction holds the lock; `DatabaseUnreachable` (retried), `DatabaseRefused`
   */
  run(request: MigrationRequest): Promise<readonly string[]>;
  /**
   * Takes back, newest first, what `deployment` applied, by the down files recorded with them.
   *
   * @throws `MigrationFailed` (not retried): one of them has no way down or its way down failed
   */
  down(request: Omit<MigrationRequest, 'files'>): Promise<readonly string[]>;
  /** Names of what a deployment applied, oldest first. */
  appliedBy(deployment: number): Promise<readonly string[]>;
  close(): Promise<void>;
}
