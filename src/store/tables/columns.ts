/** How columns are read and written: instants as ISO 8601 strings, bigint as number. */
import type { ColumnType } from 'kysely';

/** jsonb: written as text, for the driver would make a PostgreSQL array of a JavaScript one. */
export type Json<T> = ColumnType<T, string, string>;
export type Identity = ColumnType<number, never, never>;
/** An instant with a default in the database. */
export type Instant = ColumnType<string, string | undefined, string>;
