import { sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { first } from './0001-first.ts';
import { fence } from './0002-fence.ts';
import { reports } from './0003-reports.ts';

/** All migrations by name, in the order in which they run. Forward only: an older Slipway is not started on a newer store. */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-first': fromText(first),
  '0002-fence': fromText(fence),
  '0003-reports': fromText(reports),
};

function fromText(text: string): Migration {
  return {
    async up(db) {
      await sql.raw(text).execute(db);
    },
  };
}
