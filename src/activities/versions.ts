import { sql } from 'kysely';
import { ProviderError } from '../domain/failures.ts';
import type { Store } from '../store/store.ts';

/** Last answers, for moves back while the store is away: a deployment's version never changes. */
const known = new Map<string, string>();

/**
 * Version of a deployment, or of the newest of its environment.
 *
 * @throws `NotFound` (not retried): nothing was ever deployed there; `StoreUnavailable` (retried) where it was not asked before
 */
export async function versionInForce(
  store: Pick<Store, 'db'>,
  ref: { readonly project: string; readonly environment: string; readonly number?: number },
): Promise<string> {
  const key = `${ref.project}/${ref.environment}/${ref.number ?? ''}`;
  const found = ref.number === undefined ? undefined : known.get(key);
  if (found !== undefined) return found;
  let query = store.db
    .selectFrom('deployments')
    .select('version')
    .where('project', '=', ref.project)
    .where('environment', '=', ref.environment);
  // A number that no row has belongs to an environment read before its first deployment; any version of it will do.
  if (ref.number !== undefined) query = query.orderBy(sql`number = ${ref.number}`, 'desc');
  const row = await query.orderBy('number', 'desc').executeTakeFirst();
  if (row === undefined)
    throw new ProviderError('NotFound', `Nothing was deployed to ${ref.project}/${ref.environment} yet.`);
  if (known.size > 1_000) known.clear();
  known.set(key, row.version);
  return row.version;
}
