import { PostgresBackup, createPostgresBackup } from './postgres.ts';

/** Every kind of backup there is. */
export const backups = {
  postgres: { schema: PostgresBackup, create: createPostgresBackup },
} as const;
