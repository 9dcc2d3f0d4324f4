import { createSqlMigrationRunner } from './sql.ts';

/** Every kind of migration runner there is, by the name a definition gives it. */
export const migrationRunners = {
  sql: { create: createSqlMigrationRunner },
} as const;
