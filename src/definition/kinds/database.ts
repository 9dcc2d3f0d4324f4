import { z } from 'zod';
import { Duration, Secret } from '../scalars.ts';

const Postgres = z
  .strictObject({
    kind: z.literal('postgres').describe('PostgreSQL.'),
    url: Secret.describe(
      'Connection URL as the worker reaches the database. The role must own the database and may create others, for the proof of backups. What it says after `?` holds for Slipway and for `pg_dump` alike; anything that only one of them would go by is refused.',
    ),
    clientBin: z
      .string()
      .startsWith('/')
      .describe(
        'Folder of `pg_dump` and `pg_restore` on the worker. Default: looked for on PATH, in `/usr/lib/postgresql` and in `/usr/pgsql-…`, by the major version that the server says: of the same, else of the next newer one that is there.',
      )
      .exactOptional(),
    lockTimeout: Duration.describe(
      'How long a migration waits for a lock before it gives up, so that it does not queue users behind it. Judgement.',
    ).prefault('5s'),
    statementTimeout: Duration.describe('Longest single statement of a migration. Judgement.').prefault('15m'),
  })
  .meta({ title: 'postgres' });

/** The database that a release uses: backed up before it and put back with it. */
export const Database = z.discriminatedUnion('kind', [Postgres]);
