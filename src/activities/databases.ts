import type { SecretRef } from '../definition/specs/secret.ts';
import { ProviderError } from '../domain/failures.ts';
import type { BackupEstimate } from '../domain/plan.ts';
import type { Backup } from '../providers/backups/port.ts';
import type { MigrationRunner } from '../providers/migrations/port.ts';
import type { Place } from './places.ts';

/** The database of an environment, with the hands to keep it safe. */
export interface Database {
  readonly backup: Backup;
  readonly migrations: MigrationRunner;
  /** Without how long the last proof took, which the store knows. */
  estimate(): Promise<Omit<BackupEstimate, 'lastProofMs'>>;
  /** @throws `DatabaseUnreachable` (retried), `DatabaseRefused` (not retried) */
  ping(): Promise<void>;
}

export interface Databases {
  /** @returns undefined where the environment has none. */
  of(place: Place): Promise<Database | undefined>;
}

export interface DatabaseHands {
  readonly backup: Backup;
  readonly migrations: MigrationRunner;
  ping(): Promise<void>;
}

/**
 * The value of a secret as the URL of a database.
 *
 * @param of - project and environment, for the message.
 * @throws ProviderError `SecretMissing` (not retried) - it is none; without a cause, for that of `new URL` carries the whole value along.
 */
export function connectionUrl(ref: SecretRef, value: string, of: string): string {
  if (URL.canParse(value)) return value;
  const where = ref.kind === 'env' ? `Variable ${ref.name}` : `File ${ref.path}`;
  throw new ProviderError(
    'SecretMissing',
    `${where} is no connection URL of the database of ${of}: it must be postgres://user:password@host:port/database, with special characters of the password percent-encoded.`,
  );
}

/** @param open - makes the hands of one database; asked once for each environment and definition. */
export function createDatabases(open: (place: Place) => Promise<DatabaseHands>): Databases {
  const known = new Map<string, Promise<DatabaseHands>>();
  const keyOf = ({ spec, definition }: Place): string => `${spec.project}/${spec.name}/${definition}`;

  return {
    async of(place) {
      if (place.spec.database === undefined) return undefined;
      const key = keyOf(place);
      let opening = known.get(key);
      if (opening === undefined) {
        opening = open(place);
        known.set(key, opening);
        opening.catch(() => known.delete(key));
      }
      const hands = await opening;
      return {
        ...hands,
        estimate: () => hands.backup.estimate(),
      };
    },
  };
}
